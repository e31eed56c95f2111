"""Imports a package in a child process and says in JSON whether it is sound. Standard library only: it starts fast.

`python -P module_probe.py NAME ATTRIBUTE`, where the attribute is something that the module has if it is sound.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["answer_alone", "module_state"]


def module_state(name: str, attribute: str) -> dict[str, str]:
    """Import a package: `state` as of a finding, `detail` in words.

    Args:
        name: Of the module.
        attribute: Something that it has if it is sound.
    """
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            return {"state": "missing", "detail": f"The package {name} is not installed"}
        return {"state": "broken", "detail": f"The package {name} lacks another one ({error})"}
    except (ImportError, OSError) as error:  # OSError: a shared library it links is absent
        return {"state": "broken", "detail": f"The package {name} is installed and does not load ({error})"}
    if hasattr(module, attribute):
        return {"state": "ok", "detail": ""}
    # Uninstalling one of two packages that share a folder leaves an empty one, which still imports.
    return {"state": "broken", "detail": f"The package {name} is a folder of remains: it has no {attribute}"}


def answer_alone(question: Callable[..., dict[str, Any]], arguments: Sequence[str]) -> None:
    """Write an answer to the output, which it has to itself: packages print on import, native libraries on anything."""
    output = os.dup(1)
    os.dup2(2, 1)
    os.write(output, json.dumps(question(*arguments)).encode())


if __name__ == "__main__":
    answer_alone(module_state, sys.argv[1:])

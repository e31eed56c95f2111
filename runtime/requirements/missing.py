"""A need that was not met, as a value, and how packages are looked for."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from runtime.errors import TargetError

__all__ = ["Missing", "find", "require", "together"]


@dataclass(frozen=True)
class Missing:
    """Something an engine needs and this machine lacks.

    Attributes:
        what: A sentence without its full stop.
        remedy: What to do, likewise.
    """

    what: str
    remedy: str

    def error(self) -> TargetError:
        """The same as an exception."""
        return TargetError(f"{self.what}. {self.remedy}.")


def find(name: str, attribute: str, remedy: str) -> ModuleType | Missing:
    """Import a package at the moment it is needed.

    Args:
        name: Of the module.
        attribute: Something that it has if it is sound.
        remedy: What to do if it cannot be imported or is damaged.
    """
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError) as error:  # OSError: a shared library it links is absent
        return Missing(f"The package {name} cannot be imported ({error})", remedy)
    if not hasattr(module, attribute):
        return Missing(f"The package {name} is damaged: it has no {attribute}", remedy)
    return module


def require(found: ModuleType | Missing) -> ModuleType:
    """The module.

    Raises:
        TargetError: If it is missing.
    """
    if isinstance(found, Missing):
        raise found.error()
    return found


def together(parts: Sequence[Missing | None]) -> Missing | None:
    """Everything that is missing, in one; each remedy once."""
    missing = [part for part in parts if part is not None]
    if not missing:
        return None
    remedies = dict.fromkeys(part.remedy for part in missing)
    return Missing(". ".join(part.what for part in missing), ". ".join(remedies))

"""`--target`, as the commands have it that run bundles."""

from typing import Annotated

import typer

from runtime import Target
from runtime.auto import AUTO

__all__ = ["TargetOption", "parse_target"]

TargetOption = Annotated[
    str, typer.Option(help="see `millisight targets`; auto: the fastest that the bundle knows and this machine has")
]


def parse_target(target: str) -> Target | None:
    """The target of that slug; None for `auto`.

    Raises:
        TargetError: There is no such target.
    """
    return None if target.strip() == AUTO else Target.parse(target)

"""A latency budget: milliseconds at an image size."""

import re
from dataclasses import dataclass

from search.errors import BudgetError

_SIZE = re.compile(r"(\d+)x(\d+)")


@dataclass(frozen=True)
class Budget:
    """`ms` milliseconds for one (height, width) input of the network."""

    ms: float
    height: int
    width: int

    def __post_init__(self) -> None:
        if not self.ms > 0:
            raise BudgetError(f"a budget must be more than 0 ms, got {self.ms}")

    def __str__(self) -> str:
        return f"{self.ms:.4g}ms@{self.width}x{self.height}"


def parse_size(text: str) -> tuple[int, int]:
    """`512x384` (width x height, as photographs are described) -> (height 384, width 512).

    Raises:
        BudgetError: Not of that form, or a side is zero.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or 0 in (sides := (int(match[2]), int(match[1]))):
        raise BudgetError(f"a size is written WIDTHxHEIGHT in pixels, for example 512x512; got {text!r}")
    return sides

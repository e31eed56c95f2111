"""A latency budget: milliseconds at an image size. Several of them ask for a family of networks."""

import math
import re
from collections.abc import Sequence
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

    @property
    def label(self) -> str:
        """For names of files: `5ms`, `12.5ms`; different for different milliseconds."""
        return f"{self.ms!r}".removesuffix(".0") + "ms"


def middle_budget(budgets: Sequence[Budget]) -> Budget:
    """What a search pays for if it shall serve several budgets of one size: their geometric mean.

    In between, because the search ranks best what costs about as much as its own target, and geometric, because
    budgets double rather than grow by milliseconds. A single budget is returned as it is, to the last bit.
    """
    if len(budgets) == 1:
        return budgets[0]
    mean = math.exp(math.fsum(math.log(budget.ms) for budget in budgets) / len(budgets))
    return Budget(mean, budgets[0].height, budgets[0].width)


def check_budgets(values: Sequence[float]) -> tuple[float, ...]:
    """Milliseconds of a family, in rising order.

    Raises:
        BudgetError: There is none, one is named twice, or one is not a finite number of more than 0 ms.
    """
    if not values:
        raise BudgetError("no budget is named; give milliseconds, for example 20, or 5,10,20 for three networks")
    for ms in values:
        if not (ms > 0 and math.isfinite(ms)):
            raise BudgetError(f"a budget must be a finite number of more than 0 ms, got {ms}")
    twice = sorted({ms for ms in values if list(values).count(ms) > 1})
    if twice:
        raise BudgetError(f"budget {', '.join(f'{ms:g}' for ms in twice)} ms is named twice; each gives one network")
    return tuple(sorted(values))


def parse_budgets(text: str) -> tuple[float, ...]:
    """`5,10,20` (milliseconds, comma-separated) -> (5.0, 10.0, 20.0).

    Raises:
        BudgetError: See `check_budgets`; or a part is not a number.
    """
    values = []
    for part in text.split(",") if text.strip() else []:
        try:
            values.append(float(part))
        except ValueError:
            raise BudgetError(
                f"budgets are milliseconds, comma-separated, such as 20 or 5,10,20; got {part.strip()!r} in {text!r}"
            ) from None
    return check_budgets(values)


def round_up(value: int, multiple: int) -> int:
    """The smallest multiple that is not below a value."""
    return -(-value // multiple) * multiple


def parse_size(text: str) -> tuple[int, int]:
    """`512x384` (width x height, as photographs are described) -> (height 384, width 512).

    Raises:
        BudgetError: Not of that form, or a side is zero.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or 0 in (sides := (int(match[2]), int(match[1]))):
        raise BudgetError(f"a size is written WIDTHxHEIGHT in pixels, for example 512x512; got {text!r}")
    return sides

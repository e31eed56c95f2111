"""What a table holds, counted: the numbers that figures and page share."""

import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from models import OpKey, get_space
from search.latency.model import LatencyModel
from search.latency.table import Check, LatencyTable, Measured, SizeTable

Size = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True)
class Timed:
    """One timing and where in the table it is from."""

    size: Size
    kind: Literal["chain", "network"]
    entry: Measured


class Facts:
    """A table as the report reads it.

    Args:
        table: May lack rows that its space asks for; then there is no model, and what is missing can be named.

    Attributes:
        sizes: The measured sizes, smallest first.
        rows: Size -> row -> milliseconds, uncalibrated, as solved from the chains.
        wanted: Every row that the space can ask for.
        missing: Size -> rows of `wanted` that are not there.
        model: None where rows are missing.
        timings: Every timing once. (A held-out network is timed once and stands twice in a table.)

    Raises:
        ModelError: The table's space is unknown, or does not know its config.
    """

    def __init__(self, table: LatencyTable) -> None:
        space = get_space(table.space)
        self.table = table
        self.sizes = tuple(sorted(table.sizes, key=lambda part: (part.height * part.width, part.height)))
        self.rows: dict[Size, dict[OpKey, float]] = {size_of(part): part.row_ms for part in self.sizes}
        self.wanted = tuple(sorted({term.key for term in space.cost_terms(space.parse_config(table.space_config))}))
        self.missing: dict[Size, tuple[OpKey, ...]] = {
            size: tuple(key for key in self.wanted if key not in rows) for size, rows in self.rows.items()
        }
        self.model = None if any(self.missing.values()) else LatencyModel(table)
        self.timings = tuple({(timed.size, timed.entry.id): timed for timed in _timings(table)}.values())

    @property
    def keys(self) -> tuple[OpKey, ...]:
        """Every row that the space asks for or that the table has at some size."""
        return tuple(sorted({*self.wanted, *(key for rows in self.rows.values() for key in rows)}))

    @property
    def unstable(self) -> tuple[Timed, ...]:
        """Timings that did not settle, the loosest first."""
        return tuple(sorted((t for t in self.timings if not t.entry.stable), key=lambda t: -t.entry.error))

    @property
    def widest_error(self) -> float | None:
        """The largest mean error of any check, relative; None without checks."""
        return max((check.accuracy.mape for check in self.table.checks), default=None)

    def stated_error(self, size: Size) -> float | None:
        """What predictions at a measured size are stated with, relative; None where no check says anything of it."""
        checked = any(check.kind == "optimum" or _is_held_out(check, size) for check in self.table.checks)
        return self.model.relative_error(*size) if self.model is not None and checked else None

    def at(self, size: Size) -> tuple[Timed, ...]:
        """Timings at a size."""
        return tuple(timed for timed in self.timings if timed.size == size)


def size_of(part: SizeTable | Check) -> Size:
    """(height, width)."""
    return part.height, part.width


def size_label(size: Size) -> str:
    """As the command line takes it: WIDTHxHEIGHT."""
    return f"{size[1]}x{size[0]}"


def check_label(check: Check) -> str:
    """Kind and size."""
    return f"{check.kind.replace('-', ' ' if check.kind == 'unseen-size' else '-')}, {size_label(size_of(check))}"


def noise_floor(timings: Iterable[Timed], kind: str) -> float | None:
    """Median relative standard error of the timings of a kind; None if there are none."""
    errors = [timed.entry.error for timed in timings if timed.kind == kind]
    return statistics.median(errors) if errors else None


def _is_held_out(check: Check, size: Size) -> bool:
    return check.kind == "held-out" and size_of(check) == size


def _timings(table: LatencyTable) -> Iterator[Timed]:
    for part in table.sizes:
        yield from (Timed(size_of(part), "chain", entry) for entry in part.chains)
        yield from (Timed(size_of(part), "network", entry) for entry in part.calibration.networks)
    for check in table.checks:
        yield from (Timed(size_of(check), "network", entry) for entry in check.networks)

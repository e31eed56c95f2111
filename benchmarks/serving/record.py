"""What was measured, round by round, and the rows that it makes."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.results import Row


@dataclass(frozen=True)
class Cell:
    """What a value belongs to.

    Attributes:
        phase: overhead, latency, saturation, overload or machine.
        work: Name of the work, or empty.
        server: Name of the contestant, or empty.
        load: For example `16 callers` or `4 x capacity`.
        measure: With its unit.
    """

    phase: str
    work: str
    server: str
    load: str
    measure: str


@dataclass
class Record:
    """Values by cell."""

    _values: dict[Cell, list[float]] = field(default_factory=dict)
    _pools: dict[Cell, list[float]] = field(default_factory=dict)

    def add(self, cell: Cell, value: float) -> None:
        """One round's value; the row has the median of all rounds, the smallest and the largest."""
        self._values.setdefault(cell, []).append(value)

    def pool(self, cell: Cell, values: Iterable[float]) -> None:
        """Single values of one round; the rows have percentiles over those of all rounds."""
        self._pools.setdefault(cell, []).extend(values)

    def rows(self) -> list[Row]:
        """All rows, of one form."""
        rows = [_row(cell, statistics.median(values), values) for cell, values in self._values.items()]
        for cell, values in self._pools.items():
            for percent in (50, 95, 99):
                named = Cell(cell.phase, cell.work, cell.server, cell.load, f"p{percent} {cell.measure}")
                if values:
                    rows.append(_row(named, percentile(values, percent), values))
        return rows


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def _row(cell: Cell, value: float, values: Sequence[float]) -> Row:
    return {
        "phase": cell.phase,
        "work": cell.work,
        "server": cell.server,
        "load": cell.load,
        "measure": cell.measure,
        "value": value,
        "low": min(values),
        "high": max(values),
        "values": len(values),
    }

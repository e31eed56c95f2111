"""What a long run says about a process: memory over time, its peak, open files, files left behind."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import psutil

MB = 1_000_000


def slope_per_minute(
    seconds: Sequence[float], values: Sequence[float], *, skip: float = 1 / 3, most: int = 200
) -> float:
    """How fast a series grows, in units a minute: the median of the slopes of all pairs (Theil and Sen).

    Steps up and back (a large picture, a buffer that is kept) do not move it as they move a least-squares line.

    Args:
        seconds: When each value was taken, increasing.
        values: The series.
        skip: Share of the time at the beginning that is left out: what warms up grows.
        most: Values that are used, evenly over the rest; their pairs are what costs.
    """
    start = seconds[0] + skip * (seconds[-1] - seconds[0])
    points = [(when, value) for when, value in zip(seconds, values, strict=True) if when >= start]
    points = points[:: max(1, len(points) // most)]
    slopes = [60 * (b - a) / (t - s) for (s, a), (t, b) in combinations(points, 2) if t > s]
    return statistics.median(slopes)


@dataclass
class Series:
    """Resident memory of some processes together, in MB, over time."""

    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)

    def add(self, when: float, processes: Sequence[psutil.Process]) -> None:
        self.seconds.append(when)
        self.megabytes.append(sum(process.memory_info().rss for process in processes) / MB)


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had resident since `forget_peak`, in bytes."""
    return _status_bytes(pid, "VmHWM")


def resident_bytes(pid: int) -> int:
    return _status_bytes(pid, "VmRSS")


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def files_below(*folders: Path) -> set[str]:
    """Every file in some folders."""
    return {str(path) for folder in folders for path in folder.rglob("*") if path.is_file()}


def say(text: str) -> None:
    """What pytest shows with -s, or when the test fails: measured, never asserted."""
    sys.stdout.write(text + "\n")


def _status_bytes(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return 1024 * int(line.split()[1])
    raise ValueError(f"/proc/{pid}/status has no {name}")

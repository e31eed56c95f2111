"""Colours by meaning, the steps at which they change, and units: the same on every dashboard."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "BAD", "BARE", "BUDGET", "CAPACITY", "GOOD", "MEASURED", "P50", "P95", "P99", "PLAIN", "PROMISED", "WARNING",
    "Look", "Steps", "Unit", "above", "below",
]  # fmt: skip


class Unit:
    """Units as Grafana names them."""

    RATIO = "percentunit"
    SECONDS = "s"
    RATE = "reqps"
    PER_SECOND = "cps"
    BYTES = "bytes"
    COUNT = "short"
    DECIBEL = "dB"
    MEGAPIXELS = "suffix:MP"
    MEGAPIXEL_RATE = "suffix:MP/s"
    SECONDS_PER_MEGAPIXEL = "suffix:s/MP"
    TIMES = "suffix:×"
    NATS = "suffix:nats"
    PLAIN = "none"
    TEXT = "string"


@dataclass(frozen=True)
class Look:
    """How the series of one query are drawn, where it differs from the panel's own way.

    Attributes:
        color: Of Grafana's palette; None: one per series.
        shades: Whether several series of the query get shades of the colour.
        dashed: What is not measured but meant: a budget, a promise, a capacity.
        width: Of the line, pixels.
        fill: Percent of opacity under the line; None: the panel's.
    """

    color: str | None = None
    shades: bool = False
    dashed: bool = False
    width: int = 1
    fill: int | None = None


PLAIN = Look()
BARE = Look(fill=0)
GOOD = Look("green")
WARNING = Look("orange")
BAD = Look("red")
BUDGET = Look("red", dashed=True, width=2, fill=0)
PROMISED = Look("blue", shades=True, dashed=True, fill=0)
CAPACITY = Look("semi-dark-red", dashed=True, fill=0)
MEASURED = Look("green", shades=True)
P50 = Look("green", shades=True, fill=0)
P95 = Look("yellow", shades=True, fill=0)
P99 = Look("orange", shades=True, fill=0)

Steps = tuple[tuple[float | None, str], ...]
"""(from this value on, colour); the first has no value: it is the colour of everything below."""


def above(warning: float, bad: float) -> Steps:
    """Steps of a value that should stay low.

    Args:
        warning: Orange from here, in the panel's unit.
        bad: Red from here.
    """
    return ((None, "green"), (warning, "orange"), (bad, "red"))


def below(bad: float, warning: float) -> Steps:
    """Steps of a value that should stay high.

    Args:
        bad: Red below this, in the panel's unit.
        warning: Orange below this.
    """
    return ((None, "red"), (bad, "orange"), (warning, "green"))

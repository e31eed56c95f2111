"""Numbers as Grafana writes them: seconds as ms or minutes, bytes as MiB, shares as per cent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from monitoring.panels import DashboardError

__all__ = ["Scale", "scale_for", "text"]


@dataclass(frozen=True)
class Scale:
    """How numbers of about one size are written: divided, and with something behind.

    Attributes:
        divisor: What a value is divided by.
        suffix: Behind the number, with its blank if it has one.
    """

    divisor: float
    suffix: str


_TIME = ((1e-9, " ns"), (1e-6, " µs"), (1e-3, " ms"), (1.0, " s"), (60.0, " min"), (3600.0, " h"), (86_400.0, " d"))
_SHORT = ((1.0, ""), (1e3, " K"), (1e6, " Mil"), (1e9, " Bil"))
_IEC = ((1.0, " B"), (2.0**10, " KiB"), (2.0**20, " MiB"), (2.0**30, " GiB"), (2.0**40, " TiB"))
_SI = ((1.0, " B"), (1e3, " kB"), (1e6, " MB"), (1e9, " GB"), (1e12, " TB"))


def _times(factor: float) -> tuple[tuple[float, str], ...]:
    return tuple((divisor / factor, suffix) for divisor, suffix in _TIME)


def _counted(word: str) -> tuple[tuple[float, str], ...]:
    return (1.0, f" {word}"), (1e3, f" k{word}"), (1e6, f" M{word}")


_UNITS: dict[str, tuple[tuple[float, str], ...]] = {
    "": ((1.0, ""),),
    "none": ((1.0, ""),),
    "string": ((1.0, ""),),
    "short": _SHORT,
    "locale": ((1.0, ""),),
    "s": _times(1.0),
    "ms": _times(1e-3),
    "dtdurations": _times(1.0),
    "bytes": _IEC,
    "decbytes": _SI,
    "percent": ((1.0, "%"),),
    "percentunit": ((0.01, "%"),),
    "reqps": _counted("req/s"),
    "ops": _counted("ops/s"),
    "cps": _counted("c/s"),
    "rps": _counted("rd/s"),
    "wps": _counted("wr/s"),
    "dB": ((1.0, " dB"),),
}


def scale_for(unit: str, magnitude: float) -> Scale:
    """How values up to a magnitude are written.

    Args:
        unit: Grafana's name, `suffix:text` among them.
        magnitude: The largest value, in the unit.

    Raises:
        DashboardError: The unit is not known here.
    """
    if unit.startswith(("suffix:", "prefix:")):
        # Grafana puts a blank before a suffix.
        return Scale(1.0, f" {unit.partition(':')[2].strip()}")
    if unit not in _UNITS:
        raise DashboardError(
            f"The unit '{unit}' is not written here. Known: {', '.join(filter(None, _UNITS))}, suffix:..."
        )
    steps = _UNITS[unit]
    fitting = [step for step in steps if abs(magnitude) >= step[0]]
    # Nothing at all has the plain unit: 0 s and not 0 ns.
    plain = min(steps, key=lambda step: abs(math.log(step[0])) if len(steps) > 1 else 0.0)
    divisor, suffix = fitting[-1] if fitting else (steps[0] if magnitude else plain)
    return Scale(divisor, suffix)


def text(value: float, unit: str, decimals: int | None = None) -> str:
    """One number.

    Args:
        value: In the unit.
        unit: Grafana's name.
        decimals: Digits after the point; None: three digits that say something.

    Raises:
        DashboardError: The unit is not known here.
    """
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("∞" if value > 0 else "-∞")
    scale = scale_for(unit, value)
    return number(value / scale.divisor, decimals) + scale.suffix


def number(value: float, decimals: int | None = None) -> str:
    """Digits of a number that is divided already; thousands are set apart."""
    if decimals is None:
        size = abs(value)
        decimals = 0 if size >= 100 or size == round(size) else 1 if size >= 10 else 2 if size >= 1 else 3
        written = f"{value:,.{decimals}f}"
        return written.rstrip("0").rstrip(".") if "." in written else written
    return f"{value:,.{decimals}f}"


def tick_decimals(ticks: Sequence[float]) -> int:
    """Digits after the point that tell the ticks of an axis apart."""
    gaps = [abs(b - a) for a, b in pairwise(ticks) if b != a]
    if not gaps:
        return 0
    return next((digits for digits in range(6) if abs(round(min(gaps), digits) - min(gaps)) < 1e-3 * min(gaps)), 6)

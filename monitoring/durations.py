"""Durations as Prometheus writes them: `90s`, `5m`, `1h30m`, `28d`."""

from __future__ import annotations

import re

from runtime.errors import MillisightError

__all__ = ["DURATION", "DurationError", "duration_text", "seconds_of"]

DURATION = r"(?:\d+(?:ms|[smhdwy]))+"
"""A pattern of one, for use inside a larger one."""

_PART = re.compile(r"(\d+)(ms|[smhdwy])")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}


class DurationError(MillisightError):
    """A text is no duration of Prometheus."""


def seconds_of(text: str) -> float:
    """How many seconds a duration is.

    Args:
        text: Such as `5m` or `1h30m`.

    Raises:
        DurationError: It is none.
    """
    if not re.fullmatch(DURATION, text):
        raise DurationError(f"{text!r} is no duration; write it like 30s, 5m or 1h30m.")
    return sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(text))


def duration_text(seconds: float) -> str:
    """Whole seconds as a duration, at least 1s.

    Args:
        seconds: Rounded to whole ones.
    """
    return f"{max(1, round(seconds))}s"

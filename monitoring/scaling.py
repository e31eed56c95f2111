"""Rules whose time goes faster, so that a test can see an alert fire in seconds instead of minutes."""

from __future__ import annotations

import re
from typing import Any

import yaml

from monitoring.durations import DURATION, duration_text, seconds_of
from monitoring.rules import parse_rules
from runtime.errors import MillisightError

__all__ = ["ScalingError", "scaled_rules"]

_TIMES = ("for", "keep_firing_for")
# Texts and comments first, so that nothing in them is taken for a range.
_PLACE = re.compile(
    rf"""(?P<kept>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`|\#[^\n]*)
      | \[\s*(?P<range>{DURATION})\s*(?P<colon>:)?\s*(?P<step>{DURATION})?\s*\]
      | \boffset\s+(?P<sign>-?)\s*(?P<offset>{DURATION})
    """,
    re.VERBOSE,
)


class ScalingError(MillisightError):
    """The factor cannot be used."""


def scaled_rules(text: str, factor: float, *, shortest_range_s: float = 1.0) -> str:
    """A rules file with all its durations multiplied: ranges, offsets, `for`, `keep_firing_for` and `interval`.

    Names stay what they are (`..._5m`), and so do numbers in expressions, such as the age at which a run counts as
    stalled. Thresholds that are rates mean the same on any scale.

    Args:
        text: Of a rules file, YAML.
        factor: Above 0, for example 1 / 60 for seconds instead of minutes. Results are whole seconds, at least 1.
        shortest_range_s: No range becomes shorter; a rate needs at least two scrapes, better four, in its range.

    Returns:
        YAML, without the file's comments.

    Raises:
        ScalingError: The factor is not above 0.
        RulesError: The text is no rules file.
    """
    if not factor > 0:
        raise ScalingError(f"Rules cannot be scaled by {factor}; take a factor above 0, such as 1 / 60.")
    parse_rules(text, "the rules to scale")
    content = yaml.safe_load(text)
    for group in content["groups"]:
        _scale(group, ("interval",), factor)
        for rule in group["rules"]:
            _scale(rule, _TIMES, factor)
            rule["expr"] = _scaled_expression(rule["expr"], factor, shortest_range_s)
    return yaml.safe_dump(content, sort_keys=False)


def _scale(holder: dict[str, Any], names: tuple[str, ...], factor: float) -> None:
    for name in names:
        if name in holder:
            holder[name] = duration_text(seconds_of(holder[name]) * factor)


def _scaled_expression(expr: str, factor: float, shortest_range_s: float) -> str:
    def scaled(match: re.Match[str]) -> str:
        if match["kept"] is not None:
            return match[0]
        if match["offset"] is not None:
            return f"offset {match['sign']}{duration_text(seconds_of(match['offset']) * factor)}"
        reach = duration_text(max(shortest_range_s, seconds_of(match["range"]) * factor))
        step = duration_text(seconds_of(match["step"]) * factor) if match["step"] else ""
        return f"[{reach}{match['colon'] or ''}{step}]"

    return _PLACE.sub(scaled, expr)

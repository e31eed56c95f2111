"""Timings of different sittings made comparable: beside what is new, graphs are timed again that are known already.

The anchor is one small network. A busy neighbour may slow large networks by a few per cent more or less than that, for
minutes on end; large networks that run in the same minutes suffer alike.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from runtime import AnchorTiming, StabilityRule, Target, Timing
from search.latency.stopwatch import Subject, time_graphs


@dataclass(frozen=True)
class Yardstick:
    """A graph with the multiple of the anchor that it is known to take."""

    subject: Subject
    ratio: float


def time_linked(
    subjects: Sequence[Subject],
    yardsticks: Sequence[Yardstick],
    target: Target,
    rule: StabilityRule | Mapping[str, StabilityRule],
    *,
    seed: int = 0,
    on_round: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, Timing], AnchorTiming]:
    """Time graphs in turns with yardsticks, and scale the timings so that the yardsticks take what they took before.

    See `time_graphs` for everything else. The standard errors of the yardsticks are part of those that come back.
    """
    known = [replace(y.subject, id=f"yardstick/{number}") for number, y in enumerate(yardsticks)]
    if not isinstance(rule, StabilityRule):
        # The strictest: a yardstick's noise is part of every result.
        strict = min(rule.values(), key=lambda rule: rule.tolerance)
        rule = {**rule, **dict.fromkeys((subject.id for subject in known), strict)}
    timings, anchor = time_graphs([*subjects, *known], target, rule, seed=seed, on_round=on_round)
    again = [(timings[subject.id], y.ratio) for subject, y in zip(known, yardsticks, strict=True)]
    return rescaled({subject.id: timings[subject.id] for subject in subjects}, again), anchor


def rescaled(timings: Mapping[str, Timing], again: Sequence[tuple[Timing, float]]) -> dict[str, Timing]:
    """Timings of a sitting as an earlier one would have given them.

    Args:
        timings: Of this sitting.
        again: Of each yardstick its timing in this sitting, and the ratio it is known to take; none: nothing changes.
    """
    if not again:
        return dict(timings)
    factor = math.exp(sum(math.log(now.ratio / known) for now, known in again) / len(again))
    noise = math.sqrt(sum(now.error**2 for now, _ in again)) / len(again)
    return {
        name: replace(timing, ratio=timing.ratio / factor, error=math.hypot(timing.error, noise))
        for name, timing in timings.items()
    }

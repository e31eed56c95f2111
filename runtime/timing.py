"""Timing that survives a shared machine.

What was found on virtual machines whose neighbours and clock frequency change all the time (a single run of a network
is off by 10 to 40 %, for milliseconds as well as for minutes), and what is done about it:

- All subjects are timed in turn, in a new random order each round, so that a slow minute hits all of them alike.
- Between any two runs a fixed piece of work, the anchor, is timed. A run counts as a multiple of what the anchor took
  in the moments around it, which takes out everything that lasts longer than a few runs. Multiples can be compared
  between sittings; milliseconds are a multiple times what the anchor takes on the undisturbed machine.
- What is left only ever adds time, so the mean of the lower half of the multiples is taken, not their median.
"""

import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["AnchorTiming", "StabilityRule", "Timing", "lower_half_mean", "lower_quartile", "time_interleaved"]

WINDOW = 6
"""Runs to each side whose anchors say how fast the machine was at a run."""


@dataclass(frozen=True)
class Timing:
    """What was measured for one subject.

    Attributes:
        ratio: The subject's time over the anchor's, at the same speed of the machine. The value to use.
        error: Standard error of `ratio`, relative. Large means a busy machine or too few runs.
        raw_ms: Median of the runs as the clock said, in milliseconds.
        spread: Interquartile range of the ratios divided by their median, no unit.
        runs: Number of measured runs, warm-up left out.
        stable: False if `error` did not come within the rule's tolerance before the rule's limits.
    """

    ratio: float
    error: float
    raw_ms: float
    spread: float
    runs: int
    stable: bool


@dataclass(frozen=True)
class AnchorTiming:
    """What the anchor took during one sitting.

    Attributes:
        ms: Whenever the machine was as undisturbed as it was for a quarter of the sitting.
        median_ms: Typically.
        runs: How often it was run.
    """

    ms: float
    median_ms: float
    runs: int

    @property
    def disturbance(self) -> float:
        """How much slower the machine typically was than in its quieter moments, 0 for not at all."""
        return self.median_ms / self.ms - 1.0


@dataclass(frozen=True)
class StabilityRule:
    """When to stop timing a subject.

    Attributes:
        warmup: Runs before the first measured one.
        min_runs: Fewest measured runs, at least 3.
        max_runs: Most measured runs.
        tolerance: Largest relative standard error for the subject to count as settled.
        max_seconds: Time to spend on one subject, warm-up included. One run is always measured.

    Raises:
        ValueError: If a limit makes no sense.
    """

    warmup: int = 1
    min_runs: int = 8
    max_runs: int = 64
    tolerance: float = 0.02
    max_seconds: float = 20.0

    def __post_init__(self) -> None:
        if self.warmup < 0 or self.min_runs < 3 or self.max_runs < self.min_runs:
            raise ValueError(f"A stability rule needs warmup >= 0 and 3 <= min_runs <= max_runs, got {self}.")
        if not self.tolerance > 0 or not self.max_seconds > 0:
            raise ValueError(f"A stability rule needs tolerance > 0 and max_seconds > 0, got {self}.")


@dataclass
class _Record:
    seconds: list[float] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    spent: float = 0.0


def time_interleaved(
    subjects: Mapping[str, Callable[[], float]],
    anchor: Callable[[], float],
    rule: StabilityRule | Mapping[str, StabilityRule],
    *,
    seed: int,
    on_round: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, Timing], AnchorTiming]:
    """Time several functions in turn, in a new random order each round, until each one settles.

    Args:
        subjects: Name to a function that does its work once and returns the seconds that it took.
        anchor: Likewise; a fixed piece of work of about the same nature, run between any two others.
        rule: When a subject is done; one for all, or one for each name.
        seed: Of the order within the rounds.
        on_round: Called after each measured round with (rounds done, subjects not done yet).

    Returns:
        Name to timing, in the order of `subjects` (one that did not settle is there too, with `stable=False`), and the
        anchor's own timing.

    Raises:
        ValueError: If there is no subject.
        KeyError: If a subject has no rule.
        Exception: Whatever a subject raises.
    """
    if not subjects:
        raise ValueError("There is nothing to time.")
    rules = dict.fromkeys(subjects, rule) if isinstance(rule, StabilityRule) else {n: rule[n] for n in subjects}
    shuffle = random.Random(seed).shuffle
    records = {name: _Record() for name in subjects}

    def pace() -> float:
        # Twice, and only the second counts: the first run finds the caches full of what ran before it, and takes the
        # longer the larger that was. Timings of large and of small subjects could not be compared.
        anchor()
        return anchor()

    for done in range(max(rule.warmup for rule in rules.values())):
        waiting = [
            name for name in subjects if done < rules[name].warmup and records[name].spent < rules[name].max_seconds
        ]
        shuffle(waiting)
        for name in waiting:
            records[name].spent += subjects[name]()

    anchors = [pace()]
    waiting, rounds = list(subjects), 0
    while waiting:
        shuffle(waiting)
        for name in waiting:
            record = records[name]
            record.seconds.append(subjects[name]())
            record.places.append(len(anchors) - 1)
            record.spent += record.seconds[-1]
            anchors.append(pace())
        waiting = [name for name in waiting if not _is_done(records[name], anchors, rules[name])]
        rounds += 1
        if on_round is not None:
            on_round(rounds, len(waiting))
    moments = [1000.0 * _speed(anchors, place) for place in range(len(anchors) - 1)]
    timing = AnchorTiming(ms=lower_quartile(moments), median_ms=statistics.median(moments), runs=len(anchors))
    return {name: _summary(record, anchors, rules[name]) for name, record in records.items()}, timing


def lower_quartile(values: Sequence[float]) -> float:
    """The value that a quarter of the values do not exceed."""
    return sorted(values)[(len(values) - 1) // 4]


def lower_half_mean(values: Sequence[float]) -> float:
    """Mean of the lower half of the values (rounded up to at least one value), in their unit."""
    return statistics.fmean(sorted(values)[: math.ceil(len(values) / 2)])


def _speed(anchors: Sequence[float], place: int) -> float:
    """Seconds of the anchor around run `place`, which lies between anchors `place` and `place + 1`: lower quartile."""
    return lower_quartile(anchors[max(0, place - WINDOW + 1) : place + WINDOW + 1])


def _ratios(record: _Record, anchors: Sequence[float]) -> list[float]:
    return [s / _speed(anchors, place) for s, place in zip(record.seconds, record.places, strict=True)]


def _error(ratios: Sequence[float]) -> float:
    """Relative standard error, from the median absolute deviation: a few wild runs say nothing about the others."""
    middle = statistics.median(ratios)
    deviation = statistics.median(abs(ratio - middle) for ratio in ratios)
    return 1.4826 * deviation / middle / math.sqrt(len(ratios))


def _is_done(record: _Record, anchors: Sequence[float], rule: StabilityRule) -> bool:
    runs = len(record.seconds)
    if runs >= rule.max_runs or record.spent >= rule.max_seconds:
        return True
    return runs >= rule.min_runs and _error(_ratios(record, anchors)) <= rule.tolerance


def _summary(record: _Record, anchors: Sequence[float], rule: StabilityRule) -> Timing:
    ratios = _ratios(record, anchors)
    spread = 0.0
    if len(ratios) > 1:
        first, median, third = statistics.quantiles(ratios, n=4, method="inclusive")
        spread = (third - first) / median
    error = _error(ratios)
    return Timing(
        ratio=lower_half_mean(ratios),
        error=error,
        raw_ms=1000.0 * statistics.median(record.seconds),
        spread=spread,
        runs=len(ratios),
        stable=len(ratios) >= rule.min_runs and error <= rule.tolerance,
    )

"""Timing that survives a shared machine.

Other work on the machine only ever adds time, so the mean of the lowest quarter of the runs estimates the undisturbed
time, where a median would follow the neighbours. All subjects are timed in turn, in random order, so that a slow minute
hits all of them alike. Both were measured to matter more than how a network is cut into pieces for a latency table.
"""

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["StabilityRule", "Timing", "lowest_quarter_mean", "time_interleaved"]


@dataclass(frozen=True)
class Timing:
    """What was measured for one subject.

    Attributes:
        ms: Mean of the lowest quarter of the runs, in milliseconds. The value to use.
        median_ms: Median of the runs, in milliseconds.
        spread: Interquartile range divided by the median, no unit. Large means a busy machine.
        runs: Number of measured runs, warm-up left out.
        stable: False if the runs did not settle within the rule's limits; `ms` is then a poor estimate.
    """

    ms: float
    median_ms: float
    spread: float
    runs: int
    stable: bool


@dataclass(frozen=True)
class StabilityRule:
    """When to stop timing a subject.

    Attributes:
        warmup: Runs before the first measured one.
        min_runs: Fewest measured runs, at least 3.
        max_runs: Most measured runs.
        tolerance: Largest relative difference between the lowest-quarter mean of the last third of the runs and that
            of the runs before, for the subject to count as settled.
        max_seconds: Time to spend on one subject, warm-up included. One run is always measured.

    Raises:
        ValueError: If a limit makes no sense.
    """

    warmup: int = 2
    min_runs: int = 8
    max_runs: int = 64
    tolerance: float = 0.03
    max_seconds: float = 20.0

    def __post_init__(self) -> None:
        if self.warmup < 0 or self.min_runs < 3 or self.max_runs < self.min_runs:
            raise ValueError(f"A stability rule needs warmup >= 0 and 3 <= min_runs <= max_runs, got {self}.")
        if not self.tolerance > 0 or not self.max_seconds > 0:
            raise ValueError(f"A stability rule needs tolerance > 0 and max_seconds > 0, got {self}.")


@dataclass
class _Record:
    seconds: list[float] = field(default_factory=list)
    spent: float = 0.0
    stable: bool = False


def time_interleaved(
    subjects: Mapping[str, Callable[[], object]],
    rule: StabilityRule,
    *,
    seed: int,
    clock: Callable[[], float] = time.perf_counter,
    on_round: Callable[[int, int], None] | None = None,
) -> dict[str, Timing]:
    """Time several functions in turn, in a new random order each round, until each one settles.

    Args:
        subjects: Name to function; what it returns is dropped.
        rule: When a subject is done.
        seed: Of the order within the rounds.
        clock: Seconds, only differences are used. `time.process_time` ignores other processes but is right only for
            subjects that use one thread.
        on_round: Called after each measured round with (rounds done, subjects not done yet).

    Returns:
        Name to timing, in the order of `subjects`. A subject that did not settle is there too, with `stable=False`.

    Raises:
        Exception: Whatever a subject raises.
    """
    shuffle = random.Random(seed).shuffle
    records = {name: _Record() for name in subjects}

    def run(name: str) -> float:
        function = subjects[name]
        start = clock()
        function()
        seconds = clock() - start
        records[name].spent += seconds
        return seconds

    for _ in range(rule.warmup):
        waiting = [name for name in subjects if records[name].spent < rule.max_seconds]
        shuffle(waiting)
        for name in waiting:
            run(name)

    waiting, rounds = list(subjects), 0
    while waiting:
        shuffle(waiting)
        for name in waiting:
            records[name].seconds.append(run(name))
        waiting = [name for name in waiting if not _is_done(records[name], rule)]
        rounds += 1
        if on_round is not None:
            on_round(rounds, len(waiting))
    return {name: _summary(record) for name, record in records.items()}


def lowest_quarter_mean(values: Sequence[float]) -> float:
    """Mean of the lowest quarter of the values (rounded up to at least one value), in their unit."""
    count = math.ceil(len(values) / 4)
    return statistics.fmean(sorted(values)[:count])


def _is_done(record: _Record, rule: StabilityRule) -> bool:
    runs = len(record.seconds)
    if runs >= rule.min_runs:
        # The last third against what came before, not against everything: the lowest quarter of everything would
        # ignore a subject that gets slower and slower.
        cut = runs - runs // 3
        before, after = lowest_quarter_mean(record.seconds[:cut]), lowest_quarter_mean(record.seconds[cut:])
        record.stable = abs(after - before) <= rule.tolerance * before
    return record.stable or runs >= rule.max_runs or record.spent >= rule.max_seconds


def _summary(record: _Record) -> Timing:
    milliseconds = [1000.0 * seconds for seconds in record.seconds]
    median = statistics.median(milliseconds)
    spread = 0.0
    if len(milliseconds) > 1 and median > 0:
        low, _, high = statistics.quantiles(milliseconds, n=4, method="inclusive")
        spread = (high - low) / median
    return Timing(
        ms=lowest_quarter_mean(milliseconds),
        median_ms=median,
        spread=spread,
        runs=len(milliseconds),
        stable=record.stable,
    )

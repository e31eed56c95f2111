import random
from collections.abc import Callable, Iterator
from itertools import count, repeat

import pytest

from runtime.timing import StabilityRule, lowest_quarter_mean, time_interleaved


class FakeMachine:
    """A clock that only moves while a subject runs, by the durations the subject is made of (milliseconds)."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def clock(self) -> float:
        return self.now

    def subject(self, name: str, milliseconds: Iterator[float]) -> Callable[[], object]:
        def run() -> None:
            self.log.append(name)
            self.now += next(milliseconds) / 1000

        return run


def test_a_steady_subject_settles_at_once() -> None:
    machine = FakeMachine()
    rule = StabilityRule()
    timing = time_interleaved({"a": machine.subject("a", repeat(4.0))}, rule, seed=0, clock=machine.clock)["a"]
    assert timing.stable
    assert timing.runs == rule.min_runs
    assert len(machine.log) == rule.warmup + rule.min_runs
    assert timing.ms == pytest.approx(4.0)
    assert timing.median_ms == pytest.approx(4.0)
    assert timing.spread == pytest.approx(0.0)


def test_warm_up_is_not_counted() -> None:
    machine = FakeMachine()
    times = iter([90.0, 50.0, *[2.0] * 100])
    timing = time_interleaved({"a": machine.subject("a", times)}, StabilityRule(), seed=0, clock=machine.clock)["a"]
    assert timing.median_ms == pytest.approx(2.0)


def test_the_lowest_quarter_ignores_what_the_median_follows() -> None:
    # Neighbours disturb most runs and only ever add time.
    machine, noise = FakeMachine(), random.Random(1)
    times = (10.0 if i % 3 == 0 else 10.0 + noise.uniform(4, 9) for i in count())
    rule = StabilityRule(min_runs=16)
    timing = time_interleaved({"a": machine.subject("a", times)}, rule, seed=0, clock=machine.clock)["a"]
    assert timing.ms == pytest.approx(10.0)
    assert timing.stable
    assert timing.median_ms > 13.0
    assert timing.spread > 0.3


@pytest.mark.parametrize("growth", [1.05, 1 / 1.05])
def test_a_drifting_subject_is_reported_as_unstable(growth: float) -> None:
    machine = FakeMachine()
    drifting = (5.0 * growth**i for i in count())
    subjects = {"steady": machine.subject("steady", repeat(5.0)), "drifting": machine.subject("drifting", drifting)}
    rule = StabilityRule(max_runs=30, max_seconds=1e6)
    timings = time_interleaved(subjects, rule, seed=0, clock=machine.clock)
    assert timings["steady"].stable
    assert not timings["drifting"].stable
    assert timings["drifting"].runs == 30
    assert timings["drifting"].ms > 0


def test_a_subject_that_settles_late_is_given_the_runs_it_needs() -> None:
    machine = FakeMachine()
    times = iter([*(10.0 - 0.5 * i for i in range(12)), *[4.0] * 100])
    timing = time_interleaved({"a": machine.subject("a", times)}, StabilityRule(), seed=0, clock=machine.clock)["a"]
    assert timing.stable
    assert 12 < timing.runs < 64
    assert timing.ms == pytest.approx(4.0)


def test_time_runs_out_for_the_slow_one_only() -> None:
    machine = FakeMachine()
    subjects = {"slow": machine.subject("slow", repeat(9_000.0)), "fast": machine.subject("fast", repeat(1.0))}
    timings = time_interleaved(subjects, StabilityRule(max_seconds=20.0), seed=0, clock=machine.clock)
    assert timings["fast"].stable
    assert not timings["slow"].stable
    assert timings["slow"].runs == 1
    assert timings["slow"].ms == pytest.approx(9_000.0)
    assert timings["slow"].spread == 0.0


def test_one_run_is_measured_even_if_the_warm_up_took_all_the_time() -> None:
    machine = FakeMachine()
    rule = StabilityRule(warmup=5, max_seconds=1.0)
    timing = time_interleaved({"a": machine.subject("a", repeat(3_000.0))}, rule, seed=0, clock=machine.clock)["a"]
    assert machine.log == ["a", "a"]  # one of warm-up, one measured
    assert timing.runs == 1


def _order(seed: int) -> list[str]:
    machine = FakeMachine()
    subjects = {name: machine.subject(name, repeat(1.0)) for name in "abcdef"}
    time_interleaved(subjects, StabilityRule(warmup=0), seed=seed, clock=machine.clock)
    return machine.log


def test_rounds_are_shuffled_and_hold_every_subject_once() -> None:
    log = _order(3)
    rounds = [log[i : i + 6] for i in range(0, len(log), 6)]
    assert all(sorted(one) == list("abcdef") for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1


def test_the_seed_decides_on_the_order() -> None:
    assert _order(3) == _order(3)
    assert _order(3) != _order(4)


def test_results_keep_the_order_of_the_subjects_and_rounds_are_reported() -> None:
    machine = FakeMachine()
    seen: list[tuple[int, int]] = []
    subjects = {name: machine.subject(name, repeat(1.0)) for name in "cab"}
    rule = StabilityRule(min_runs=4)
    timings = time_interleaved(
        subjects, rule, seed=0, clock=machine.clock, on_round=lambda done, waiting: seen.append((done, waiting))
    )
    assert list(timings) == ["c", "a", "b"]
    assert seen == [(1, 3), (2, 3), (3, 3), (4, 0)]


def test_nothing_to_time_is_no_result() -> None:
    assert time_interleaved({}, StabilityRule(), seed=0) == {}


def test_a_clock_too_coarse_to_see_anything_does_no_harm() -> None:
    timing = time_interleaved({"a": lambda: None}, StabilityRule(), seed=0, clock=lambda: 1.0)["a"]
    assert timing.ms == timing.median_ms == timing.spread == 0.0


def test_what_a_subject_raises_is_passed_on() -> None:
    def broken() -> None:
        raise ZeroDivisionError("broken subject")

    with pytest.raises(ZeroDivisionError, match="broken subject"):
        time_interleaved({"a": broken}, StabilityRule(), seed=0)


@pytest.mark.parametrize(
    "fields", [{"warmup": -1}, {"min_runs": 2}, {"min_runs": 9, "max_runs": 8}, {"tolerance": 0}, {"max_seconds": 0}]
)
def test_a_rule_without_sense_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="stability rule"):
        StabilityRule(**fields)  # type: ignore[arg-type]


def test_the_lowest_quarter_has_at_least_one_value() -> None:
    assert lowest_quarter_mean([3.0]) == 3.0
    assert lowest_quarter_mean([4.0, 1.0, 9.0, 8.0, 3.0]) == 2.0

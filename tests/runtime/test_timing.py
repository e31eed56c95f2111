import random
from collections.abc import Callable, Iterator
from itertools import count, repeat

import pytest

from runtime.timing import AnchorTiming, StabilityRule, Timing, lower_half_mean, lower_quartile, time_interleaved

LOOSE = StabilityRule(max_seconds=1e6)


class FakeMachine:
    """Its subjects take the milliseconds that they are made of, times how slow the machine is just then."""

    def __init__(self, slowness: Callable[[int], float] = lambda _: 1.0) -> None:
        self.log: list[str] = []
        self._slowness = slowness

    def subject(self, name: str, milliseconds: Iterator[float]) -> Callable[[], float]:
        def run() -> float:
            slowness = self._slowness(len(self.log))
            self.log.append(name)
            return slowness * next(milliseconds) / 1000

        return run

    def time(
        self, subjects: dict[str, Iterator[float]], rule: StabilityRule = LOOSE, anchor_ms: float = 2.0, seed: int = 0
    ) -> tuple[dict[str, Timing], AnchorTiming]:
        made = {name: self.subject(name, milliseconds) for name, milliseconds in subjects.items()}
        return time_interleaved(made, self.subject("anchor", repeat(anchor_ms)), rule, seed=seed)

    @property
    def subjects_run(self) -> list[str]:
        return [name for name in self.log if name != "anchor"]


def test_a_steady_subject_settles_at_once() -> None:
    machine = FakeMachine()
    timings, anchor = machine.time({"a": repeat(4.0)})
    timing = timings["a"]
    assert timing.stable
    assert timing.runs == LOOSE.min_runs
    assert len(machine.subjects_run) == LOOSE.warmup + LOOSE.min_runs
    assert timing.ratio == pytest.approx(2.0)
    assert timing.raw_ms == pytest.approx(4.0)
    assert timing.spread == pytest.approx(0.0)
    assert timing.error == pytest.approx(0.0)
    assert (anchor.ms, anchor.median_ms) == (pytest.approx(2.0), pytest.approx(2.0))
    assert anchor.disturbance == pytest.approx(0.0)


def test_warm_up_is_not_counted() -> None:
    timings, _ = FakeMachine().time({"a": iter([90.0, *[2.0] * 100])})
    assert timings["a"].raw_ms == pytest.approx(2.0)


def test_an_anchor_runs_twice_between_any_two_others() -> None:
    machine = FakeMachine()
    machine.time({"a": repeat(1.0), "b": repeat(1.0)}, StabilityRule(warmup=0))
    kinds = [name == "anchor" for name in machine.log]
    assert kinds == [True, True, False] * (len(kinds) // 3) + [True, True]


@pytest.mark.parametrize("cold", [1.0, 1.5])
def test_what_ran_before_the_anchor_does_not_matter(cold: float) -> None:
    """A run after something else finds cold caches; were it the one that is timed, the ratio would follow."""
    machine = FakeMachine()
    before: list[str] = []

    def anchor() -> float:
        slowness = cold if machine.log[-1:] != ["anchor"] else 1.0
        machine.log.append("anchor")
        before.append(machine.log[-2] if len(machine.log) > 1 else "")
        return slowness * 0.002

    timings, timed = time_interleaved({"a": machine.subject("a", repeat(6.0))}, anchor, LOOSE, seed=0)
    assert "a" in before
    assert timings["a"].ratio == pytest.approx(3.0)
    assert timed.ms == pytest.approx(2.0)


def test_a_slow_stretch_cancels_against_the_anchor() -> None:
    """Twice as slow from one moment on: medians of raw times would follow, multiples of the anchor do not."""
    steady, _ = FakeMachine().time({"a": repeat(6.0)}, StabilityRule(min_runs=60))
    machine = FakeMachine(lambda n: 1.0 if n < 75 else 2.0)
    timings, anchor = machine.time({"a": repeat(6.0)}, StabilityRule(min_runs=60))
    assert timings["a"].raw_ms > 1.4 * steady["a"].raw_ms
    assert timings["a"].ratio == pytest.approx(steady["a"].ratio, rel=1e-6)
    # And milliseconds in the table's terms are those of the quieter half.
    assert timings["a"].ratio * anchor.ms == pytest.approx(6.0, rel=1e-6)
    assert anchor.disturbance > 0.3


def test_spikes_only_add_time_so_the_lower_half_counts() -> None:
    noise = random.Random(1)
    times = (10.0 if i % 2 else 10.0 + noise.uniform(4, 9) for i in count())
    timings, _ = FakeMachine().time({"a": times}, StabilityRule(min_runs=16, max_runs=64, max_seconds=1e6))
    assert timings["a"].ratio == pytest.approx(5.0, rel=1e-6)
    assert timings["a"].spread > 0.2


def test_more_runs_make_a_smaller_error_until_the_rule_is_met() -> None:
    noise = random.Random(2)
    rule = StabilityRule(min_runs=4, max_runs=400, tolerance=0.01, max_seconds=1e6)
    timings, _ = FakeMachine().time({"a": (5.0 * noise.lognormvariate(0.0, 0.1) for _ in count())}, rule)
    assert timings["a"].stable
    assert timings["a"].error <= rule.tolerance
    assert rule.min_runs < timings["a"].runs < rule.max_runs


def test_what_does_not_settle_is_reported_as_unstable() -> None:
    noise = random.Random(3)
    wild = (5.0 * noise.lognormvariate(0.0, 0.8) for _ in count())
    timings, _ = FakeMachine().time({"steady": repeat(5.0), "wild": wild}, StabilityRule(max_runs=12))
    assert timings["steady"].stable
    assert not timings["wild"].stable
    assert timings["wild"].runs == 12
    assert timings["wild"].ratio > 0


def test_time_runs_out_for_the_slow_one_only() -> None:
    timings, _ = FakeMachine().time({"slow": repeat(9_000.0), "fast": repeat(1.0)}, StabilityRule(max_seconds=20.0))
    assert timings["fast"].stable
    assert not timings["slow"].stable
    assert timings["slow"].runs == 2
    assert timings["slow"].raw_ms == pytest.approx(9_000.0)


def test_one_run_is_measured_even_if_the_warm_up_took_all_the_time() -> None:
    machine = FakeMachine()
    timings, _ = machine.time({"a": repeat(3_000.0)}, StabilityRule(warmup=5, max_seconds=1.0))
    assert machine.subjects_run == ["a", "a"]  # one of warm-up, one measured
    assert timings["a"].runs == 1
    assert timings["a"].spread == 0.0


def test_each_subject_may_have_a_rule_of_its_own() -> None:
    machine = FakeMachine()
    often, seldom = StabilityRule(warmup=0, min_runs=20), StabilityRule(warmup=2, min_runs=4)
    made = {name: machine.subject(name, repeat(1.0)) for name in ("often", "seldom")}
    timings, _ = time_interleaved(
        made, machine.subject("anchor", repeat(1.0)), {"often": often, "seldom": seldom}, seed=0
    )
    assert (timings["often"].runs, timings["seldom"].runs) == (20, 4)
    assert machine.subjects_run[:2] == ["seldom", "seldom"]  # only that one warms up
    with pytest.raises(KeyError):
        time_interleaved(made, machine.subject("anchor", repeat(1.0)), {"often": often}, seed=0)


def _order(seed: int) -> list[str]:
    machine = FakeMachine()
    machine.time({name: repeat(1.0) for name in "abcdef"}, StabilityRule(warmup=0), seed=seed)
    return machine.subjects_run


def test_rounds_are_shuffled_and_hold_every_subject_once() -> None:
    log = _order(3)
    rounds = [log[i : i + 6] for i in range(0, len(log), 6)]
    assert all(sorted(one) == list("abcdef") for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1


def test_the_seed_decides_on_the_order() -> None:
    assert _order(3) == _order(3)
    assert _order(3) != _order(4)


def test_results_keep_the_order_of_the_subjects_and_rounds_are_reported() -> None:
    seen: list[tuple[int, int]] = []
    timings, _ = time_interleaved(
        dict.fromkeys("cab", lambda: 1.0),
        lambda: 1.0,
        StabilityRule(min_runs=4),
        seed=0,
        on_round=lambda done, waiting: seen.append((done, waiting)),
    )
    assert list(timings) == ["c", "a", "b"]
    assert seen == [(1, 3), (2, 3), (3, 3), (4, 0)]


def test_nothing_to_time_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to time"):
        time_interleaved({}, lambda: 1.0, StabilityRule(), seed=0)


def test_what_a_subject_raises_is_passed_on() -> None:
    def broken() -> float:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        time_interleaved({"a": broken}, lambda: 1.0, StabilityRule(), seed=0)


@pytest.mark.parametrize(
    ("values", "half", "quartile"),
    [([3.0], 3.0, 3.0), ([4.0, 1.0], 1.0, 1.0), ([5.0, 1.0, 3.0, 9.0, 7.0], 3.0, 3.0), (list(range(1, 9)), 2.5, 2.0)],
)
def test_lower_half_and_quartile(values: list[float], half: float, quartile: float) -> None:
    assert lower_half_mean(values) == pytest.approx(half)
    assert lower_quartile(values) == pytest.approx(quartile)


@pytest.mark.parametrize(
    "wrong", [{"warmup": -1}, {"min_runs": 2}, {"min_runs": 9, "max_runs": 8}, {"tolerance": 0}, {"max_seconds": 0}]
)
def test_a_rule_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="stability rule"):
        StabilityRule(**wrong)  # type: ignore[arg-type]

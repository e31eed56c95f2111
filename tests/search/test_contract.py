"""Aiming at a budget with a clock that is a plain function."""

import dataclasses
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import OpKey
from search import Budget, BudgetError
from search.contract import SOUGHT, TRIES, USED, Derivation, derive_verified, judge, require_reachable
from search.derive import fastest_and_slowest, fastest_network
from search.latency.model import LatencyModel
from search.latency.table import Measured

MakeModel = Callable[..., LatencyModel]
Picks = dict[str, str]
Probabilities = dict[str, dict[str, float]]
SIZE = (32, 32)
ERROR = 0.05
SPACE = {"channels": (16,), "blocks": 6, "widths": (1.0,), "attentions": ("identity",)}


def measured(ms: float, error: float = 0.0) -> Measured:
    return Measured(
        id="derived", graph="0" * 16, session=0, ms=ms, error=error, raw_ms=ms, spread=0.0, runs=8, stable=True
    )


def rows(key: OpKey) -> float:
    return {"conv5x5": 4.0, "conv3x3": 2.0, "separable3x3": 1.0}.get(key.operation, 0.5)


@pytest.fixture(scope="module")
def model(make_model: MakeModel) -> LatencyModel:
    """Networks of 14 to 50 ms, a millisecond apart."""
    return make_model({**SPACE, "convolutions": ("conv5x5", "conv3x3", "separable3x3")}, row_ms=rows, error=ERROR)


def likely(model: LatencyModel, ratio: float) -> Probabilities:
    """Each candidate `ratio` times as probable as the one before; the first ones are the slow ones."""
    return {
        choice: {name: ratio**index for index, name in enumerate(names)}
        for choice, names in model.space.candidates(model.config).items()
    }


def predict(model: LatencyModel, picks: Picks) -> float:
    return model.predict(picks, *SIZE).ms


def steady(model: LatencyModel, factor: float, error: float = 0.0) -> Callable[[Picks], Measured]:
    """A machine on which everything takes so many times what the table says."""
    return lambda picks: measured(factor * predict(model, picks), error)


def check(found: Derivation, budget: Budget, model: LatencyModel) -> None:
    """What holds for every derivation."""
    assert 1 <= len(found.attempts) <= TRIES
    assert len({str(sorted(a.picks.items())) for a in found.attempts}) == len(found.attempts)  # none timed twice
    assert found.best.measured.ms <= budget.ms
    for attempt in found.attempts:
        assert attempt.predicted == model.predict(attempt.picks, *SIZE)
        assert attempt.at_least_ms * (1 - 1e-5) <= attempt.predicted.ms <= attempt.aim_ms
        assert attempt.verdict == judge(attempt.measured, budget)
    assert all(attempt.verdict != "kept" for attempt in found.attempts[:-1])  # the first that is kept ends it


def test_the_first_aim_leaves_room_for_the_tables_error(model: LatencyModel) -> None:
    budget = Budget(30.0, *SIZE)
    found = derive_verified(likely(model, 0.5), model, budget, steady(model, 1 + ERROR))
    check(found, budget, model)
    assert len(found.attempts) == 1
    assert found.attempts[0].aim_ms == pytest.approx(30.0 / (1 + ERROR))
    assert (found.attempts[0].at_least_ms, found.note) == (0.0, "")


@pytest.mark.parametrize("factor", [1.08, 1.3, 1.45])
def test_over_budget_means_a_tighter_aim(model: LatencyModel, factor: float) -> None:
    """A machine that is slower than the table says, by more than its error."""
    budget = Budget(36.0, *SIZE)
    found = derive_verified(likely(model, 0.5), model, budget, steady(model, factor))
    check(found, budget, model)
    assert [attempt.verdict for attempt in found.attempts] == ["over", "kept"]
    # It does not overshoot: what it keeps is close to what the machine can do in the budget.
    assert found.best.measured.ms > 0.93 * budget.ms


@pytest.mark.parametrize("factor", [0.5, 0.7, 0.85])
def test_far_under_budget_means_a_higher_aim(model: LatencyModel, factor: float) -> None:
    """A machine that is faster than the table says."""
    budget = Budget(22.0, *SIZE)
    found = derive_verified(likely(model, 0.5), model, budget, steady(model, factor))
    check(found, budget, model)
    slowest = factor * fastest_and_slowest(model, *SIZE)[1]
    assert found.attempts[0].verdict == "under"
    if slowest >= SOUGHT * budget.ms:
        assert [attempt.verdict for attempt in found.attempts] == ["under", "kept"]
        assert found.best.aim_ms > found.attempts[0].aim_ms


def test_a_budget_is_used_even_if_the_search_wants_a_cheap_network(model: LatencyModel) -> None:
    """The slow candidates are improbable: without a lower bound derivation never picks them."""
    budget, wanting_cheap = Budget(30.0, *SIZE), likely(model, 2.0)
    found = derive_verified(wanting_cheap, model, budget, steady(model, 1.0))
    check(found, budget, model)
    assert [attempt.verdict for attempt in found.attempts] == ["under", "kept"]
    assert found.attempts[0].predicted.ms < USED * budget.ms < found.best.measured.ms
    assert found.best.at_least_ms == pytest.approx(SOUGHT * budget.ms)

    # Of all that use the budget it is the most probable one.
    def score(picks: Picks) -> float:
        return sum(math.log(wanting_cheap[choice][name]) for choice, name in picks.items())

    candidates = model.space.candidates(model.config)
    names = [choice for choice, entry in candidates.items() if len(entry) > 1]
    rng = np.random.default_rng(0)
    for _ in range(300):
        other = {**found.best.picks, **{choice: str(rng.choice(candidates[choice])) for choice in names}}
        if found.best.at_least_ms <= predict(model, other) <= found.best.aim_ms:
            assert score(other) <= score(found.best.picks) + 1e-9


def test_what_the_whole_space_cannot_use_is_no_pressure(model: LatencyModel) -> None:
    found = derive_verified(likely(model, 2.0), model, Budget(1000.0, *SIZE), steady(model, 1.0))
    assert len(found.attempts) == 1
    fastest, slowest = fastest_and_slowest(model, *SIZE)
    assert found.best.predicted.ms == pytest.approx(fastest)  # the most probable, not the slowest
    assert f"the slowest network of the space takes about {slowest:.4g} ms, 5% of the budget" in found.note


def test_where_no_network_uses_the_budget_the_nearest_below_is_kept(make_model: MakeModel) -> None:
    """Networks of 3, 12.5 and 22 ms: nothing lies between 85 % and 100 % of 20 ms."""
    model = make_model(
        {**SPACE, "blocks": 1, "convolutions": ("conv5x5", "conv3x3")},
        row_ms=lambda key: 10.0 if key.operation == "conv5x5" else 0.5, intercept=2.0, error=0.0,
    )  # fmt: skip
    found = derive_verified(likely(model, 0.5), model, Budget(20.0, *SIZE), steady(model, 1.0))
    assert [(attempt.verdict, attempt.measured.ms) for attempt in found.attempts] == [("under", 12.5)]
    assert "no network that uses 85% of the budget was found (timed: 1)" in found.note


def test_the_best_attempt_counts_not_the_last(model: LatencyModel) -> None:
    """Every network is measured under, or over: the one that uses most is kept, whenever it was measured."""
    shares = itertools.cycle([0.7, 0.84, 0.6, 1.2])
    found = derive_verified(
        likely(model, 0.5), model, Budget(30.0, *SIZE), lambda _: measured(30.0 * next(shares))
    )  # fmt: skip
    check(found, Budget(30.0, *SIZE), model)
    assert found.best.measured.ms == pytest.approx(0.84 * 30.0)
    assert found.chosen != len(found.attempts) - 1
    assert found.note


def test_a_timing_within_its_own_error_of_the_budget_is_not_relied_on(model: LatencyModel) -> None:
    budget = Budget(30.0, *SIZE)
    assert judge(measured(29.9, error=0.01), budget) == "close"
    assert judge(measured(29.9, error=0.001), budget) == "kept"
    assert judge(measured(USED * 30.0 + 0.1, error=0.01), budget) == "under"
    assert judge(measured(30.01, error=0.5), budget) == "over"
    times = iter([29.9, 29.0])
    found = derive_verified(
        likely(model, 0.5), model, budget, lambda _: measured(next(times), error=0.01)
    )  # fmt: skip
    assert [attempt.verdict for attempt in found.attempts] == ["close", "kept"]
    # Where nothing better turns up it stands: it did measure within the budget.
    fastest = fastest_and_slowest(model, *SIZE)[0]
    only = derive_verified(
        likely(model, 0.5), model, Budget(fastest, *SIZE), lambda _: measured(0.999 * fastest, error=0.01)
    )  # fmt: skip
    assert [attempt.verdict for attempt in only.attempts] == ["close"]


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), share=st.floats(0.15, 0.95), bias=st.floats(0.8, 1.25))
def test_whatever_the_table_errs_by_the_budget_is_kept_and_used(
    model: LatencyModel, seed: int, share: float, bias: float
) -> None:
    """Every network off by its own 3 %, all of them by a bias, timed with half a per cent of noise."""
    rng = np.random.default_rng(seed)
    probabilities = {
        choice: dict(zip(names, rng.dirichlet(np.ones(len(names))).tolist(), strict=True))
        for choice, names in model.space.candidates(model.config).items()
    }
    fastest, slowest = (bias * ms for ms in fastest_and_slowest(model, *SIZE))
    budget = Budget(fastest + share * (slowest - fastest), *SIZE)

    def measure(picks: Picks) -> Measured:
        own = np.random.default_rng([seed, *"".join(picks.values()).encode()]).normal(0.0, 0.03)
        return measured(predict(model, picks) * bias * (1 + own) * (1 + rng.normal(0.0, 0.005)), error=0.005)

    found = derive_verified(probabilities, model, budget, measure)
    check(found, budget, model)
    assert found.best.verdict == "kept", found


def test_aiming_at_the_budget_alone_would_not_do(model: LatencyModel) -> None:
    """The planted fault: derived once, at the budget, a biased table's networks are over or far under."""
    budget = Budget(30.0, *SIZE)
    exact = dataclasses.replace(budget)
    for factor, wrong in ((1.1, "over"), (0.8, "under")):
        found = derive_verified(likely(model, 0.5), model, exact, steady(model, factor))
        assert found.attempts[0].verdict == wrong
        assert found.best.verdict == "kept"


def test_a_budget_out_of_reach_is_not_measured(model: LatencyModel) -> None:
    def never(_: Picks) -> Measured:
        raise AssertionError("nothing should be measured")

    fastest, predicted = fastest_network(model, *SIZE)
    beyond = Budget(predicted.ms * (1 - 1.01 * ERROR), *SIZE)
    with pytest.raises(
        BudgetError, match=rf"the fastest is predicted to take {predicted.ms:.4g} ms ± .*12 x sep.*raise"
    ):
        derive_verified(likely(model, 0.5), model, beyond, never)
    assert set(fastest.values()) == {"separable3x3"}


def test_where_no_clock_decides_the_prediction_does(model: LatencyModel) -> None:
    predicted = fastest_network(model, *SIZE)[1].ms
    for share, reachable in ((1 - 0.9 * ERROR, True), (1 - 1.01 * ERROR, False)):
        budget = Budget(share * predicted, *SIZE)
        if reachable:
            require_reachable(model, budget)
        with pytest.raises(BudgetError, match=rf"the fastest is predicted to take {predicted:.4g} ms"):
            require_reachable(model, budget, timed=False)
    require_reachable(model, Budget(predicted, *SIZE), timed=False)


def test_a_budget_just_below_the_fastest_prediction_is_decided_by_measuring(model: LatencyModel) -> None:
    predicted = fastest_and_slowest(model, *SIZE)[0]
    budget = Budget(predicted * (1 - 0.9 * ERROR), *SIZE)
    found = derive_verified(likely(model, 0.5), model, budget, steady(model, 0.9))
    assert found.best.measured.ms <= budget.ms
    with pytest.raises(BudgetError, match=rf"the fastest is predicted to take {predicted:.4g} ms ± \S+ and measures"):
        derive_verified(likely(model, 0.5), model, budget, steady(model, 1.0))


def test_when_even_the_fastest_is_over_it_is_named_with_its_milliseconds(model: LatencyModel) -> None:
    tried: list[Picks] = []

    def slow(picks: Picks) -> Measured:
        tried.append(picks)
        return measured(99.0)

    with pytest.raises(BudgetError, match=r"meets 30ms@32x32: the fastest is .* and measures 99 ms \(12 x sep"):
        derive_verified(likely(model, 0.5), model, Budget(30.0, *SIZE), slow)
    assert tried[-1] == fastest_network(model, *SIZE)[0]
    assert len(tried) == 2  # three times too slow: nothing between is worth a try


def test_when_tries_run_out_it_says_what_was_tried(model: LatencyModel) -> None:
    """Always a little over, whatever is aimed at."""
    with pytest.raises(BudgetError, match=rf"within 36ms@32x32 in {TRIES} tries .*measured 36.4 ms.*the latency table"):
        derive_verified(likely(model, 0.5), model, Budget(36.0, *SIZE), lambda _: measured(36.4))

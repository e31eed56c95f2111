"""Budgets without a clock: what a table alone can promise."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import OpKey
from search import Budget, BudgetError
from search.contract import SOUGHT, USED, derive_verified
from search.derive import fastest_and_slowest, fastest_network
from search.elsewhere import Forecast, derive_predicted, home_target
from search.latency.model import LatencyModel
from search.latency.table import Measured

MakeModel = Callable[..., LatencyModel]
Probabilities = dict[str, dict[str, float]]
SIZE = (32, 32)
ERROR = 0.05
SPACE = {
    "channels": (16,), "blocks": 6, "widths": (1.0,), "attentions": ("identity",),
    "convolutions": ("conv5x5", "conv3x3", "separable3x3"),
}  # fmt: skip


def rows(key: OpKey) -> float:
    return {"conv5x5": 4.0, "conv3x3": 2.0, "separable3x3": 1.0}.get(key.operation, 0.5)


@pytest.fixture(scope="module")
def model(make_model: MakeModel) -> LatencyModel:
    """Networks of 14 to 50 ms, a millisecond apart."""
    return make_model(SPACE, row_ms=rows, error=ERROR)


def likely(model: LatencyModel, ratio: float) -> Probabilities:
    """Each candidate `ratio` times as probable as the one before; the first ones are the slow ones."""
    return {
        choice: {name: ratio**index for index, name in enumerate(names)}
        for choice, names in model.space.candidates(model.config).items()
    }


def check(found: Forecast, model: LatencyModel, budget: Budget) -> None:
    """What holds for every forecast."""
    assert found.predicted == model.predict(found.picks, *SIZE)
    assert found.at_least_ms * (1 - 1e-5) <= found.predicted.ms <= found.aim_ms <= budget.ms


def test_the_aim_leaves_room_for_the_tables_error(model: LatencyModel) -> None:
    budget = Budget(30.0, *SIZE)
    found = derive_predicted(likely(model, 0.5), model, budget)
    check(found, model, budget)
    assert found.aim_ms == pytest.approx(30.0 / (1 + ERROR))
    assert found.predicted.ms + found.predicted.error_ms <= 30.0
    assert (found.at_least_ms, found.note) == (0.0, "")


def test_it_is_what_the_clock_would_have_been_asked_about_first(model: LatencyModel) -> None:
    def exact(picks: dict[str, str]) -> Measured:
        ms = model.predict(picks, *SIZE).ms
        return Measured(id="x", graph="0", session=0, ms=ms, error=0.0, raw_ms=ms, spread=0.0, runs=8, stable=True)

    budget = Budget(30.0, *SIZE)
    timed = derive_verified(likely(model, 0.5), model, budget, exact)
    assert derive_predicted(likely(model, 0.5), model, budget).picks == timed.attempts[0].picks


def test_a_budget_is_used_even_if_the_search_wants_a_cheap_network(model: LatencyModel) -> None:
    budget = Budget(30.0, *SIZE)
    found = derive_predicted(likely(model, 2.0), model, budget)
    check(found, model, budget)
    assert found.at_least_ms == pytest.approx(SOUGHT * 30.0)
    assert found.note == ""
    # The planted fault: what is most probable under the aim uses less.
    unasked = fastest_and_slowest(model, *SIZE)[0]
    assert unasked < USED * budget.ms <= found.predicted.ms


def test_what_the_error_takes_is_not_asked_for_but_the_rest_is(make_model: MakeModel) -> None:
    model = make_model(SPACE, row_ms=rows, error=0.5)
    budget = Budget(45.0, *SIZE)
    found = derive_predicted(likely(model, 2.0), model, budget)
    check(found, model, budget)
    assert found.aim_ms == pytest.approx(30.0)
    assert USED * 30.0 <= found.predicted.ms < USED * 45.0
    assert "no network is predicted to use 85% of the budget and to keep it" in found.note


def test_where_no_network_uses_the_budget_the_most_probable_below_is_kept(make_model: MakeModel) -> None:
    """Networks of 3, 12.5 and 22 ms: nothing lies between 85 % and 100 % of 20 ms."""
    model = make_model(
        {**SPACE, "blocks": 1, "convolutions": ("conv5x5", "conv3x3")},
        row_ms=lambda key: 10.0 if key.operation == "conv5x5" else 0.5, intercept=2.0, error=0.0,
    )  # fmt: skip
    found = derive_predicted(likely(model, 0.5), model, Budget(20.0, *SIZE))
    assert (found.predicted.ms, found.at_least_ms) == (12.5, 0.0)
    assert "no network is predicted to use 85%" in found.note


def test_what_the_whole_space_cannot_use_is_no_pressure(model: LatencyModel) -> None:
    found = derive_predicted(likely(model, 2.0), model, Budget(1000.0, *SIZE))
    fastest, slowest = fastest_and_slowest(model, *SIZE)
    assert found.predicted.ms == pytest.approx(fastest)  # the most probable, not the slowest
    assert f"the slowest network of the space takes about {slowest:.4g} ms, 5% of the budget" in found.note


def test_a_budget_out_of_reach_names_the_fastest_with_its_milliseconds(model: LatencyModel) -> None:
    picks, predicted = fastest_network(model, *SIZE)
    # Within the table's error: where a clock could decide it would be tried.
    close = Budget(predicted.ms * (1 - 0.5 * ERROR), *SIZE)
    with pytest.raises(
        BudgetError, match=rf"the fastest is predicted to take {predicted.ms:.4g} ms ± .*12 x sep.*raise"
    ):
        derive_predicted(likely(model, 0.5), model, close)
    assert set(picks.values()) == {"separable3x3"}


@pytest.mark.parametrize("share", [1.0, 1.0 + ERROR / 2])
def test_the_fastest_network_may_come_closer_to_the_budget_than_the_error(model: LatencyModel, share: float) -> None:
    fastest = fastest_and_slowest(model, *SIZE)[0]
    found = derive_predicted(likely(model, 0.5), model, Budget(share * fastest, *SIZE))
    assert found.predicted.ms == pytest.approx(fastest)
    assert found.predicted.ms <= share * fastest
    assert "if the table errs by its own error; this is the fastest" in found.note


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0.0, 1.5), ratio=st.floats(0.2, 5.0))
def test_whatever_is_wanted_the_prediction_is_within_the_budget(
    model: LatencyModel, share: float, ratio: float
) -> None:
    fastest, slowest = fastest_and_slowest(model, *SIZE)
    budget = Budget(fastest + share * (slowest - fastest), *SIZE)
    found = derive_predicted(likely(model, ratio), model, budget)
    check(found, model, budget)
    sure = found.predicted.ms * (1 + ERROR) <= budget.ms * (1 + 1e-5)
    assert sure or "this is the fastest" in found.note
    assert found.predicted.ms >= USED * budget.ms or found.note


def test_home_is_a_processor() -> None:
    assert not home_target().on_gpu
    assert home_target().precision == "fp32"

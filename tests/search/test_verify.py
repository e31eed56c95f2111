"""Tightening with a clock that is a plain function."""

from collections.abc import Callable

import pytest

from export import GateError, export_onnx
from models import Network, OpKey
from runtime import StabilityRule, Target
from search import Budget, BudgetError
from search.latency.model import LatencyModel
from search.latency.table import Measured
from search.verify import TRIES, confirm_budget, derive_verified, export_and_measure, slowdown

MakeModel = Callable[..., LatencyModel]


def measured(ms: float) -> Measured:
    return Measured(id="derived", ms=ms, raw_ms=ms, spread=0.0, runs=8, stable=True)


def rows(key: OpKey) -> float:
    return {"conv5x5": 4.0, "conv3x3": 2.0, "separable3x3": 1.0}.get(key.operation, 0.5)


@pytest.fixture
def model(make_model: MakeModel) -> LatencyModel:
    values = {"channels": (16,), "blocks": 3, "convolutions": ("conv5x5", "conv3x3", "separable3x3"), "widths": (1.0,)}
    return make_model(values, row_ms=rows)


@pytest.fixture
def probabilities(model: LatencyModel) -> dict[str, dict[str, float]]:
    """The slower the more probable."""
    return {
        choice: {name: 1.0 / 2**index for index, name in enumerate(names)}
        for choice, names in model.space.candidates(model.config).items()
    }


def test_a_network_that_holds_at_once_is_taken(model: LatencyModel, probabilities: dict[str, dict[str, float]]) -> None:
    attempts = derive_verified(probabilities, model, Budget(15.0, 32, 32), lambda _: measured(15.0))
    assert len(attempts) == 1
    assert attempts[0].aim_ms == 15.0
    assert attempts[0].predicted.ms <= 15.0


def test_over_budget_means_a_tighter_aim(model: LatencyModel, probabilities: dict[str, dict[str, float]]) -> None:
    """A machine that is 20 % slower than the table says."""
    budget = Budget(20.0, 32, 32)
    attempts = derive_verified(
        probabilities, model, budget, lambda picks: measured(1.2 * model.predict(picks, 32, 32).ms)
    )
    assert len(attempts) > 1
    aims = [attempt.aim_ms for attempt in attempts]
    assert aims == sorted(aims, reverse=True)
    assert all(attempt.measured.ms > budget.ms for attempt in attempts[:-1])
    assert attempts[-1].measured.ms <= budget.ms
    assert all(attempt.predicted.ms <= attempt.aim_ms * (1 + 1e-9) for attempt in attempts)
    # It does not overshoot either: the network kept is close to what the machine can do in the budget.
    assert attempts[-1].measured.ms > 0.8 * budget.ms


def test_when_nothing_holds_it_says_what_was_tried(
    model: LatencyModel, probabilities: dict[str, dict[str, float]]
) -> None:
    tried: list[str] = []

    def slow(picks: dict[str, str]) -> Measured:
        tried.append(str(sorted(picks.items())))
        return measured(99.0)

    with pytest.raises(BudgetError, match=rf"within 20ms@32x32 in {TRIES} tries .*measured 99 ms.*measure the latency"):
        derive_verified(probabilities, model, Budget(20.0, 32, 32), slow)
    assert len(tried) == TRIES
    assert len(set(tried)) >= 2  # down to the fastest


def test_an_infeasible_budget_is_not_measured(model: LatencyModel, probabilities: dict[str, dict[str, float]]) -> None:
    def never(_: dict[str, str]) -> Measured:
        raise AssertionError("nothing should be measured")

    with pytest.raises(BudgetError, match="the fastest is predicted"):
        derive_verified(probabilities, model, Budget(1.0, 32, 32), never)


def test_networks_are_measured_in_the_engine_and_only_once(make_model: MakeModel) -> None:
    model = make_model({"channels": (8,), "blocks": 1, "convolutions": ("conv3x3", "conv5x5")})
    built: list[dict[str, str]] = []

    def build(picks: dict[str, str]) -> Network:
        built.append(picks)
        return model.space.build(model.space.genotype(model.config, picks))

    target = Target("cpu", "onnxruntime", "fp32", 1)
    quick = StabilityRule(warmup=0, min_runs=3, max_runs=3, max_seconds=0.05)
    measure = export_and_measure(
        build, lambda n: export_onnx(n, n.multiple, n.scale), model, target, Budget(1.0, 16, 16), quick
    )
    picks = model.space.reference_picks(model.config)
    first = measure(picks)
    assert first.ms > 0
    assert first.raw_ms > 0
    assert measure(dict(reversed(picks.items()))) is first
    assert len(built) == 1
    measure({**picks, "bottleneck0.0.conv1": "conv5x5"})
    assert len(built) == 2


def test_a_trained_file_within_the_budget_is_stated_as_measured() -> None:
    def unasked() -> float:
        raise AssertionError("one timing was enough")

    assert confirm_budget(measured(19.0), measured(18.0), Budget(20.0, 32, 32), unasked).ms == 19.0


def test_a_busy_machine_is_told_from_slow_weights() -> None:
    budget = Budget(20.0, 32, 32)
    assert confirm_budget(measured(25.0), measured(18.0), budget, lambda: 1.02).ms == 18.0
    with pytest.raises(GateError, match=r"1\.40 times faster"):
        confirm_budget(measured(25.0), measured(18.0), budget, lambda: 1.4)


def test_slowdown_sees_a_network_with_eight_times_the_blocks(model: LatencyModel) -> None:
    def graph(blocks: int) -> bytes:
        config = model.config.model_copy(update={"blocks": blocks})
        picks = {choice: names[0] for choice, names in model.space.candidates(config).items()}
        return export_onnx(model.space.build(model.space.genotype(config, picks)))

    rule = StabilityRule(min_runs=8, max_runs=16, max_seconds=2.0)
    target = Target("cpu", "onnxruntime", "fp32", 1)
    # Not a bound on a time: eight times the work in turns with the original, and all that is asked is that it shows.
    assert slowdown(graph(24), graph(3), target, Budget(1.0, 64, 64), rule) > 1.1

"""Derivation against brute force over every network of small random problems."""

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import CostTerm, OpKey
from models.trellis import knapsack_trellis
from search import Budget, BudgetError
from search.derive import FLOOR, GRID, derive_picks, fastest_and_slowest
from search.latency.model import LatencyModel

MakeModel = Callable[..., LatencyModel]
Probabilities = dict[str, dict[str, float]]

CONFIGS: tuple[dict[str, Any], ...] = (
    {"channels": (16,), "blocks": 1},
    {"channels": (16,), "blocks": 2, "convolutions": ("conv3x3", "separable3x3")},
    {"channels": (8, 16), "blocks": 1, "convolutions": ("conv3x3", "conv5x5"), "attentions": ("identity",)},
    # Parts that are paid whatever is picked.
    {"channels": (16,), "blocks": 2, "convolutions": ("conv5x5",), "attentions": ("squeeze_excitation",)},
    {"channels": (16,), "blocks": 1, "widths": (1.0,), "attentions": ("squeeze_excitation",)},
)


def rows(seed: int, free: bool) -> Callable[[OpKey], float]:
    def ms(key: OpKey) -> float:
        mixed = [seed, key.in_channels, key.out_channels, key.divisor, *key.operation.encode()]
        value = float(np.random.default_rng(mixed).uniform(0.0, 2.0))
        return 0.0 if free and value < 0.4 else value

    return ms


def random_probabilities(model: LatencyModel, seed: int) -> Probabilities:
    rng = np.random.default_rng([seed, 1])
    found: Probabilities = {}
    for choice, names in model.space.candidates(model.config).items():
        shares = rng.dirichlet(np.full(len(names), 0.7))
        found[choice] = dict(zip(names, shares.tolist(), strict=True))
    return found


def score(probabilities: Probabilities, picks: dict[str, str]) -> float:
    return sum(math.log(max(FLOOR, probabilities[choice][name])) for choice, name in picks.items())


def every_network(model: LatencyModel) -> list[tuple[dict[str, str], float]]:
    candidates = model.space.candidates(model.config)
    every = (dict(zip(candidates, names, strict=True)) for names in itertools.product(*candidates.values()))
    return [(picks, model.predict(picks, 32, 32).ms) for picks in every]


@settings(deadline=None, max_examples=30)
@given(
    number=st.integers(0, len(CONFIGS) - 1),
    seed=st.integers(0, 10_000),
    share=st.floats(0.0, 1.2),
    free=st.booleans(),
    intercept=st.sampled_from([0.0, 3.0]),
)
def test_nothing_better_fits_the_budget(
    make_model: MakeModel, number: int, seed: int, share: float, free: bool, intercept: float
) -> None:
    model = make_model(CONFIGS[number], row_ms=rows(seed, free), intercept=intercept)
    probabilities = random_probabilities(model, seed)
    networks = every_network(model)
    times = [ms for _, ms in networks]
    fastest, slowest = fastest_and_slowest(model, 32, 32)
    assert fastest == pytest.approx(min(times))
    assert slowest == pytest.approx(max(times))

    ms = fastest + share * (slowest - fastest)
    picks = derive_picks(probabilities, model, Budget(max(ms, 1e-6), 32, 32))
    assert set(picks) == set(probabilities)
    assert model.predict(picks, 32, 32).ms <= ms * (1 + 1e-9) + 1e-6  # never over budget
    # Costs are rounded up to the grid, once a group: nothing that fits with that much to spare may be better.
    spare = len(picks) * ms / GRID
    best = max((score(probabilities, other) for other, cost in networks if cost <= ms - spare), default=-math.inf)
    assert score(probabilities, picks) >= best - 1e-9


@pytest.mark.parametrize("number", range(len(CONFIGS)))
@pytest.mark.parametrize("ms", [math.inf, 1e9])
def test_without_pressure_every_choice_takes_its_argmax(make_model: MakeModel, number: int, ms: float) -> None:
    model = make_model(CONFIGS[number], row_ms=rows(4, free=False))
    probabilities = random_probabilities(model, 4)
    argmax = {choice: max(entry, key=lambda name: entry[name]) for choice, entry in probabilities.items()}
    assert derive_picks(probabilities, model, Budget(ms, 32, 32)) == argmax


@pytest.mark.parametrize("seed", range(6))
def test_rounding_never_lets_a_network_in_that_is_a_hair_over_budget(make_model: MakeModel, seed: int) -> None:
    model = make_model(CONFIGS[1], row_ms=rows(seed, free=False))
    probabilities = random_probabilities(model, seed)
    wanted = derive_picks(probabilities, model, Budget(math.inf, 32, 32))
    ms = model.predict(wanted, 32, 32).ms * (1 - 1e-6)
    picks = derive_picks(probabilities, model, Budget(ms, 32, 32))
    assert picks != wanted
    assert model.predict(picks, 32, 32).ms <= ms


def test_equally_probable_candidates_are_decided_by_time(make_model: MakeModel) -> None:
    model = make_model(CONFIGS[0], row_ms=rows(2, free=False))
    uniform = {choice: dict.fromkeys(entry, 0.5) for choice, entry in random_probabilities(model, 0).items()}
    fastest, _ = fastest_and_slowest(model, 32, 32)
    picks = derive_picks(uniform, model, Budget(math.inf, 32, 32))
    assert model.predict(picks, 32, 32).ms == pytest.approx(fastest)


def test_one_search_yields_a_family(make_model: MakeModel) -> None:
    model = make_model(CONFIGS[1], row_ms=rows(3, free=False))
    probabilities = random_probabilities(model, 3)
    fastest, slowest = fastest_and_slowest(model, 32, 32)
    scores, times = [], []
    for share in np.linspace(0, 1, 12):
        picks = derive_picks(probabilities, model, Budget(fastest + float(share) * (slowest - fastest), 32, 32))
        scores.append(score(probabilities, picks))
        times.append(model.predict(picks, 32, 32).ms)
    assert scores == sorted(scores)
    assert len(set(times)) > 3


def test_exactly_the_fastest_network_is_feasible(make_model: MakeModel) -> None:
    model = make_model(CONFIGS[1], row_ms=rows(5, free=False))
    fastest, _ = fastest_and_slowest(model, 32, 32)
    picks = derive_picks(random_probabilities(model, 5), model, Budget(fastest, 32, 32))
    assert model.predict(picks, 32, 32).ms == pytest.approx(fastest)


@pytest.mark.parametrize("number", [1, 3])
def test_an_infeasible_budget_names_the_fastest(make_model: MakeModel, number: int) -> None:
    model = make_model(CONFIGS[number], row_ms=rows(6, free=False), intercept=3.0)
    fastest, _ = fastest_and_slowest(model, 32, 32)
    with pytest.raises(
        BudgetError, match=rf"meets .*@32x32: the fastest is .* {re.escape(f'{fastest:.4g}')} ms .*raise"
    ):
        derive_picks(random_probabilities(model, 6), model, Budget(fastest * 0.999, 32, 32))


def test_an_eliminated_candidate_is_a_last_resort_not_impossible(make_model: MakeModel) -> None:
    model = make_model(
        {"channels": (16,), "blocks": 1, "convolutions": ("conv3x3", "conv5x5"), "widths": (1.0,)},
        row_ms=lambda key: 5.0 if key.operation == "conv5x5" else 1.0,
    )
    sure = {
        choice: {name: float(name in ("conv5x5", "identity")) for name in names}
        for choice, names in model.space.candidates(model.config).items()
    }
    assert derive_picks(sure, model, Budget(math.inf, 32, 32))["bottleneck0.0.conv1"] == "conv5x5"
    tight = derive_picks(sure, model, Budget(9.0, 32, 32))
    assert sorted(tight.values()) == ["conv3x3", "conv5x5", "identity"]
    tightest = derive_picks(sure, model, Budget(4.5, 32, 32))
    assert sorted(tightest.values()) == ["conv3x3", "conv3x3", "identity"]


def test_too_many_joint_picks_are_refused_by_name() -> None:
    names = [f"op{index}" for index in range(60)]
    candidates = dict.fromkeys(("a", "b", "c"), names)
    key = OpKey("conv3x3", 8, 8, 1)
    first = CostTerm(key, (("a", ("op0",)), ("b", ("op0",))))
    second = CostTerm(key, (("b", ("op1",)), ("c", ("op1",))))
    with pytest.raises(ValueError, match="choices a, b, c are priced jointly and have 216000 combinations"):
        knapsack_trellis(candidates, [first, second])
    arcs = knapsack_trellis(candidates, [first])
    assert Counter(arc.source for arc in arcs) == {"start": 3600, "group1": 60}

"""Derivation against brute force over every network of small random problems, and against each paper's own rule."""

import dataclasses
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

from models import CostTerm, OpKey, get_space
from models.trellis import knapsack_trellis
from search import Budget, BudgetError
from search.derive import (
    FLOOR,
    GRID,
    cheapest,
    dearest,
    derive_picks,
    fastest_and_slowest,
    fastest_network,
)
from search.latency.model import LatencyModel
from tests.search.problems import CONFIGS, PATHS, Probabilities, Problem, every_path, problem

MakeModel = Callable[..., LatencyModel]
ALL_EXAMPLES = [
    (name, number)
    for name in ("unet", "hinas", "trilevel", "clearer", "manas")
    for number in range(len(get_space(name).examples))
]


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


def test_at_least_so_many_milliseconds_are_used(make_model: MakeModel) -> None:
    model = make_model(CONFIGS[1], row_ms=rows(3, free=False))
    probabilities = random_probabilities(model, 3)
    times = sorted(ms for _, ms in every_network(model))
    for place in range(5, len(times), len(times) // 7):
        limit = times[place] * (1 + 1e-3)
        picks = derive_picks(probabilities, model, Budget(limit, 32, 32), at_least=0.95 * limit)
        assert 0.95 * limit <= model.predict(picks, 32, 32).ms <= limit
    # More than the space has: the slowest.
    for limit in (3 * times[-1], math.inf):
        picks = derive_picks(probabilities, model, Budget(limit, 32, 32), at_least=2 * times[-1])
        assert model.predict(picks, 32, 32).ms == pytest.approx(times[-1])


def test_the_fastest_network_is_the_fastest(make_model: MakeModel) -> None:
    model = make_model(CONFIGS[1], row_ms=rows(5, free=False))
    picks, predicted = fastest_network(model, 32, 32)
    assert predicted == model.predict(picks, 32, 32)
    assert predicted.ms == pytest.approx(min(ms for _, ms in every_network(model)))


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


@pytest.mark.parametrize(("name", "number"), ALL_EXAMPLES)
def test_without_a_budget_it_is_the_papers_own_rule(name: str, number: int) -> None:
    for seed in range(12):
        case = problem(name, get_space(name).examples[number], seed)
        picks = case.best(math.inf)
        assert picks == case.own_rule(), seed
    assert case.space.reached(case.config, picks) == picks  # a network, with nothing beside it


@pytest.mark.parametrize(("name", "values"), PATHS)
@pytest.mark.parametrize("seed", range(3))
def test_no_path_that_fits_the_budget_is_better(name: str, values: dict[str, Any], seed: int) -> None:
    case = problem(name, values, seed)
    every = list(every_path(case.arcs))
    assert len(every) == case.space.num_networks(case.config)
    priced = [(case.prices.fixed + sum(case.prices.rows[key] for key in keys), case.score(s)) for _, keys, s in every]
    low, high = min(price for price, _ in priced), max(price for price, _ in priced)
    assert cheapest(case.arcs, case.prices) == pytest.approx(low)
    assert dearest(case.arcs, case.prices) == pytest.approx(high)
    most = len(case.probabilities)
    for share in (0.0, 0.1, 0.35, 0.7, 1.1):
        limit = low + share * (high - low)
        picks = case.best(limit)
        (found,) = [place for place, (other, _, _) in enumerate(every) if other == picks]
        price, score = priced[found]
        assert price <= limit + 1e-9  # never over budget
        # Costs are rounded up to the grid, once a decision: nothing that fits with that much to spare may be better.
        spare = most * (limit - low) / GRID
        assert score >= max((s for p, s in priced if p <= limit - spare), default=-math.inf) - 1e-9


@pytest.mark.parametrize(("name", "number"), ALL_EXAMPLES)
def test_a_budget_is_kept_by_a_network_of_the_space(name: str, number: int) -> None:
    case = problem(name, get_space(name).examples[number], 1)
    low, high = cheapest(case.arcs, case.prices), dearest(case.arcs, case.prices)
    for share in (0.05, 0.4):
        limit = low + share * (high - low)
        picks = case.best(limit)
        assert case.space.reached(case.config, picks) == picks  # a network, with nothing beside it
        assert case.price(picks) <= limit + 1e-9


def greedy(case: Problem, limit: float) -> dict[str, str]:
    """The planted fault: start at the cheapest network, then take each better pick as long as it fits."""
    picks = case.best(cheapest(case.arcs, case.prices))
    for choice in picks:
        for name in sorted(case.probabilities[choice], key=lambda n: -case.probabilities[choice][n]):
            if case.price({**picks, choice: name}) <= limit:
                picks[choice] = name
                break
    return picks


def test_greedy_derivation_is_beaten() -> None:
    beaten = 0
    for seed in range(8):
        case = problem("unet", CONFIGS[1], seed)
        low, high = cheapest(case.arcs, case.prices), dearest(case.arcs, case.prices)
        limit = low + 0.4 * (high - low)
        ours, theirs = case.best(limit), greedy(case, limit)
        assert case.price(theirs) <= limit
        margin = case.score(list(ours.items())) - case.score(list(theirs.items()))
        assert margin >= -1e-3
        beaten += margin > 0.1
    assert beaten >= 3


def test_ranking_kept_edges_against_their_own_best_would_not_be_the_papers_rule() -> None:
    """The planted fault of scoring HiNAS' edges relative to the choice's own best candidate: all nodes tie."""
    config = {"layers": 1, "nodes": 2, "channels": 4, "operations": ("act_conv3x3", "skip"), "factors": (1.0,)}
    case = problem("hinas", config, 0)
    edge = "layer1.node1.from{}"
    sure = {"act_conv3x3": 0.8, "skip": 0.1, "none": 0.1}
    unsure = {"act_conv3x3": 0.4, "skip": 0.3, "none": 0.3}
    told = {**case.probabilities, edge.format(0): sure, edge.format(1): unsure, edge.format(2): sure}
    picks = dataclasses.replace(case, probabilities=told).best(math.inf)
    assert [picks[edge.format(n)] for n in range(3)] == ["act_conv3x3", "none", "act_conv3x3"]


def test_a_deep_network_does_not_score_lower_for_being_deep() -> None:
    config = {"channels": 16, "cells": 3, "ops": 2, "ups": 0, "width_ratios": (0.5, 1.0)}
    case = problem("trilevel", config, 0)
    nodes = case.space.candidates(case.config)["exit"]
    flat = {c: dict.fromkeys(entry, 1 / len(entry)) for c, entry in case.probabilities.items()}
    told = {**flat, "exit": {node: 0.34 if node == max(nodes, key=len) else 0.33 for node in nodes}}
    assert dataclasses.replace(case, probabilities=told).best(math.inf)["exit"] == max(nodes, key=len)

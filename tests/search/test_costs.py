"""Prices of networks and their expectation, against sums over everything that could be picked."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from models import CostTerm, OpKey, count_macs, get_space, num_parameters, spaces
from search.costs import Expectation, Prices, StaticUnit, static_prices

THREE, FIVE, GATE, STEM = (OpKey(name, 8, 8, 1) for name in ("conv3x3", "conv5x5", "squeeze_excitation", "dilated3x3"))
PRICES = Prices("ms", 100.0, {THREE: 3.0, FIVE: 7.0, GATE: 11.0, STEM: 13.0})
CANDIDATES = {"op": ("three", "five"), "end": ("near", "middle", "far"), "gate": ("off", "on")}
TERMS = (
    CostTerm(STEM, ()),  # in `fixed`
    CostTerm(THREE, (("op", ("three",)), ("end", ("near", "middle")))),
    CostTerm(FIVE, (("end", ("far",)), ("op", ("five",)))),  # the same choices, named the other way round
    CostTerm(FIVE, (("op", ("five",)), ("end", ("near", "far")))),  # overlaps with the term before
    CostTerm(GATE, (("gate", ("on",)),)),
    CostTerm(GATE, (("gate", ("on",)), ("end", ("middle", "far")), ("op", ("three", "five")))),
)
EXAMPLES = [(name, number) for name, space in spaces().items() for number in range(len(space.examples))]


def random_weights(seed: int, candidates: dict[str, tuple[str, ...]] | None = None) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return {name: torch.softmax(torch.randn(len(names)), 0) for name, names in (candidates or CANDIDATES).items()}


def by_terms(terms: tuple[CostTerm, ...], weights: dict[str, torch.Tensor]) -> float:
    """The definition, term by term in plain numbers."""

    def weight(choice: str, names: tuple[str, ...]) -> float:
        return sum(float(weights[choice][CANDIDATES[choice].index(name)]) for name in names)

    paid = [t for t in terms if t.when]
    return PRICES.fixed + sum(t.share * PRICES.rows[t.key] * math.prod(weight(*c) for c in t.when) for t in paid)


def by_networks(terms: tuple[CostTerm, ...], weights: dict[str, torch.Tensor]) -> float:
    """The mean price of a network whose picks are drawn by the weights, one by one."""
    total = 0.0
    for names in itertools.product(*CANDIDATES.values()):
        picks = dict(zip(CANDIDATES, names, strict=True))
        chance = math.prod(float(weights[c][CANDIDATES[c].index(name)]) for c, name in picks.items())
        total += chance * PRICES.of(terms, picks)
    return total


def test_a_network_pays_each_row_as_often_as_its_terms_hold() -> None:
    price = PRICES.of(TERMS, {"op": "five", "end": "far", "gate": "on"})
    assert price == 100 + 7 + 7 + 11 + 11
    assert PRICES.of(TERMS, {"op": "three", "end": "near", "gate": "off"}) == 100 + 3
    # A choice without a pick is in a part that is not there.
    assert PRICES.of(TERMS, {"op": "three", "gate": "on"}) == 100 + 11


@pytest.mark.parametrize("seed", range(5))
def test_expectation_is_the_sum_over_terms_and_over_networks(seed: int) -> None:
    weights = random_weights(seed)
    expected = float(Expectation(PRICES, TERMS, CANDIDATES)(weights))
    assert expected == pytest.approx(by_terms(TERMS, weights), rel=1e-5)
    assert expected == pytest.approx(by_networks(TERMS, weights), rel=1e-5)
    # The comparison can fail: a condition less is another number.
    assert by_terms(TERMS[:-1], weights) != pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_a_share_scales_the_expectation_and_not_the_price(seed: int) -> None:
    shared = tuple(CostTerm(t.key, t.when, share=0.4 if t.key == GATE else 1.0) for t in TERMS)
    weights = random_weights(seed)
    assert float(Expectation(PRICES, shared, CANDIDATES)(weights)) == pytest.approx(by_terms(shared, weights), rel=1e-5)
    assert by_terms(shared, weights) < by_terms(TERMS, weights)
    picks = {"op": "five", "end": "far", "gate": "on"}
    assert PRICES.of(shared, picks) == PRICES.of(TERMS, picks)


def test_gradient_by_hand_and_by_differences() -> None:
    weights = {name: entry.requires_grad_() for name, entry in random_weights(3).items()}
    expected = Expectation(PRICES, TERMS, CANDIDATES)
    gradients = dict(zip(weights, torch.autograd.grad(expected(weights), list(weights.values())), strict=True))
    end, gate = weights["end"].tolist(), weights["gate"].tolist()
    by_hand = 3 * (end[0] + end[1]) + 11 * gate[1] * (end[1] + end[2])
    assert float(gradients["op"][0]) == pytest.approx(by_hand, rel=1e-5)
    # Linear in each single weight: a wide step is exact.
    for name, gradient in gradients.items():
        for index in range(gradient.numel()):
            sides = []
            for step in (0.5, -0.5):
                moved = {other: entry.detach().clone() for other, entry in weights.items()}
                moved[name][index] += step
                sides.append(float(expected(moved)))
            assert float(gradient[index]) == pytest.approx(sides[0] - sides[1], abs=1e-3), (name, index)


def test_without_terms_the_fixed_price_is_left() -> None:
    assert float(Expectation(PRICES, TERMS[:1], CANDIDATES)(random_weights(0))) == 100.0


UNITS: tuple[StaticUnit, ...] = ("parameters", "MACs")


@pytest.mark.parametrize(("name", "number"), [case for case in EXAMPLES if case[1] < 2])
def test_counted_prices_add_up_to_every_network(name: str, number: int) -> None:
    space = get_space(name)
    config = space.parse_config(space.examples[number])
    terms = space.cost_terms(config)
    prices = {unit: static_prices(space, config, unit, 32, 32) for unit in UNITS}
    found = set()
    for seed in range(2):
        picks = space.reached(config, space.random_picks(config, np.random.default_rng(seed)))
        with torch.device("meta"):
            network = space.build(space.genotype(config, picks))
        counted = (num_parameters(network), count_macs(network, 32, 32))
        assert tuple(prices[unit].of(terms, picks) for unit in UNITS) == counted, picks
        found.add(counted)
    assert len(found) > 1  # networks differ, so that a constant would not pass


@pytest.mark.parametrize(("name", "number"), [case for case in EXAMPLES if case[0] != "hinas"])
def test_the_expectation_of_one_network_is_its_price(name: str, number: int) -> None:
    """Not of HiNAS' networks: its edges count by the share of them that a node will keep."""
    space: Any = get_space(name)
    config = space.parse_config(space.examples[number])
    terms, candidates = space.cost_terms(config), space.candidates(config)
    rng = np.random.default_rng(number)
    prices = Prices("ms", 5.0, {key: float(rng.uniform(0.1, 2)) for key in sorted({term.key for term in terms})})
    picks = {choice: names[int(rng.integers(len(names)))] for choice, names in candidates.items()}
    weights = {c: torch.eye(len(names))[names.index(picks[c])] for c, names in candidates.items()}
    assert all(term.share == 1.0 for term in terms)
    expected = float(Expectation(prices, terms, candidates)(weights))
    assert expected == pytest.approx(prices.of(terms, space.reached(config, picks)), rel=1e-5)


def test_hinas_expects_what_a_uniform_search_derives_on_average() -> None:
    """With `none` left out, the mean over random networks is the expectation at uniform operations."""
    space: Any = get_space("hinas")
    config = space.parse_config({**space.examples[3], "operations": ("act_conv3x3", "act_separable3x3", "skip")})
    terms, candidates = space.cost_terms(config), space.candidates(config)
    prices = Prices("ms", 0.0, {key: 1.0 + n for n, key in enumerate(sorted({term.key for term in terms}))})
    uniform = {c: torch.tensor([0.0 if n == "none" else 1 / 3 for n in names]) for c, names in candidates.items()}
    rng = np.random.default_rng(0)
    drawn = [prices.of(terms, space.random_picks(config, rng)) for _ in range(3000)]
    assert float(Expectation(prices, terms, candidates)(uniform)) == pytest.approx(np.mean(drawn), rel=0.03)

"""Prices of rows, whatever they are measured in, and the differentiable expectation of a network's price."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from models import Choice, CostTerm, OpKey, Space, SpaceConfig, count_macs, num_parameters, operation_cost

StaticUnit = Literal["parameters", "MACs"]


@dataclass(frozen=True)
class Prices:
    """What every row of a space costs at one input size.

    Attributes:
        unit: ms, parameters or MACs.
        fixed: Paid whatever is picked.
        rows: Everything that depends on picks.
    """

    unit: str
    fixed: float
    rows: Mapping[OpKey, float]

    def of(self, terms: Sequence[CostTerm], picks: Mapping[str, str]) -> float:
        """The price of a whole network; terms without conditions are in `fixed`."""
        return self.fixed + sum(self.rows[term.key] for term in terms if term.when and term.holds(picks))


def static_prices(space: Space[Any], config: SpaceConfig, unit: StaticUnit, height: int, width: int) -> Prices:
    """Parameters or multiply-accumulates of every row, counted on the built layers.

    The fixed part is what the reference network has beyond its rows.
    """

    def cost(key: OpKey) -> float:
        found = operation_cost(key, height, width)
        return float(found.parameters if unit == "parameters" else found.macs)

    terms = space.cost_terms(config)
    rows = {key: cost(key) for key in {term.key for term in terms}}
    picks = space.reference_picks(config)
    with torch.device("meta"):
        network = space.build(space.genotype(config, picks))
    whole = num_parameters(network) if unit == "parameters" else count_macs(network, height, width)
    searched = sum(rows[term.key] for term in terms if term.when and term.holds(picks))
    return Prices(unit, float(whole) - searched, rows)


def decided(choices: Mapping[str, Choice]) -> dict[str, Tensor]:
    """One-hot weights at the largest entry of each raw vector: what would be picked now, without a budget."""
    return {
        name: torch.nn.functional.one_hot(choice.raw.detach().argmax(), choice.raw.numel()).to(choice.raw)
        for name, choice in choices.items()
    }


class Expectation:
    """Differentiable expectation of a price under relaxed weights.

    `E = fixed + sum over terms of price * share * product of the weights of its conditions` (FBNet and ProxylessNAS sum
    over single choices; the product arises where a shape, or whether a part is there at all, is itself a choice).
    Terms on the same choices are one dense array, contracted with the weights at once.

    Args:
        prices: What rows cost.
        terms: When they are paid.
        candidates: Choice id -> candidates, in the order of the weights.
    """

    def __init__(self, prices: Prices, terms: Sequence[CostTerm], candidates: Mapping[str, Sequence[str]]) -> None:
        self._fixed = prices.fixed
        arrays: dict[tuple[str, ...], np.ndarray[Any, np.dtype[np.float64]]] = {}
        for term in terms:
            if not term.when:
                continue
            ordered = sorted(term.when)
            choices = tuple(choice for choice, _ in ordered)
            shape = tuple(len(candidates[choice]) for choice in choices)
            array = arrays.setdefault(choices, np.zeros(shape))
            places = [[candidates[choice].index(name) for name in names] for choice, names in ordered]
            array[np.ix_(*places)] += term.share * prices.rows[term.key]
        self._arrays = {choices: torch.from_numpy(array).float() for choices, array in arrays.items()}

    def __call__(self, weights: Mapping[str, Tensor]) -> Tensor:
        """Expected price, a scalar with a graph to every weight.

        Args:
            weights: Choice id -> (K,) weights that sum to one.
        """
        first = next(iter(weights.values()))
        total = torch.full((), self._fixed, dtype=torch.float32, device=first.device)
        for choices, array in self._arrays.items():
            part = array.to(first.device)
            for choice in reversed(choices):
                part = part @ weights[choice]
            total = total + part
        return total

"""What a search pays for slow networks: a measured or counted cost under a budget, or a paper's own term.

Each joins the loss and the relaxed weights to what the architecture update minimises, and carries what it has to
remember between updates in `state`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from models import Choice, ChoiceKind
from search.costs import Expectation, decided
from search.errors import SearchError

ComplexityName = Literal["latency", "parameters", "flops", "paper", "none"]
"""`latency`: milliseconds measured on the target; `parameters`, `flops`: counted; `paper`: the method's own term."""


def get_complexity(name: str) -> ComplexityName:
    """The name, known to be one.

    Raises:
        SearchError: It is not.
    """
    known = {known: known for known in get_args(ComplexityName)}
    if name not in known:
        raise SearchError(f"unknown complexity {name!r}; known: {', '.join(known)}")
    found: ComplexityName = known[name]
    return found


class Complexity(Protocol):
    """What every complexity term offers."""

    state: dict[str, float]

    def combine(self, loss: Tensor, regulariser: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """What the architecture update minimises.

        Args:
            loss: Reconstruction.
            regulariser: Terms of the method that know nothing of cost.
            weights: Choice id -> relaxed weights, with a graph to the raw vectors.
        """
        ...


class BudgetPrice:
    """`(loss + regulariser) / mean(loss) + price * (E / T - 1)`: both parts are pure numbers, whatever the units.

    E is the expected price under the relaxed weights: it has the gradient. The price of going over follows by dual
    ascent, `price <- clip(price + rate * (D / T - 1))`, where D is what the network costs that would be picked now:
    that one has to keep the target. (Where a derivation keeps some of several picks, as at a node of HiNAS, D is an
    estimate: each pick counts with its term's share.) It rises while D is over the target and returns to zero when it
    is under.
    (Ascent on E instead ends with picks far below the target, because the picked candidates are the cheap ones while
    all the others still have weight: see `benchmarks/claims`.)

    Args:
        expected: Of a price under the weights.
        choices: Whose raw vectors say what would be picked.
        target: T, in the same unit.
        rate: Of the ascent.
        limit: Of the price.
    """

    def __init__(
        self, expected: Expectation, choices: Mapping[str, Choice], target: float, rate: float, limit: float
    ) -> None:
        self.expected = expected
        self.choices = choices
        self.target = target
        self.rate = rate
        self.limit = limit
        self.state = {"price": 0.0, "mean_loss": 0.0}

    def combine(self, loss: Tensor, regulariser: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """See the class."""
        value = float(loss.detach())
        mean = self.state["mean_loss"] or value
        mean += 0.1 * (value - mean)
        price = self.state["price"]
        # Not below a thousandth of a grey level: a perfect batch must not make the loss count without limit.
        total = (loss + regulariser) / max(mean, 1e-6) + price * (self.expected(weights) / self.target - 1.0)
        over = float(self.expected(decided(self.choices))) / self.target - 1.0
        self.state = {"price": min(self.limit, max(0.0, price + self.rate * over)), "mean_loss": mean}
        return total


class NoComplexity:
    """The loss and the regulariser alone."""

    def __init__(self) -> None:
        self.state: dict[str, float] = {}

    def combine(self, loss: Tensor, regulariser: Tensor, weights: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG002
        """See the class."""
        return loss + regulariser


class WeightedShares:
    """`loss + regulariser + weight * sum over kinds of mean over choices of sum_k p_k c_k`: CLEARER and MANAS.

    Args:
        weight: lambda_2 of the papers.
        shares: Choice id -> cost of each candidate, in the order of the choice.
        kinds: Choice id -> kind; each kind is averaged by itself.
    """

    def __init__(self, weight: float, shares: Mapping[str, tuple[float, ...]], kinds: Mapping[str, ChoiceKind]) -> None:
        self.weight = weight
        self.shares = {choice: torch.tensor(costs) for choice, costs in shares.items()}
        self.kinds = {choice: kinds[choice] for choice in shares}
        self.state: dict[str, float] = {}

    def combine(self, loss: Tensor, regulariser: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """See the class."""
        total = loss + regulariser
        for kind in dict.fromkeys(self.kinds.values()):
            costs = [weights[c] @ s.to(weights[c]) for c, s in self.shares.items() if self.kinds[c] == kind]
            total = total + self.weight * torch.stack(costs).mean()
        return total


class ParameterProximal:
    """`loss + regulariser + weight * sum over choices of sum_k (P_k / sum P) a_k^2`: NASP, which MDARTS builds on.

    Args:
        weight: l2 of the paper.
        choices: Whose raw vectors a_k are.
        parameters: Choice id -> parameters of each candidate.
    """

    def __init__(
        self, weight: float, choices: Mapping[str, Choice], parameters: Mapping[str, tuple[float, ...]]
    ) -> None:
        self.weight = weight
        self.choices = choices
        self.parameters = {choice: torch.tensor(counts) for choice, counts in parameters.items()}
        self.state: dict[str, float] = {}

    def combine(self, loss: Tensor, regulariser: Tensor, weights: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG002
        """See the class."""
        total = loss + regulariser
        for name, counts in self.parameters.items():
            raw = self.choices[name].raw
            total = total + self.weight * (counts.to(raw) / counts.sum() * raw**2).sum()
        return total


@dataclass(frozen=True)
class Bounds:
    """Between which the derived network's cost should lie; in the unit of the expectation."""

    low: float
    high: float


class DecoupledFlops:
    """`loss + regulariser + weight * (2/7 F(operations) + 5/7 F(widths))`: AGD and Trilevel NAS.

    Each family's expected cost is taken with the other frozen (uniform operations, widest widths), so that neither
    collapses because of the other. The weight doubles while the derived network costs more than the upper bound and
    halves while it costs less than the lower one, checked every `every` updates; the paper checks once per epoch.

    Args:
        expected: Of multiply-accumulates.
        kinds: Choice id -> kind.
        derived_cost: Cost of the network that the weights would derive now.
        bounds: Where it should lie.
        start: First weight.
        every: Updates between adaptations.
    """

    SHARES: Mapping[ChoiceKind, float] = {"operation": 2 / 7, "width": 5 / 7}

    def __init__(
        self,
        expected: Expectation,
        kinds: Mapping[str, ChoiceKind],
        derived_cost: Callable[[Mapping[str, Tensor]], float],
        bounds: Bounds,
        start: float = 1e-20,
        every: int = 100,
    ) -> None:
        self.expected = expected
        self.kinds = kinds
        self.derived_cost = derived_cost
        self.bounds = bounds
        self.every = every
        self.state = {"weight": start, "updates": 0.0}

    def combine(self, loss: Tensor, regulariser: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """See the class."""
        updates = self.state["updates"] + 1
        weight = self.state["weight"]
        if updates % self.every == 0:
            cost = self.derived_cost(weights)
            weight *= 2.0 if cost > self.bounds.high else 0.5 if cost < self.bounds.low else 1.0
        total = loss + regulariser
        for family, share in self.SHARES.items():
            frozen = {c: w if self.kinds[c] == family else self._frozen(c, w) for c, w in weights.items()}
            total = total + weight * share * self.expected(frozen)
        self.state = {"weight": weight, "updates": updates}
        return total

    def _frozen(self, choice: str, weights: Tensor) -> Tensor:
        fixed = torch.zeros_like(weights.detach())
        match self.kinds[choice]:
            case "width":
                fixed[-1] = 1.0
            case "operation":
                fixed.fill_(1.0 / fixed.numel())
            case _:
                # Where the network ends belongs to both families' costs, and is moved by neither here.
                return weights.detach()
        return fixed

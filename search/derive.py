"""The best picks under a budget, exactly: a multiple-choice knapsack on a fine grid of milliseconds."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.budget import Budget
from search.errors import BudgetError, SearchError
from search.latency.model import LatencyModel, PricedTerm

GRID = 20_000
"""Steps that a budget is divided into; costs are rounded up, so no rounding ever exceeds the budget."""
MAX_JOINT = 200_000
FLOOR = 1e-9
"""Probabilities below this count as this: a candidate that was eliminated is a last resort, not impossible."""


@dataclass(frozen=True)
class _Item:
    """A joint pick of all choices of one group."""

    picks: tuple[tuple[str, str], ...]
    ms: float
    score: float


def derive_picks(
    probabilities: Mapping[str, Mapping[str, float]], model: LatencyModel, budget: Budget
) -> dict[str, str]:
    """Maximise the summed log-probability of the picks subject to predicted ms <= budget.

    Choices that share a priced term (an operation whose shape is another choice) form a group and are picked jointly;
    groups are independent, so dynamic programming over them is exact up to the grid (budget / 20000 per group).
    Without pressure from the budget the result is every choice's argmax.

    Args:
        probabilities: Choice id -> candidate -> probability.
        model: Prices.
        budget: What to stay under.

    Raises:
        BudgetError: Even the fastest network of the space is over budget; names it and its ms.
    """
    fixed, terms = model.priced(budget.height, budget.width)
    groups = [_pareto(items) for items in _grouped(probabilities, terms)]
    fastest = fixed + sum(items[0].ms for items in groups)
    if fastest > budget.ms:
        picks = dict(itertools.chain.from_iterable(items[0].picks for items in groups))
        raise BudgetError(
            f"no network of space {model.space.name} meets {budget}: the fastest is predicted to take {fastest:.4g} ms "
            f"({_describe(picks)}); raise the budget, shrink the size, or choose another target"
        )
    step = (budget.ms - fixed) / GRID if budget.ms < math.inf else math.inf
    return _knapsack(groups, step)


def fastest_and_slowest(model: LatencyModel, height: int, width: int) -> tuple[float, float]:
    """Predicted ms of the fastest and of the slowest network of the space at a size."""
    fixed, terms = model.priced(height, width)
    uniform = {c: dict.fromkeys(names, 1.0) for c, names in model.space.candidates(model.config).items()}
    groups = _grouped(uniform, terms)
    return (
        fixed + sum(min(item.ms for item in items) for items in groups),
        fixed + sum(max(item.ms for item in items) for items in groups),
    )


def _grouped(probabilities: Mapping[str, Mapping[str, float]], terms: Sequence[PricedTerm]) -> list[list[_Item]]:
    """All joint picks of each group of choices that share a term."""
    group_of = {choice: {choice} for choice in probabilities}
    for term in terms:
        merged = set().union(*(group_of[choice] for choice, _ in term.when))
        for choice in merged:
            group_of[choice] = merged
    groups = {tuple(sorted(group)): group for group in group_of.values()}
    result = []
    for choices in groups:
        size = math.prod(len(probabilities[choice]) for choice in choices)
        if size > MAX_JOINT:
            raise SearchError(
                f"choices {', '.join(choices)} are priced jointly and have {size} combinations; at most {MAX_JOINT} "
                "are enumerated: give the space terms that tie fewer choices together"
            )
        own = [t for t in terms if t.when[0][0] in choices]
        items = []
        for names in itertools.product(*(probabilities[choice] for choice in choices)):
            picks = dict(zip(choices, names, strict=True))
            ms = sum(t.ms for t in own if all(picks[c] == name for c, name in t.when))
            score = sum(math.log(max(FLOOR, probabilities[c][name])) for c, name in picks.items())
            items.append(_Item(tuple(picks.items()), ms, score))
        result.append(items)
    return result


def _pareto(items: Sequence[_Item]) -> list[_Item]:
    """Ascending in ms and strictly ascending in score: nothing else can be part of a best solution."""
    kept: list[_Item] = []
    for item in sorted(items, key=lambda item: (item.ms, -item.score)):
        if not kept or item.score > kept[-1].score:
            kept.append(item)
    return kept


def _knapsack(groups: Sequence[Sequence[_Item]], step: float) -> dict[str, str]:
    """Pick one item per group, most score first, with summed ceil(ms / step) <= GRID."""
    if math.isinf(step):
        return dict(itertools.chain.from_iterable(items[-1].picks for items in groups))
    if step == 0:
        # The budget is exactly the fixed cost: only what is free is left, and the first item of a group is its best.
        return dict(itertools.chain.from_iterable(items[0].picks for items in groups))
    best: NDArray[np.float64] = np.zeros(GRID + 1)
    taken: list[NDArray[np.int32]] = []
    costs = [[math.ceil(item.ms / step - 1e-9) for item in items] for items in groups]
    for items, prices in zip(groups, costs, strict=True):
        new = np.full(GRID + 1, -np.inf)
        choice = np.full(GRID + 1, -1, dtype=np.int32)
        for index, (item, price) in enumerate(zip(items, prices, strict=True)):
            if price > GRID:
                continue
            candidate = best[: GRID + 1 - price] + item.score
            better = candidate > new[price:]
            new[price:][better] = candidate[better]
            choice[price:][better] = index
        best = new
        taken.append(choice)
    if not np.isfinite(best[GRID]):
        # Only reachable when the fastest network fits by less than the rounding: it is then the one answer.
        return dict(itertools.chain.from_iterable(items[0].picks for items in groups))
    room = GRID
    picks: dict[str, str] = {}
    for items, prices, choice in reversed(list(zip(groups, costs, taken, strict=True))):
        index = int(choice[room])
        picks.update(items[index].picks)
        room -= prices[index]
    return picks


def _describe(picks: Mapping[str, str]) -> str:
    names = sorted(set(picks.values()))
    counts = ((name, sum(1 for value in picks.values() if value == name)) for name in names)
    return ", ".join(f"{count} x {name}" for name, count in counts)

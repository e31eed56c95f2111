"""The best picks under a limit, exactly: the best path through a space's trellis by dynamic programming."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models import END, START, Arc, ChoiceKind
from search.budget import Budget
from search.costs import Prices
from search.errors import BudgetError
from search.latency.model import LatencyModel

GRID = 10_000
"""Steps that the slack (limit minus fastest network) is divided into; costs are rounded up, never over the limit."""
FLOOR = 1e-9
"""Probabilities below this count as this: a candidate that was eliminated is a last resort, not impossible."""

Probabilities = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class _Step:
    """An arc with its price and score."""

    arc: Arc
    price: float
    score: float


def derive_picks(probabilities: Probabilities, model: LatencyModel, budget: Budget) -> dict[str, str]:
    """Maximise the summed log-probability of the picks subject to predicted ms <= budget.

    Args:
        probabilities: Choice id -> candidate -> probability.
        model: Prices and space.
        budget: What to stay under; infinite ms give the paper's own rule, without a budget.

    Raises:
        BudgetError: Even the fastest network of the space is over budget; names it and its ms.
    """
    arcs = model.space.trellis(model.config)
    kinds = {name: choice.kind for name, choice in model.space.choices(model.config).items()}
    prices = model.prices(budget.height, budget.width)
    fastest = cheapest(arcs, prices)
    if fastest > budget.ms:
        uniform = {choice: dict.fromkeys(entry, 1.0) for choice, entry in probabilities.items()}
        picks = best_path(arcs, kinds, uniform, prices, fastest)
        raise BudgetError(
            f"no network of space {model.space.name} meets {budget}: the fastest is predicted to take {fastest:.4g} ms "
            f"({_describe(picks)}); raise the budget, shrink the size, or choose another target"
        )
    return best_path(arcs, kinds, probabilities, prices, budget.ms)


def best_path(
    arcs: Sequence[Arc],
    kinds: Mapping[str, ChoiceKind],
    probabilities: Probabilities,
    prices: Prices,
    limit: float,
) -> dict[str, str]:
    """The path of most score whose price stays within a limit.

    The score of a pick is its log-probability. It counts in full for a kind of choice of which every network makes
    equally many picks: the moves along a path of widths, say, whose product the Viterbi rule maximises, or the edges
    that a node keeps, which are ranked by their operations. Where some networks make more picks of a kind than others,
    they must not score lower for that alone, so there the log-probability counts relative to the choice's own best
    candidate. Without pressure from the limit, and where all choices are part of every network, the picks are each
    choice's argmax.

    Dynamic programming over (node, money spent) is exact up to the grid. Each arc is priced by what it costs beyond
    the cheapest way on, so the grid covers only the slack between the cheapest network and the limit.

    Args:
        arcs: The trellis.
        kinds: Choice id -> kind.
        probabilities: Choice id -> candidate -> probability.
        prices: Of rows.
        limit: In the unit of the prices; infinite for none. At least the cheapest network's price.
    """
    steps = _pruned(arcs, kinds, probabilities, prices)
    remaining = _remaining([(step.arc, step.price) for step in steps])
    slack = limit - prices.fixed - remaining[START]
    unlimited = math.isinf(slack)
    size = 1 if unlimited or slack <= 0 else GRID + 1
    unit = slack / GRID if size > 1 else math.inf
    best: dict[str, NDArray[np.float64]] = {START: np.zeros(size)}
    taken: dict[str, NDArray[np.int32]] = {}
    costs: list[int] = []
    for index, step in enumerate(steps):
        source, target = step.arc.source, step.arc.target
        detour = step.price + remaining[target] - remaining[source]
        # Of exactly equal prices the difference may not be exactly zero.
        cheap = detour <= 1e-12 * max(1.0, remaining[START])
        cost = 0 if unlimited or cheap else GRID + 1 if size == 1 else math.ceil(detour / unit - 1e-9)
        costs.append(cost)
        if target not in best:
            best[target] = np.full(size, -np.inf)
            taken[target] = np.full(size, -1, dtype=np.int32)
        if cost >= size:
            continue
        offered = best[source][: size - cost] + step.score
        better = offered > best[target][cost:]
        best[target][cost:][better] = offered[better]
        taken[target][cost:][better] = index
    picks: dict[str, str] = {}
    node, room = END, size - 1
    while node != START:
        index = int(taken[node][room])
        picks.update(steps[index].arc.picks)
        room -= costs[index]
        node = steps[index].arc.source
    return picks


def cheapest(arcs: Sequence[Arc], prices: Prices) -> float:
    """Price of the cheapest network."""
    return prices.fixed + _remaining([(arc, _price(arc, prices)) for arc in arcs])[START]


def dearest(arcs: Sequence[Arc], prices: Prices) -> float:
    """Price of the dearest network."""
    return prices.fixed - _remaining([(arc, -_price(arc, prices)) for arc in arcs])[START]


def fastest_and_slowest(model: LatencyModel, height: int, width: int) -> tuple[float, float]:
    """Predicted ms of the fastest and of the slowest network of the space at a size."""
    arcs, prices = model.space.trellis(model.config), model.prices(height, width)
    return cheapest(arcs, prices), dearest(arcs, prices)


def _price(arc: Arc, prices: Prices) -> float:
    return sum(prices.rows[key] for key in arc.keys)


def _remaining(arcs: Sequence[tuple[Arc, float]]) -> dict[str, float]:
    """Least price from each node to the end."""
    least = {END: 0.0}
    for arc, price in reversed(arcs):
        least[arc.source] = min(least.get(arc.source, math.inf), price + least[arc.target])
    return least


def _pruned(
    arcs: Sequence[Arc], kinds: Mapping[str, ChoiceKind], probabilities: Probabilities, prices: Prices
) -> list[_Step]:
    """Arcs in their order, without those that a parallel arc beats in both price and score."""
    full = _equally_many(arcs, kinds)
    logs = {c: {name: math.log(max(FLOOR, p)) for name, p in entry.items()} for c, entry in probabilities.items()}
    most = {choice: max(entry.values()) for choice, entry in logs.items()}

    def score(arc: Arc) -> float:
        return sum(logs[c][name] - (0.0 if kinds[c] in full else most[c]) for c, name in arc.scores)

    parallel: dict[tuple[str, str], list[tuple[float, float, int]]] = {}
    for index, arc in enumerate(arcs):
        parallel.setdefault((arc.source, arc.target), []).append((_price(arc, prices), -score(arc), index))
    kept: dict[int, _Step] = {}
    for entries in parallel.values():
        reached = -math.inf
        for price, loss, index in sorted(entries):
            if -loss > reached:
                reached = -loss
                kept[index] = _Step(arcs[index], price, -loss)
    return [kept[index] for index in sorted(kept)]


def _equally_many(arcs: Sequence[Arc], kinds: Mapping[str, ChoiceKind]) -> set[ChoiceKind]:
    """Kinds of choice of which all paths through the trellis score equally many picks."""
    counts = [Counter(kinds[choice] for choice, _ in arc.scores) for arc in arcs]

    def varies(kind: ChoiceKind) -> bool:
        least, most = (_remaining(list(zip(arcs, (s * c[kind] for c in counts), strict=True))) for s in (1.0, -1.0))
        return least[START] != -most[START]

    return {kind for kind in set(kinds.values()) if not varies(kind)}


def _describe(picks: Mapping[str, str]) -> str:
    names = sorted(set(picks.values()))
    counts = ((name, sum(1 for value in picks.values() if value == name)) for name in names)
    return ", ".join(f"{count} x {name}" for name, count in counts)

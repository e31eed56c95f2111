"""The best picks within limits, exactly: the best path through a space's trellis by dynamic programming."""

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
from search.latency.model import LatencyModel, Prediction

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


def derive_picks(
    probabilities: Probabilities, model: LatencyModel, budget: Budget, at_least: float = 0.0
) -> dict[str, str]:
    """Maximise the summed log-probability of the picks subject to at_least <= predicted ms <= budget.

    Args:
        probabilities: Choice id -> candidate -> probability.
        model: Prices and space.
        budget: What to stay under; infinite ms give the paper's own rule, without a budget.
        at_least: Milliseconds that the network shall use; 0 for no such bound. Where no network lies between the two,
            the one of most ms within the budget is picked (see `best_path`).

    Raises:
        BudgetError: Even the fastest network of the space is over budget; names it and its ms.
    """
    arcs, kinds = model.space.trellis(model.config), _kinds(model)
    prices = model.prices(budget.height, budget.width)
    if cheapest(arcs, prices) > budget.ms:
        picks, predicted = fastest_network(model, budget.height, budget.width)
        raise unreachable(model, budget, picks, f"is predicted to take {predicted}")
    return best_path(arcs, kinds, probabilities, prices, budget.ms, at_least)


def best_path(
    arcs: Sequence[Arc],
    kinds: Mapping[str, ChoiceKind],
    probabilities: Probabilities,
    prices: Prices,
    limit: float,
    at_least: float = 0.0,
) -> dict[str, str]:
    """The path of most score whose price lies within limits.

    The score of a pick is its log-probability. It counts in full for a kind of choice of which every network makes
    equally many picks: the moves along a path of widths, say, whose product the Viterbi rule maximises, or the edges
    that a node keeps, which are ranked by their operations. Where some networks make more picks of a kind than others,
    they must not score lower for that alone, so there the log-probability counts relative to the choice's own best
    candidate. Without pressure from the limits, and where all choices are part of every network, the picks are each
    choice's argmax.

    Dynamic programming over (node, money spent) is exact up to the grid. Each arc is priced by what it costs beyond
    the cheapest way on, so the grid covers only the slack between the cheapest network and the limit. Each arc's cost
    is rounded up to the grid. So a path never costs more than its cell, and the limit holds to the last bit; it may
    cost less, by up to one step per arc. What lies near the lower bound is therefore priced exactly before it is
    returned: that bound holds too, but a network that keeps it by less than one step per arc may be passed over.

    Args:
        arcs: The trellis.
        kinds: Choice id -> kind.
        probabilities: Choice id -> candidate -> probability.
        prices: Of rows.
        limit: In the unit of the prices; infinite for none. At least the cheapest network's price.
        at_least: Lower bound, likewise. Where no path lies between the two, the result is the dearest path within the
            limit (up to the grid): the one that comes closest to what was asked for.
    """
    low, high = cheapest(arcs, prices), dearest(arcs, prices)
    bounded = at_least > low
    if bounded:
        # Money spent has to be told apart, also where there is no limit to it; with room for what is rounded up.
        limit = min(limit, high + (high - low))
    steps = _steps(arcs, kinds, probabilities, prices)
    if not bounded:
        steps = _pruned(steps)
    remaining = _remaining([(step.arc, step.price) for step in steps])
    slack = limit - prices.fixed - remaining[START]
    unlimited = math.isinf(slack)
    size = 1 if unlimited or slack <= 0 else GRID + 1
    unit = slack / GRID if size > 1 else math.inf
    # Cell n of a node: the best way there that has spent n steps of the grid.
    best: dict[str, NDArray[np.float64]] = {START: np.full(size, -np.inf)}
    best[START][0] = 0.0
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

    def path(cell: int) -> list[_Step]:
        found: list[_Step] = []
        node = END
        while node != START:
            index = int(taken[node][cell])
            found.append(steps[index])
            cell -= costs[index]
            node = steps[index].arc.source
        return found

    if not bounded:
        # Of equal scores the first is the cheapest.
        return _picks(path(int(np.argmax(best[END]))))
    reached = np.flatnonzero(best[END] > -np.inf)
    within = reached[reached >= math.floor((at_least - prices.fixed - remaining[START]) / unit)]
    for cell in within[np.argsort(-best[END][within], kind="stable")]:
        found = path(int(cell))
        if prices.fixed + sum(step.price for step in found) >= at_least * (1 - 1e-12):
            return _picks(found)
    return _picks(path(int(reached[-1])))


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


def fastest_network(model: LatencyModel, height: int, width: int) -> tuple[dict[str, str], Prediction]:
    """The network of the space that is predicted to be the fastest at a size."""
    arcs, prices = model.space.trellis(model.config), model.prices(height, width)
    uniform = {c: dict.fromkeys(names, 1.0) for c, names in model.space.candidates(model.config).items()}
    picks = best_path(arcs, _kinds(model), uniform, prices, cheapest(arcs, prices))
    return picks, model.predict(picks, height, width)


def unreachable(model: LatencyModel, budget: Budget, fastest: Mapping[str, str], takes: str) -> BudgetError:
    """No network meets the budget: names the fastest one, and says in the words `takes` how long it takes."""
    names = Counter(fastest.values())
    described = ", ".join(f"{names[name]} x {name}" for name in sorted(names))
    return BudgetError(
        f"no network of space {model.space.name} meets {budget}: the fastest {takes} ({described}); "
        "raise the budget, shrink the size, or choose another target"
    )


def _kinds(model: LatencyModel) -> dict[str, ChoiceKind]:
    return {name: choice.kind for name, choice in model.space.choices(model.config).items()}


def _picks(path: Sequence[_Step]) -> dict[str, str]:
    return {choice: name for step in path for choice, name in step.arc.picks}


def _price(arc: Arc, prices: Prices) -> float:
    return sum(prices.rows[key] for key in arc.keys)


def _remaining(arcs: Sequence[tuple[Arc, float]]) -> dict[str, float]:
    """Least price from each node to the end."""
    least = {END: 0.0}
    for arc, price in reversed(arcs):
        least[arc.source] = min(least.get(arc.source, math.inf), price + least[arc.target])
    return least


def _steps(
    arcs: Sequence[Arc], kinds: Mapping[str, ChoiceKind], probabilities: Probabilities, prices: Prices
) -> list[_Step]:
    """Arcs in their order, priced and scored."""
    full = _equally_many(arcs, kinds)
    logs = {c: {name: math.log(max(FLOOR, p)) for name, p in entry.items()} for c, entry in probabilities.items()}
    most = {choice: max(entry.values()) for choice, entry in logs.items()}

    def score(arc: Arc) -> float:
        return sum(logs[c][name] - (0.0 if kinds[c] in full else most[c]) for c, name in arc.scores)

    return [_Step(arc, _price(arc, prices), score(arc)) for arc in arcs]


def _pruned(steps: Sequence[_Step]) -> list[_Step]:
    """Steps in their order, without those that a parallel one beats in both price and score.

    Under a lower bound none may go: a dear arc of low score may be what uses the budget.
    """
    parallel: dict[tuple[str, str], list[tuple[float, float, int]]] = {}
    for index, step in enumerate(steps):
        parallel.setdefault((step.arc.source, step.arc.target), []).append((step.price, -step.score, index))
    kept: list[int] = []
    for entries in parallel.values():
        reached = -math.inf
        for _, loss, index in sorted(entries):
            if -loss > reached:
                reached = -loss
                kept.append(index)
    return [steps[index] for index in sorted(kept)]


def _equally_many(arcs: Sequence[Arc], kinds: Mapping[str, ChoiceKind]) -> set[ChoiceKind]:
    """Kinds of choice of which all paths through the trellis score equally many picks."""
    counts = [Counter(kinds[choice] for choice, _ in arc.scores) for arc in arcs]

    def varies(kind: ChoiceKind) -> bool:
        least, most = (_remaining(list(zip(arcs, (s * c[kind] for c in counts), strict=True))) for s in (1.0, -1.0))
        return least[START] != -most[START]

    return {kind for kind in set(kinds.values()) if not varies(kind)}

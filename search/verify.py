"""Does a derived network keep its budget? Built, run in the serving engine and timed, before any training is spent."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from export import GateError
from models import Network
from runtime import StabilityRule, Target
from search.budget import Budget
from search.derive import derive_picks, fastest_and_slowest
from search.errors import BudgetError
from search.latency.clock import time_graphs
from search.latency.measure import RULE, anchor_graph
from search.latency.model import LatencyModel, Prediction
from search.latency.table import Measured

TRIES = 6
REPEATS = 3
MARGIN = 0.99
SAME = 1.1
"""Two interleaved timings of one graph agree to about this factor on a busy machine."""


@dataclass(frozen=True)
class Attempt:
    """One derivation and its measurement; `aim_ms` is what the derivation was asked to stay under."""

    aim_ms: float
    picks: dict[str, str]
    predicted: Prediction
    measured: Measured


def measure_network(
    graph: bytes, model: LatencyModel, target: Target, budget: Budget, name: str, rule: StabilityRule = RULE
) -> Measured:
    """Time a whole network at the budget's size, beside the table's anchor.

    The anchor corrects for how fast the machine is just now. A neighbour on the machine can only add time, so a
    network that seems over budget is timed up to three times and the least counts.

    Args:
        graph: The exported network.
        model: Its table holds what the anchor took when the rows were measured.
        target: Where.
        budget: Size, and the milliseconds under which one timing is enough.
        name: Recorded.
        rule: When a timing counts as settled.
    """
    first = model.table.sizes[0]
    anchor, anchor_size = anchor_graph(model.space, model.config, (first.height, first.width))
    best: Measured | None = None
    for _ in range(REPEATS):
        before = time_graphs({"anchor": anchor}, target, anchor_size, rule)["anchor"]
        timing = time_graphs({name: graph}, target, (budget.height, budget.width), rule)[name]
        after = time_graphs({"anchor": anchor}, target, anchor_size, rule)["anchor"]
        drift = model.table.anchor_ms / min(before.ms, after.ms)
        found = Measured(
            id=name,
            ms=timing.ms * drift,
            raw_ms=timing.ms,
            spread=timing.spread,
            runs=timing.runs,
            stable=timing.stable,
        )
        best = found if best is None or found.ms < best.ms else best
        if best.ms <= budget.ms:
            break
    assert best is not None
    return best


def confirm_budget(now: Measured, derived: Measured, budget: Budget, slowdown: Callable[[], float]) -> Measured:
    """Does the trained file keep the budget that its network kept when it was derived?

    If it seems not to, it is compared with the same network with fresh weights, timed in turns. Equal times mean that
    the machine is busier than it was, and the earlier measurement stands; unequal ones that the weights themselves cost
    time (subnormal numbers do).

    Args:
        now: The trained file's timing.
        derived: The network's timing before training.
        budget: What was promised.
        slowdown: Time of the trained file over that of the untrained one; called only if it is needed.

    Returns:
        The timing to state.

    Raises:
        GateError: Training made the network slower, and over budget.
    """
    if now.ms <= budget.ms:
        return now
    ratio = slowdown()
    if ratio <= SAME:
        return derived
    raise GateError(
        f"the trained network measures {now.ms:.4g} ms, the budget is {budget}; with fresh weights, timed in turns, it "
        f"is {ratio:.2f} times faster: its weights cost time. Train with another seed, or aim at a lower budget"
    )


def slowdown(trained: bytes, fresh: bytes, target: Target, budget: Budget, rule: StabilityRule) -> float:
    """Time of one graph over that of another, timed in turns at the budget's size."""
    both = time_graphs({"trained": trained, "fresh": fresh}, target, (budget.height, budget.width), rule)
    return both["trained"].ms / both["fresh"].ms


def derive_verified(
    probabilities: Mapping[str, Mapping[str, float]],
    model: LatencyModel,
    budget: Budget,
    measure: Callable[[dict[str, str]], Measured],
) -> list[Attempt]:
    """Derive, measure, and derive again under a tighter aim until a network measures within the budget.

    Returns:
        Every attempt in order; the last one holds.

    Raises:
        BudgetError: The budget is infeasible, or no attempt out of six kept it.
    """
    attempts: list[Attempt] = []
    aim = budget
    fastest, _ = fastest_and_slowest(model, budget.height, budget.width)
    while len(attempts) < TRIES:
        if attempts and aim.ms < fastest:
            # Nothing is predicted to be faster; its own measurement decides.
            aim = replace(aim, ms=fastest * (1 + 1e-6))
        picks = derive_picks(probabilities, model, aim)
        measured = measure(picks)
        attempts.append(Attempt(aim.ms, picks, model.predict(picks, budget.height, budget.width), measured))
        if measured.ms <= budget.ms:
            return attempts
        aim = replace(aim, ms=aim.ms * min(MARGIN, MARGIN * budget.ms / measured.ms))
    history = "; ".join(f"aimed at {a.aim_ms:.4g}, measured {a.measured.ms:.4g} ms" for a in attempts)
    raise BudgetError(
        f"no derived network measured within {budget} in {TRIES} tries ({history}); "
        "the machine may be busy: try again when it is quiet, or measure the latency table anew"
    )


def export_and_measure(
    build: Callable[[dict[str, str]], Network],
    export: Callable[[Network], bytes],
    model: LatencyModel,
    target: Target,
    budget: Budget,
    rule: StabilityRule = RULE,
) -> Callable[[dict[str, str]], Measured]:
    """A `measure` for `derive_verified`; networks that were measured before are not measured again."""
    known: dict[tuple[tuple[str, str], ...], Measured] = {}

    def measure(picks: dict[str, str]) -> Measured:
        key = tuple(sorted(picks.items()))
        if key not in known:
            graph = export(build(picks))
            known[key] = measure_network(graph, model, target, budget, "derived", rule)
        return known[key]

    return measure

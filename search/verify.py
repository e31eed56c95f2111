"""Timing a whole network against its budget in the engine that serves: when it is derived, and when it is trained."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from export import GateError
from models import Network
from runtime import StabilityRule, Target
from search.budget import Budget
from search.latency.linked import Yardstick, time_linked
from search.latency.measure import Workload
from search.latency.model import LatencyModel
from search.latency.stopwatch import Subject, measured, time_graphs
from search.latency.table import Measured

RULE = StabilityRule(warmup=2, min_runs=16, max_runs=48, tolerance=0.008, max_seconds=8.0)
"""Tighter than for a table: a timing's error counts against the budget that it has to keep."""
YARDSTICKS = 3
"""Networks of the table that are timed beside one that has a budget to keep."""
SAME = 1.02
"""A difference between two graphs below this, or below three standard errors of their timings, is none."""


@dataclass(frozen=True)
class Slowdown:
    """Time of one graph over that of another; `error` is its relative standard error."""

    ratio: float
    error: float

    @property
    def is_real(self) -> bool:
        """Is the one slower for certain, not by the noise of the timings?"""
        return self.ratio > max(SAME, 1.0 + 3.0 * self.error)


def measure_network(
    graph: bytes, model: LatencyModel, target: Target, budget: Budget, name: str, rule: StabilityRule = RULE
) -> Measured:
    """Time a whole network at the budget's size, in the table's terms: what it takes on the undisturbed machine.

    Networks that the table knows are timed in turns with it, and it is scaled by what they take now over what they
    took then: a budget is kept in the same milliseconds as those that it was derived with.

    Args:
        graph: The exported network.
        model: Its table says what the anchor takes undisturbed, and what the known networks take.
        target: Where.
        budget: Whose size is used.
        name: Recorded.
        rule: When a timing counts as settled.
    """
    subject = Subject(name, graph, (budget.height, budget.width))
    timings, _ = time_linked([subject], known_networks(model, target, budget), target, rule)
    return measured(subject, timings[name], model.table.anchor_ms, len(model.table.sessions) - 1)


def known_networks(model: LatencyModel, target: Target, budget: Budget) -> list[Yardstick]:
    """The calibration networks of a table that are most like what a budget allows, in size and then in milliseconds.

    Only those whose file is the same as when the table was measured; a table without any gives none.
    """
    table, pixels = model.table, budget.height * budget.width
    size = min(table.sizes, key=lambda size: abs(math.log(size.height * size.width / pixels)))
    alike = sorted(size.calibration.networks, key=lambda entry: abs(math.log(entry.ms / budget.ms)))
    alike = [entry for entry in alike if entry.id in table.networks][:YARDSTICKS]
    if not alike:
        return []
    work = Workload(model.space, model.config, target)
    subjects = [Subject(e.id, work.network(table.networks[e.id]), (size.height, size.width)) for e in alike]
    return [
        Yardstick(subject, entry.ms / table.anchor_ms)
        for subject, entry in zip(subjects, alike, strict=True)
        if subject.hash == entry.graph
    ]


def confirm_budget(now: Measured, derived: Measured, budget: Budget, slowdown: Callable[[], Slowdown]) -> Measured:
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
    found = slowdown()
    if not found.is_real:
        return derived
    raise GateError(
        f"the trained network measures {now.ms:.4g} ms, the budget is {budget}; with fresh weights, timed in turns, it "
        f"is {found.ratio:.2f} times faster: its weights cost time. Train with another seed, or aim at a lower budget"
    )


def slowdown(trained: bytes, fresh: bytes, target: Target, budget: Budget, rule: StabilityRule) -> Slowdown:
    """Time of one graph over that of another, timed in turns at the budget's size."""
    size = (budget.height, budget.width)
    both, _ = time_graphs([Subject("trained", trained, size), Subject("fresh", fresh, size)], target, rule)
    ratio = both["trained"].ratio / both["fresh"].ratio
    return Slowdown(ratio, math.hypot(both["trained"].error, both["fresh"].error))


def export_and_measure(
    build: Callable[[dict[str, str]], Network],
    export: Callable[[Network], bytes],
    model: LatencyModel,
    target: Target,
    budget: Budget,
    rule: StabilityRule = RULE,
) -> Callable[[dict[str, str]], Measured]:
    """A `measure` for `search.contract.derive_verified`."""

    def measure(picks: dict[str, str]) -> Measured:
        return measure_network(export(build(picks)), model, target, budget, "derived", rule)

    return measure

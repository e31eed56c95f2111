"""The latency contract without a clock: for a device elsewhere, whose latency table was carried home.

Nothing that is derived can be timed here, so the table's word is all there is: the aim leaves room for its error, and
what comes out says that it was predicted. The measurement is the device's (`millisight verify`).
"""

from dataclasses import dataclass, replace

from runtime import Target
from runtime.target import PLAIN
from search.budget import Budget
from search.contract import SOUGHT, STEP, USED, Picks, Probabilities, no_pressure, require_reachable
from search.derive import derive_picks, fastest_and_slowest
from search.latency.model import LatencyModel, Prediction

"""Where a network for a device elsewhere is gated, tiled and scored."""
PREDICTED = "predicted"
"""The verdict on a network that was not timed."""


@dataclass(frozen=True)
class Forecast:
    """The network to train, as predicted.

    Attributes:
        aim_ms: What the derivation was asked to stay under.
        at_least_ms: What it was asked to use; 0 for no such bound.
        picks: What it picked.
        predicted: Of these picks.
        note: Why it uses less of the budget than it should, or may exceed it; empty if neither.
    """

    aim_ms: float
    at_least_ms: float
    picks: Picks
    predicted: Prediction
    note: str = ""


def home_target() -> Target:
    """The processor of this machine, whatever the target is."""
    return Target.parse(PLAIN)


def derive_predicted(probabilities: Probabilities, model: LatencyModel, budget: Budget) -> Forecast:
    """Derive the network that is predicted to keep the budget even if the table is off by its own error.

    If it would use less than 85 % of the budget, the best one is asked for among those that do. Where the error leaves
    no room for that, or nothing lies there, among those that use 85 % of what may be aimed at; failing that too, the
    first stays. Only a network that is as fast as any may be predicted closer to the budget than the error.

    Args:
        probabilities: Choice id -> candidate -> probability.
        model: Prices and space.
        budget: What is promised.

    Raises:
        BudgetError: The fastest network of the space is predicted to be over budget; names it and its milliseconds.
    """
    require_reachable(model, budget, timed=False)
    fastest, slowest = fastest_and_slowest(model, budget.height, budget.width)
    room = 1.0 + model.relative_error(budget.height, budget.width)
    aim = min(budget.ms, max(budget.ms / room, fastest * (1.0 + STEP)))

    def derived(at_least: float) -> Forecast:
        picks = derive_picks(probabilities, model, replace(budget, ms=aim), at_least)
        return Forecast(aim, at_least, picks, model.predict(picks, budget.height, budget.width))

    found = derived(0.0)
    note = no_pressure(slowest, budget)
    if found.predicted.ms < USED * budget.ms and not note:
        wanted = (least for least in (SOUGHT * budget.ms, USED * budget.ms, USED * aim) if least < aim)
        using = (other for other in map(derived, wanted) if other.predicted.ms >= other.at_least_ms * (1.0 - STEP))
        found = next(using, found)
        if found.predicted.ms < USED * budget.ms:
            note = f"no network is predicted to use {USED:.0%} of the budget and to keep it by the table's error"
    if found.predicted.ms * room > budget.ms * (1.0 + STEP):
        note = "no network is fast enough to keep the budget if the table errs by its own error; this is the fastest"
    return replace(found, note=note)

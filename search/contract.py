"""The latency contract: derive, build and time networks until one keeps its budget and uses it, before any training.

A prediction is off by a few per cent, so the first aim leaves room for its error. What is then measured says how far
off the table is for the networks that this search wants, and the next aim is set by that.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from search.budget import Budget
from search.derive import derive_picks, fastest_and_slowest, fastest_network, unreachable
from search.errors import BudgetError
from search.latency.model import LatencyModel, Prediction
from search.latency.table import Measured

TRIES = 8
USED = 0.85
"""A network that uses less of its budget is kept only if no other is found."""
SOUGHT = 0.9
"""Least share of the budget that is aimed for once a network used too little: the prediction may be off again."""
MARGIN = 0.985
"""Share of the budget that is aimed for after a measurement; once more for each network that did not keep it."""
STEP = 1e-6
"""An aim lower by this share excludes the network that was just picked, and hardly any other."""

Picks = dict[str, str]
Probabilities = Mapping[str, Mapping[str, float]]
Verdict = Literal["kept", "close", "over", "under"]
"""`kept`: within the budget and at least 85 % of it, with its own standard error to spare on both sides; `close`:
within the budget, but by less than its error; `over`: not within; `under`: less than 85 %, or not surely more."""


@dataclass(frozen=True)
class Attempt:
    """One derivation and its measurement.

    Attributes:
        aim_ms: What the derivation was asked to stay under, as predicted.
        at_least_ms: What it was asked to use; 0 for no such bound.
        picks: What it picked.
        predicted: Of these picks.
        measured: Likewise.
        verdict: On the measurement.
    """

    aim_ms: float
    at_least_ms: float
    picks: Picks
    predicted: Prediction
    measured: Measured
    verdict: Verdict


@dataclass(frozen=True)
class Derivation:
    """All attempts in order, and the one to train.

    Attributes:
        attempts: At most `TRIES`.
        chosen: Index of the best that keeps the budget.
        note: Why it uses less of the budget than it should; empty if it does not.
    """

    attempts: tuple[Attempt, ...]
    chosen: int
    note: str = ""

    @property
    def best(self) -> Attempt:
        """The attempt to train."""
        return self.attempts[self.chosen]


def require_reachable(model: LatencyModel, budget: Budget, *, timed: bool = True) -> None:
    """Refuse a budget that no network meets; nothing is measured.

    Args:
        model: Of the table.
        budget: What is promised.
        timed: Will a measurement decide? Then only a budget is refused that is out of reach even if the table errs by
            its own error in its favour.

    Raises:
        BudgetError: Names the fastest network and its predicted milliseconds.
    """
    picks, predicted = fastest_network(model, budget.height, budget.width)
    if predicted.ms - (predicted.error_ms if timed else 0.0) > budget.ms:
        raise unreachable(model, budget, picks, f"is predicted to take {predicted}")


def derive_verified(
    probabilities: Probabilities,
    model: LatencyModel,
    budget: Budget,
    measure: Callable[[Picks], Measured],
) -> Derivation:
    """Derive and measure until a network keeps the budget and uses it.

    First the most probable network is picked that is predicted to keep the budget even if the table is off by its own
    error. Later aims are the budget over what networks measured in relation to their prediction so far (the geometric
    mean), less a margin: lower if they were over, higher if they were under. Under 85 % the search may simply want a
    cheap network; then it is asked for its best one among those that use the budget. No network is measured twice.

    The first that is `kept` ends it. Otherwise, of the attempts within the budget the one that uses most of it is
    chosen. A budget that the whole space cannot use is no pressure: the most probable network stays, with a note.

    Args:
        probabilities: Choice id -> candidate -> probability.
        model: Prices and space.
        budget: What is promised.
        measure: Builds and times a network.

    Raises:
        BudgetError: The fastest network of the space is over budget (named, with its milliseconds), or no attempt kept
            the budget.
    """
    require_reachable(model, budget)
    aiming = _Aiming(probabilities, model, budget)
    attempts: list[Attempt] = []
    note = ""
    while len(attempts) < TRIES:
        found = aiming.next(attempts)
        if found is None:
            break
        aim, at_least, picks = found
        predicted, measured = model.predict(picks, budget.height, budget.width), measure(picks)
        attempts.append(Attempt(aim, at_least, picks, predicted, measured, judge(measured, budget)))
        if attempts[-1].verdict == "kept":
            return Derivation(tuple(attempts), len(attempts) - 1)
        note = aiming.unused(attempts)
        if note:
            break
    within = [n for n, attempt in enumerate(attempts) if attempt.measured.ms <= budget.ms]
    if not within:
        raise aiming.failure(attempts)
    chosen = max(within, key=lambda n: attempts[n].measured.ms)
    share = attempts[chosen].measured.ms / budget.ms
    if share < USED and not note:
        note = f"no network that uses {USED:.0%} of the budget was found (timed: {len(attempts)})"
    return Derivation(tuple(attempts), chosen, note if share < USED else "")


def judge(measured: Measured, budget: Budget) -> Verdict:
    """What a measurement means for a budget."""
    if measured.ms > budget.ms:
        return "over"
    if measured.ms * (1.0 + measured.error) > budget.ms:
        return "close"
    return "under" if measured.ms * (1.0 - measured.error) < USED * budget.ms else "kept"


def no_pressure(slowest_ms: float, budget: Budget) -> str:
    """If not even the slowest network of the space would use the budget, this in words; else nothing."""
    if slowest_ms >= USED * budget.ms:
        return ""
    return (
        f"the slowest network of the space takes about {slowest_ms:.4g} ms, {slowest_ms / budget.ms:.0%} of the "
        "budget: there is nothing to trade, and the most probable network is taken"
    )


class _Aiming:
    """Where to aim next, given what was measured so far."""

    def __init__(self, probabilities: Probabilities, model: LatencyModel, budget: Budget) -> None:
        self._probabilities, self._model, self._budget = probabilities, model, budget
        self._fastest, self._slowest = fastest_and_slowest(model, budget.height, budget.width)

    def next(self, attempts: Sequence[Attempt]) -> tuple[float, float, Picks] | None:
        """(aim, at least, picks) of a network that was not measured yet; None if there is none to try."""
        if not attempts:
            room = 1.0 + self._model.relative_error(self._budget.height, self._budget.width)
            return self._untried(self._budget.ms / room, 0.0, attempts)
        share = self._budget.ms / _factor(attempts)
        margin = MARGIN ** (1 + sum(attempt.verdict in ("over", "close") for attempt in attempts))
        if all(attempt.verdict != "under" for attempt in attempts):
            return self._untried(margin * share, 0.0, attempts)
        return self._untried(margin * share, SOUGHT * share, attempts) or self._untried(share, USED * share, attempts)

    def _untried(self, aim: float, at_least: float, attempts: Sequence[Attempt]) -> tuple[float, float, Picks] | None:
        """The best untried picks between two predictions; None if there are none."""
        tried = [attempt.picks for attempt in attempts]
        # Nothing is predicted to be faster than the fastest; its own measurement decides.
        aim = max(aim, self._fastest * (1.0 + STEP))
        while aim > max(at_least, self._fastest):
            picks = derive_picks(self._probabilities, self._model, replace(self._budget, ms=aim), at_least)
            ms = self._model.predict(picks, self._budget.height, self._budget.width).ms
            if ms < at_least * (1.0 - STEP):
                return None
            if picks not in tried:
                return aim, at_least, picks
            aim = ms * (1.0 - STEP)
        return None

    def unused(self, attempts: Sequence[Attempt]) -> str:
        """If no network of the space would use the budget, this in words; else nothing."""
        return no_pressure(self._slowest * _factor(attempts), self._budget) if attempts[-1].verdict == "under" else ""

    def failure(self, attempts: Sequence[Attempt]) -> BudgetError:
        """No attempt kept the budget: because the fastest network does not, or because tries ran out."""
        for attempt in attempts:
            if attempt.predicted.ms <= self._fastest * (1.0 + STEP):
                takes = f"is predicted to take {attempt.predicted} and measures {attempt.measured.ms:.4g} ms"
                return unreachable(self._model, self._budget, attempt.picks, takes)
        history = "; ".join(f"aimed at {a.aim_ms:.4g}, measured {a.measured.ms:.4g} ms" for a in attempts)
        return BudgetError(
            f"no derived network measured within {self._budget} in {len(attempts)} tries ({history}); "
            "the machine may be busy: try again when it is quiet, or measure the latency table anew"
        )


def _factor(attempts: Sequence[Attempt]) -> float:
    """Measured over predicted, geometric mean."""
    logs = [math.log(attempt.measured.ms / attempt.predicted.ms) for attempt in attempts]
    return math.exp(math.fsum(logs) / len(logs))

"""Twenty budgets spread over what a space can do: derived, built, timed, and timed once more, all in turns.

Probabilities are random, another set for every budget: a search that has not decided leaves the derivation the most
freedom to find what the table has too cheap. The second timing decides nothing: it is what a user would see. Its
yardsticks are all networks that the table was calibrated with.
"""

import numpy as np
from tqdm import tqdm

from benchmarks.latency.prediction import RULE, all_known
from benchmarks.results import Row
from runtime import Target, Timing
from search.budget import Budget
from search.contract import Derivation, derive_verified
from search.derive import fastest_and_slowest
from search.errors import BudgetError
from search.latency.linked import time_linked
from search.latency.measure import Workload
from search.latency.model import LatencyModel
from search.latency.stopwatch import Subject
from search.latency.table import Measured
from search.verify import measure_network

BUDGETS = 20
SEED = 11
KEPT = 1.02
"""A second timing may be over the budget by this much and still count as kept: the noise of the clock."""
USED = 0.85


def try_budgets(model: LatencyModel, target: Target, size: tuple[int, int]) -> list[Row]:
    """A row for each budget."""
    work = Workload(model.space, model.config, target)
    fastest, slowest = fastest_and_slowest(model, *size)
    rng = np.random.default_rng(SEED)
    budgets = [Budget(fastest + (n + 1) / BUDGETS * (slowest - fastest), *size) for n in range(BUDGETS)]
    derivations: list[Derivation | str] = []
    for budget in tqdm(budgets, desc="deriving under budgets", unit="budget"):
        probabilities = {
            choice: dict(zip(names, rng.dirichlet(np.ones(len(names))).tolist(), strict=True))
            for choice, names in model.space.candidates(model.config).items()
        }

        def measure(picks: dict[str, str], budget: Budget = budget) -> Measured:
            return measure_network(work.network(picks), model, target, budget, "derived")

        try:
            derivations.append(derive_verified(probabilities, model, budget, measure))
        except BudgetError as error:
            derivations.append(str(error))
    subjects = [
        Subject(str(n), work.network(found.best.picks), size)
        for n, found in enumerate(derivations)
        if isinstance(found, Derivation)
    ]
    with tqdm(desc="timing all of them again", unit="round") as bar:
        again, _ = time_linked(
            subjects, all_known(model, work, size), target, RULE, seed=SEED, on_round=lambda *_: bar.update() and None
        )
    return [_row(budgets[n], found, again.get(str(n)), model.table.anchor_ms) for n, found in enumerate(derivations)]


def _row(budget: Budget, found: Derivation | str, again: Timing | None, anchor_ms: float) -> Row:
    if isinstance(found, str) or again is None:
        return {"budget ms": budget.ms, "attempts": 0, "predicted ms": None, "derived ms": None, "again ms": None,
                "again / budget": None, "kept": "no", "used": "no", "note": str(found)}  # fmt: skip
    share = again.ratio * anchor_ms / budget.ms
    return {
        "budget ms": budget.ms,
        "attempts": len(found.attempts),
        "predicted ms": found.best.predicted.ms,
        "derived ms": found.best.measured.ms,
        "again ms": share * budget.ms,
        "again / budget": share,
        "kept": "yes" if share <= KEPT else "no",
        "used": "yes" if share >= USED else "no",
        "note": found.note,
    }

"""What the service was promised to reach, beside what was found."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.results import Row
from benchmarks.serving import overload, phases
from benchmarks.serving.contestants import BARE, OURS

LEAST_WORK_MS = 25.0
SLOTS = 1


@dataclass(frozen=True)
class Goal:
    """A bound on the worst row of one measure.

    Attributes:
        says: The goal in words.
        phase: Where its rows are.
        measure: Which rows.
        holds: `operator.le` or `operator.ge`: the value against the bound.
        bound: The bound.
        load: Only rows of this load, if not empty.
        works: At least this many ms of bare work, for a row to count.
    """

    says: str
    phase: str
    measure: str
    holds: Callable[[float, float], bool]
    bound: float
    load: str = ""
    work_ms: float = 0.0


GOALS = (
    Goal(
        "CPU of the server beside decode, inference and encode, ms a request",
        "overhead", phases.CPU, operator.le, 2.0,
    ),
    Goal(
        f"p50 of one caller / bare loop, for work of {LEAST_WORK_MS:.0f} ms or more",
        "latency", phases.P50_RATIO, operator.le, 1.10, work_ms=LEAST_WORK_MS,
    ),
    Goal("throughput of many callers / bare loop", "saturation", phases.THROUGHPUT, operator.ge, 0.95),
    Goal("goodput at 4 x capacity / capacity", "overload", overload.GOODPUT, operator.ge, 0.9, load="4 x capacity"),
    Goal("refusals, p99, ms", "overload", overload.REFUSAL_P99, operator.le, 20.0),
    Goal("admitted p99 / deadline", "overload", overload.ADMITTED_P99, operator.le, 1.0),
    Goal("running at a time, by the gauge; one slot", "overload", overload.RUNNING, operator.le, SLOTS),
    Goal("inferences at a time, by Server-Timing; one slot", "overload", overload.INFERRING, operator.le, SLOTS),
)  # fmt: skip


def judge(rows: Sequence[Row]) -> list[Row]:
    """A row a goal: wanted, the worst found, whether it is met. A goal without rows was not measured."""
    bare = {row["work"]: row["value"] for row in rows if row["server"] == BARE and row["measure"] == "p50 ms"}
    judged: list[Row] = []
    for goal in GOALS:
        values = [
            float(row["value"] or 0.0)
            for row in rows
            if (row["phase"], row["measure"], row["server"]) == (goal.phase, goal.measure, OURS)
            and goal.load in ("", row["load"])
            and float(bare.get(row["work"]) or 0.0) >= goal.work_ms
        ]
        upper = goal.holds is operator.le
        wanted = f"{'<=' if upper else '>='} {goal.bound:g}"
        worst = None if not values else max(values) if upper else min(values)
        met = "not measured" if worst is None else "met" if goal.holds(worst, goal.bound) else "not met"
        found = "-" if worst is None else f"{worst:.2f}"
        judged.append({"goal": goal.says, "wanted": wanted, "worst found": found, "met": met})
    return judged

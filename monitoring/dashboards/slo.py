"""*SLO burn*: how much of the error budget is left, and how fast does it go?

Windows and rates are those of the alerts, after "The Site Reliability Workbook", chapter 5.
"""

from __future__ import annotations

from dataclasses import dataclass

from monitoring.dashboards.board import Board, Section
from monitoring.dashboards.expressions import OVER, rate, select, total
from monitoring.dashboards.graphs import graph
from monitoring.dashboards.looks import BAD, WARNING, Look, Unit, above, below
from monitoring.dashboards.marks import FIRING, FIRING_ALERTS, OURS
from monitoring.dashboards.numbers import number
from monitoring.dashboards.queries import Query, Tile
from monitoring.dashboards.tables import Column, listing
from monitoring.dashboards.variables import DOCS

__all__ = ["SLO"]

_PERIOD_S = 28 * 24 * 3600


@dataclass(frozen=True)
class _Objective:
    """One objective over 28 days.

    Attributes:
        name: In titles.
        series: Names of its recorded ratios, without the window.
        left: Name of the recorded part of the error budget that is left.
        allowed: Part of events that may be bad.
        bad: What is counted as bad, for people.
        runbook: Alert whose page is linked.
    """

    name: str
    series: str
    left: str
    allowed: float
    bad: str
    runbook: str

    def burn(self, window: str) -> str:
        """How many times faster than allowed the budget went within a window."""
        return f"{self.series}_{window} / {self.allowed}"


@dataclass(frozen=True)
class _Pair:
    """Two windows that must both burn faster than a limit for the alert to fire."""

    long: str
    short: str
    limit: float
    severity: str

    @property
    def name(self) -> str:
        return f"{self.long} and {self.short}: {self.severity}"


_PAIRS = (
    _Pair("1h", "5m", 14.4, "page"), _Pair("6h", "30m", 6, "page"),
    _Pair("1d", "2h", 3, "ticket"), _Pair("3d", "6h", 1, "ticket"),
)  # fmt: skip
_ANSWERS = _Objective(
    "Answers", "slo:restore_answers:error_ratio", "slo:restore_answers:budget_left_28d", 0.005,
    "requests that failed (5xx) or were refused (429)", "RestoreErrorBudgetBurnFast",
)  # fmt: skip
_TILES = _Objective(
    "Tiles", "slo:restore_tiles:missed_ratio", "slo:restore_tiles:budget_left_28d", 0.01,
    "full-size tiles over their budget", "RestoreErrorBudgetBurnSlow",
)  # fmt: skip


def _glance(objective: _Objective) -> tuple[Tile, ...]:
    good = f"{1 - objective.allowed:.1%}"
    return (
        number(
            f"{objective.name}: budget left",
            f"Part of the error budget of 28 days that is left. It counts {objective.bad}; the objective is {good}. "
            "Below 0 the objective is missed: put reliability before anything new.",
            Unit.RATIO,
            Query(objective.left, "left"),
            steps=below(0, 0.25),
            decimals=1,
            runbook=objective.runbook,
        ),
        number(
            f"{objective.name}: gone in",
            "Time until the rest of the budget is spent at the burn of the last hour. `never` is as it should be.",
            Unit.SECONDS,
            Query(f"clamp_min({objective.left}, 0) * {_PERIOD_S} / ({objective.burn('1h')} > 0)", "gone in"),
            steps=below(2 * 86400, 7 * 86400),
            nothing="never",
            trend=False,
            needs="trouble",
        ),
        number(
            f"{objective.name}: burn of the last hour",
            "How many times faster than allowed the budget goes. 1 spends it in exactly 28 days, 14.4 in two days, "
            "which pages somebody.",
            Unit.TIMES,
            Query(objective.burn("1h"), "burn"),
            steps=above(1, 14.4),
            decimals=1,
            runbook=objective.runbook,
        ),
    )


def _course(objective: _Objective) -> Tile:
    looks = {"5m": Look("blue", fill=0), "1h": BAD, "6h": WARNING, "3d": Look("yellow", width=2, fill=0)}
    return graph(
        f"{objective.name}: burn rate",
        f"How fast {objective.bad} use up the budget, over windows of several lengths. Above 1 for days the objective "
        "is missed; a short peak that long windows do not show is nothing to act on.",
        Unit.TIMES,
        *(Query(objective.burn(window), window, look) for window, look in looks.items()),
        lines=((1, "yellow"), (6, "orange"), (14.4, "red")),
        top=2,
        width=12,
        height=9,
        table=True,
    )


def _pairs(objective: _Objective) -> Tile:
    def rows(expression: dict[str, str]) -> str:
        named = (f'label_replace({expr}, "pair", "{name}", "", "")' for name, expr in expression.items())
        return " or ".join(named)

    return listing(
        f"{objective.name}: both windows of every alert",
        "An alert needs its long and its short window above the limit: the long one shows that it matters, the short "
        "one that it still goes on. Both red: it fires.",
        rows({pair.name: objective.burn(pair.long) for pair in _PAIRS}),
        rows({pair.name: objective.burn(pair.short) for pair in _PAIRS}),
        rows({pair.name: f"vector({pair.limit})" for pair in _PAIRS}),
        rows({pair.name: f"{objective.burn(pair.long)} / {pair.limit}" for pair in _PAIRS}),
        rows({pair.name: f"{objective.burn(pair.short)} / {pair.limit}" for pair in _PAIRS}),
        columns=(
            Column("pair", "Windows"),
            Column("A", "Long burn", Unit.TIMES),
            Column("B", "Short burn", Unit.TIMES),
            Column("C", "Limit", Unit.TIMES),
            Column("D", "Long of limit", Unit.RATIO, steps=above(0.5, 1)),
            Column("E", "Short of limit", Unit.RATIO, steps=above(0.5, 1)),
        ),
        sort="Limit",
        descending=True,
        width=12,
        height=7,
        runbook=objective.runbook,
    )


_ALERTS = Section(
    "Alerts",
    (
        listing(
            "Alerts firing now",
            "What fires, and about what. A click on the name opens its runbook, if the docs are served at the address "
            "above.",
            f"max by (alertname, severity, slo, task, model, target, instance, run) ({FIRING_ALERTS})",
            columns=(
                Column(
                    "alertname",
                    "Alert",
                    link="${docs}/runbooks/${__data.fields.Alert}.md",
                    link_title="Open the runbook",
                ),
                Column(
                    "severity", "Severity", mappings=(("page", "page", "red"), ("ticket", "ticket", "orange")), width=90
                ),
                Column("slo", "Objective", width=100),
                Column("task", "Task", width=120),
                Column("model", "Model"),
                Column("target", "Target"),
                Column("instance", "Instance"),
                Column("run", "Run"),
            ),
            sort="Severity",
            width=16,
            nothing="no alert fires",
            needs="alert",
        ),
        graph(
            "Alerts over time",
            "How many alerts of each name fired, or were about to. One that comes and goes needs a longer look, not a "
            "longer `for`.",
            Unit.COUNT,
            Query(f"count by (alertname, alertstate) ({select('ALERTS', OURS)})", "{{alertname}} {{alertstate}}"),
            stacked="normal",
            colors={"firing$": "red", "pending$": "yellow"},
            needs="alert",
        ),
    ),
)

_CAUSES = Section(
    "What is bad",
    (
        graph(
            "Bad answers by code",
            "Requests a second that count against the objective, by task and status. 429 and 503 ask for room, 504 for "
            "a look at the drift, 500 for a look at the log.",
            Unit.RATE,
            Query(total(rate("restore_requests_total", 'code=~"5..|429"'), "task", "code"), "{{code}} {{task}}"),
            stacked="normal",
            colors={"^5": "red", "^429": "orange"},
            width=12,
            needs="trouble",
        ),
        graph(
            "Late tiles by model",
            "Full-size tiles in a second over their budget. One model: its promise does not hold here. All at once: "
            "the machine is slower, or shared.",
            Unit.PER_SECOND,
            Query(total(rate("restore_budget_tiles_total", OVER), "model", "target"), "{{model}} {{target}}"),
            stacked="normal",
            width=12,
        ),
    ),
)

SLO = Board(
    slug="slo",
    uid="millisight-slo",
    title="SLO burn",
    description="How much of the error budget is left, and how fast does it go?",
    variables=(DOCS,),
    sections=(
        Section("Error budgets of 28 days", (*_glance(_ANSWERS), *_glance(_TILES))),
        Section("Burn", (_course(_ANSWERS), _course(_TILES), _pairs(_ANSWERS), _pairs(_TILES))),
        _ALERTS,
        _CAUSES,
    ),
    annotations=(FIRING,),
    since="now-24h",
    refresh="1m",
)

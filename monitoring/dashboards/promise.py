"""*Latency promise*: do networks keep their budgets and their promised times here?"""

from __future__ import annotations

from monitoring.dashboards.board import Board, Section
from monitoring.dashboards.expressions import MODEL_ONLY, MODELS, OVER, WINDOW, mean, rate, select, total
from monitoring.dashboards.graphs import graph, heat
from monitoring.dashboards.looks import BAD, BARE, BUDGET, P50, P95, P99, PROMISED, Unit, above, below
from monitoring.dashboards.marks import FIRING, MODEL_LOADED
from monitoring.dashboards.numbers import bars, number
from monitoring.dashboards.queries import Query
from monitoring.dashboards.tables import Column, listing
from monitoring.dashboards.variables import DOCS, MODEL, TARGET

__all__ = ["PROMISE"]

_TILE = "model_target:restore_tile_duration_seconds"
_DRIFT = select("model_target:restore_drift:ratio10m", MODELS)
_REQUEST_DRIFT = select("model_target:restore_request_drift:ratio10m", MODELS)
_MISSED = select("model_target:restore_budget_missed:ratio10m", MODELS)
_BUDGET = f"max by (model, target) ({select('restore_budget_seconds', MODELS)})"
_PROMISED = f"max by (model, target) ({select('restore_promised_tile_seconds', MODELS)})"
_NAME = "{{model}} {{target}}"
_TOO_MUCH_DRIFT = ((1.2, "red"),)


def _tiles(part: str) -> str:
    """Time of full-size tiles that a part of them stays under, by model and target."""
    return select(f"{_TILE}:{part}_5m", MODELS)


def _ended(outcome: str = "") -> str:
    """Admitted requests that ended in the time shown."""
    return f"sum(increase({select('restore_deadlines_total', MODEL_ONLY, outcome)}[$__range]))"


_GLANCE = Section(
    "Does the promise hold?",
    (
        number(
            "Tiles in budget",
            "Part of full-size tiles that kept their bundle's budget over 10 minutes, of the worst model. Below 99 %: "
            "see below which, and whether it drifts.",
            Unit.RATIO,
            Query(f"1 - max({_MISSED})", "in budget"),
            steps=below(0.95, 0.99),
            decimals=2,
            runbook="RestoreBudgetMissed",
        ),
        number(
            "p95 against budget",
            "Time that 95 % of full-size tiles stay under, as a part of the budget, of the worst model. Above 100 % "
            "one tile in twenty is late.",
            Unit.RATIO,
            Query(f"max({_tiles('p95')} / on (model, target) {_BUDGET})", "p95 / budget"),
            steps=above(0.9, 1.0),
            decimals=0,
            runbook="RestoreBudgetMissed",
        ),
        number(
            "Drift of tiles",
            "Measured over promised time of batches, of the worst model. Above 1.2: this machine is slower than the "
            "one that the bundle was timed on, or shared.",
            Unit.TIMES,
            Query(f"max({_DRIFT})", "drift"),
            steps=above(1.1, 1.2),
            decimals=2,
            runbook="RestoreDriftHigh",
        ),
        number(
            "Drift of requests",
            "Measured over predicted time of whole requests, of the worst model. High while tiles do not drift: "
            "decoding, encoding or waiting take longer than admission expects.",
            Unit.TIMES,
            Query(f"max({_REQUEST_DRIFT})", "drift"),
            steps=above(1.1, 1.2),
            decimals=2,
        ),
        number(
            "Deadlines met",
            "Part of admitted requests that were answered in time, over the time shown. A request that cannot make it "
            "should be refused on arrival, not here.",
            Unit.RATIO,
            Query(f"1 - ({_ended(OVER)} or vector(0)) / ({_ended()} > 0)", "met"),
            steps=below(0.99, 0.999),
            decimals=2,
            trend=False,
        ),
        number(
            "Without a promise",
            "Models that serve without any record of their time, so that nothing here says whether they are slow. "
            "`millisight export` on this machine times them.",
            Unit.PLAIN,
            Query(
                f"count(max by (model, target) ({select('restore_model_info', MODELS)} == 1) unless on (model, target) "
                "restore_promised_tile_seconds) or vector(0)",
                "models",
            ),
            steps=((None, "green"), (1, "orange")),
            trend=False,
        ),
    ),
)

_TILES = Section(
    "Full-size tiles against their budget",
    (
        graph(
            "Tile time of $model",
            "Measured times of one full-size tile under the budget (red) and beside what the bundle's records promise "
            "(blue). p95 over the red line: the budget does not hold here.",
            Unit.SECONDS,
            Query(_tiles("p50"), "{{target}} p50", P50),
            Query(_tiles("p95"), "{{target}} p95", P95),
            Query(_tiles("p99"), "{{target}} p99", P99),
            Query(_BUDGET, "{{target}} budget", BUDGET),
            Query(_PROMISED, "{{target}} promised", PROMISED),
            width=24,
            height=10,
            table=True,
            repeat="model",
            runbook="RestoreBudgetMissed",
        ),
        bars(
            "Tiles in budget by model",
            "Part of full-size tiles that kept the budget over 10 minutes. Red bars with a drift of 1: the budget was "
            "tighter than the network ever was.",
            Unit.RATIO,
            Query(f"1 - {_MISSED}", _NAME),
            steps=below(0.95, 0.99),
            high=1,
            decimals=2,
            width=12,
        ),
        heat(
            "Times of tiles",
            "How many full-size tiles took how long. A second band above the first is a neighbour on the machine, or a "
            "processor that lowers its clock.",
            Unit.SECONDS,
            f"sum by (le) (increase({select('restore_tile_duration_seconds_bucket', MODELS)}[{WINDOW}]))",
            width=12,
        ),
    ),
)

_DRIFTS = Section(
    "Drift: measured over promised",
    (
        graph(
            "Drift of tiles by model",
            "1 is what the bundle's records promise; the line is where the alert begins. A slow rise is heat or a "
            "neighbour, a step is another machine or another version of the engine.",
            Unit.TIMES,
            Query(_DRIFT, _NAME, BARE),
            lines=_TOO_MUCH_DRIFT,
            bottom=0.8,
            top=1.3,
            table=True,
            runbook="RestoreDriftHigh",
        ),
        graph(
            "Drift as admission follows it",
            "By this factor admission corrects what it promises to clients. It should follow the drift of tiles within "
            "minutes; if it does not, deadlines are promised wrongly.",
            Unit.TIMES,
            Query(f"max by (model, target) ({select('restore_drift_ratio', MODELS)})", _NAME, BARE),
            lines=_TOO_MUCH_DRIFT,
            bottom=0.8,
            top=1.3,
            table=True,
        ),
        graph(
            "Drift of requests by model",
            "Measured over predicted time of requests that were restored. Above 1 without drift of tiles: the machine "
            "is busy with something else than inference.",
            Unit.TIMES,
            Query(_REQUEST_DRIFT, _NAME, BARE),
            lines=_TOO_MUCH_DRIFT,
            bottom=0.8,
            top=1.3,
            table=True,
        ),
        graph(
            "Requests: measured and predicted",
            "Mean time of restored requests from admission to answer, beside what was predicted for the same ones "
            "(dashed). They should lie on each other.",
            Unit.SECONDS,
            Query(mean("restore_served_duration_seconds", "model", "target", where=MODELS), f"{_NAME} measured"),
            Query(
                mean("restore_predicted_duration_seconds", "model", "target", where=MODELS),
                f"{_NAME} predicted",
                PROMISED,
            ),
            width=12,
            height=10,
            table=True,
        ),
        graph(
            "Time per megapixel",
            "Inference time for a megapixel of input, by model: the figure to compare machines and releases by. It "
            "should not depend on the load.",
            Unit.SECONDS_PER_MEGAPIXEL,
            Query(
                select("task_model:restore_seconds_per_megapixel:ratio5m", MODEL_ONLY),
                "{{task}} {{model}}",
            ),
            width=12,
            height=10,
            table=True,
        ),
    ),
)

_PROMISES = Section(
    "Promises",
    (
        listing(
            "What is promised, and what is measured",
            "The record each promise is from, and what tiles take here. A record of another device or another kind of "
            "target explains drift: time the bundle on this machine.",
            f"max by (model, target, promised_target, device) ({select('restore_promise_info', MODELS)} == 1)",
            _BUDGET,
            _PROMISED,
            _tiles("p50"),
            _tiles("p95"),
            _DRIFT,
            columns=(
                Column("model", "Model"),
                Column("target", "Target"),
                Column("promised_target", "Record of"),
                Column("device", "Timed on"),
                Column("B", "Budget", Unit.SECONDS, width=100),
                Column("C", "Promised", Unit.SECONDS, width=100),
                Column("D", "p50", Unit.SECONDS, width=100),
                Column("E", "p95", Unit.SECONDS, width=100),
                Column("F", "Drift", Unit.TIMES, steps=above(1.1, 1.2), width=100),
            ),
            sort="Model",
            width=16,
            nothing="no model has a promise",
        ),
        graph(
            "Tiles over budget",
            "Full-size tiles in a second that went over the budget, by model. Against the number of tiles this is what "
            "the objective counts.",
            Unit.PER_SECOND,
            Query(
                total(rate("restore_budget_tiles_total", MODELS, OVER), "model", "target"),
                _NAME,
                BAD,
            ),
            runbook="RestoreBudgetMissed",
        ),
    ),
)

PROMISE = Board(
    slug="latency-promise",
    uid="millisight-promise",
    title="Latency promise",
    description="Do networks keep their budgets and their promised times here?",
    variables=(MODEL, TARGET, DOCS),
    sections=(_GLANCE, _TILES, _DRIFTS, _PROMISES),
    annotations=(FIRING, MODEL_LOADED),
)

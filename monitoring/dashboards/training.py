"""*Search and training*: how does a run get on?"""

from __future__ import annotations

from monitoring.dashboards.board import Board, Section
from monitoring.dashboards.expressions import RUNS, select
from monitoring.dashboards.graphs import graph
from monitoring.dashboards.looks import BUDGET, MEASURED, PROMISED, Look, Unit, above
from monitoring.dashboards.numbers import bars, number
from monitoring.dashboards.queries import Query
from monitoring.dashboards.tables import Column, listing
from monitoring.dashboards.variables import DOCS, REPORTS, RUN

__all__ = ["TRAINING"]

# What the run that tells no more was last is no longer of interest: it is finished, or failed.
_OVER = f"({select('millisight_run_finished', RUNS)} == 1 or {select('millisight_run_failed', RUNS)} == 1)"
_STAGE = f"{select('millisight_run_stage', RUNS)} == 1"
_DONE = select("millisight_run_steps_done", RUNS)
_STEPS = select("millisight_run_steps", RUNS)
_PART = f"({_DONE} / ({_STEPS} > 0))"
_SPEED = f"(deriv({_DONE}[10m]) > 0)"
_LEFT = f"(({_STEPS} - {_DONE}) / {_SPEED})"
_SILENT = f"(time() - max by (run) ({select('millisight_run_update_time_seconds', RUNS)}))"
_UNDER_WAY = f"{_SILENT} unless on (run) {_OVER}"


def _now(expr: str) -> str:
    """Of the stage that a run is in."""
    return f"max by (run) ({expr} and on (run, stage) {_STAGE})"


def _by_budget(name: str) -> str:
    return f"max by (run, budget) ({select(name, RUNS)})"


_GLANCE = Section(
    "At a glance",
    (
        number(
            "Under way",
            "Runs that neither finished nor failed. One that is not there at all does not tell: it was started without "
            "a place for its metrics.",
            Unit.PLAIN,
            Query(f"count({_UNDER_WAY}) or vector(0)", "runs"),
            width=3,
            trend=False,
        ),
        number(
            "Stage done",
            "Part of the steps of its present stage that a run has done.",
            Unit.RATIO,
            Query(_now(_PART), "{{run}}"),
            width=4,
            decimals=0,
        ),
        number(
            "Stage done in",
            "Time that the present stage still takes at the speed of the last 10 minutes. Nothing is shown while no "
            "step was made.",
            Unit.SECONDS,
            Query(_now(_LEFT), "{{run}}"),
            width=4,
            trend=False,
            nothing="no step lately",
        ),
        number(
            "Last word",
            "How long ago a run that is under way told something. After 15 minutes it is stalled: look whether its "
            "process lives, and start the same command again.",
            Unit.SECONDS,
            Query(_UNDER_WAY, "{{run}}"),
            steps=above(300, 900),
            width=4,
            trend=False,
            nothing="none under way",
            runbook="MillisightRunStalled",
        ),
        number(
            "Expected against budget",
            "Expected time of the network that a search is at, as a part of its budget. It should come down to 100 % "
            "and stay there.",
            Unit.RATIO,
            Query(
                f"max by (run) ({select('millisight_search_expected_seconds', RUNS)}) / on (run) max by (run) "
                f"({select('millisight_search_budget_seconds', RUNS)})",
                "{{run}}",
            ),
            steps=above(1.02, 1.1),
            width=5,
            decimals=0,
        ),
        number(
            "Validation",
            "PSNR of the finished network on pictures that it never saw. Compare with other runs of the same task "
            "only.",
            Unit.DECIBEL,
            Query(f"max by (run) ({select('millisight_validation_db', RUNS)})", "{{run}}"),
            width=4,
            decimals=2,
        ),
    ),
)

_LIST = Section(
    "Runs",
    (
        listing(
            "Runs and their reports",
            "What each run is and where it stands. A click on the report opens it, if the folder of the runs is served "
            "at the address above.",
            f"max by (run, task, method, target, preset, report) ({select('millisight_run_info', RUNS)})",
            f"max by (run, stage) ({_STAGE})",
            _now(_PART),
            f"time() - max by (run) ({select('millisight_run_start_time_seconds', RUNS)})",
            f"max by (run) ({select('millisight_run_finished', RUNS)})",
            f"max by (run) ({select('millisight_run_failed', RUNS)})",
            columns=(
                Column("run", "Run"),
                Column("task", "Task", width=130),
                Column("method", "Method", width=120),
                Column("target", "Target"),
                Column("preset", "Preset", width=90),
                Column("stage", "Stage", width=90),
                Column("C", "Stage done", Unit.RATIO, width=100),
                Column("D", "Started ago", Unit.SECONDS, width=110),
                Column("E", "Finished", mappings=(("0", "no", "text"), ("1", "yes", "green")), width=90),
                Column("F", "Failed", mappings=(("0", "no", "text"), ("1", "yes", "red")), width=90),
                Column("report", "Report", link="${reports}/${__data.fields.Report}", link_title="Open the report"),
            ),
            sort="Run",
            nothing="no run told anything",
        ),
        graph(
            "Steps done",
            "Steps of every stage. A flat line is a stage that waits or stands still; the dashed line is where it "
            "ends.",
            Unit.COUNT,
            Query(_DONE, "{{run}} {{stage}}"),
            Query(_STEPS, "{{run}} {{stage}} all", PROMISED),
            width=12,
            table=True,
        ),
        bars(
            "Stages of the runs",
            "How far every stage of every run is. Stages that a run did not need this time are not there.",
            Unit.RATIO,
            Query(f"max by (run, stage) ({_PART})", "{{run}} {{stage}}"),
            steps=((None, "blue"), (1, "green")),
            width=12,
            high=1,
            decimals=0,
        ),
    ),
)

_SEARCH = Section(
    "Search",
    (
        graph(
            "Expected time and budget",
            "Expected time of a network under the present probabilities, and the budget (red). Far above it at the "
            "end: the space holds nothing that fast, or the price had no time to rise.",
            Unit.SECONDS,
            Query(f"max by (run) ({select('millisight_search_expected_seconds', RUNS)})", "{{run}} expected", MEASURED),
            Query(f"max by (run) ({select('millisight_search_budget_seconds', RUNS)})", "{{run}} budget", BUDGET),
        ),
        graph(
            "Price of time",
            "What a search pays for going over its budget. It rises while the network is too slow and falls once it "
            "fits; still rising at the end: give the search more steps.",
            Unit.PLAIN,
            Query(f"max by (run) ({select('millisight_search_price', RUNS)})", "{{run}}"),
        ),
        graph(
            "Uncertainty of choices",
            "Entropy of every choice, and their mean (thick). It falls towards 0 as the search makes up its mind; one "
            "that stays high has candidates that are as good as each other.",
            Unit.NATS,
            Query(f"max by (run, choice) ({select('millisight_search_choice_entropy_nats', RUNS)})", "{{choice}}"),
            Query(
                f"avg by (run) ({select('millisight_search_choice_entropy_nats', RUNS)})",
                "{{run}} mean",
                Look("text", width=3, fill=0),
            ),
        ),
    ),
)

_TRAIN = Section(
    "Training",
    (
        graph(
            "Loss",
            "Loss of searching and of training, on a logarithmic axis. A jump that does not come back: the learning "
            "rate is too high, or a picture is broken.",
            Unit.PLAIN,
            Query(select("millisight_loss", RUNS), "{{run}} {{stage}}"),
            logarithmic=True,
        ),
        graph(
            "Learning rate",
            "What the schedule has come to. At its end there is nothing more to gain by waiting.",
            Unit.PLAIN,
            Query(select("millisight_learning_rate", RUNS), "{{run}} {{stage}}"),
        ),
        graph(
            "Validation over time",
            "PSNR on pictures that the network never saw, once it is finished and for every network of a run.",
            Unit.DECIBEL,
            Query(select("millisight_validation_db", RUNS), "{{run}} {{stage}}"),
            bottom=None,
        ),
    ),
)

_NETWORKS = Section(
    "Derived networks",
    (
        listing(
            "Networks and their budgets",
            "What the latency table says of each network, what it took when it was timed, and its budget. Above 100 % "
            "it does not become a bundle; far below, a larger network would fit.",
            _by_budget("millisight_network_budget_seconds"),
            _by_budget("millisight_network_predicted_seconds"),
            _by_budget("millisight_network_measured_seconds"),
            f"{_by_budget('millisight_network_measured_seconds')} / {_by_budget('millisight_network_budget_seconds')}",
            f"{_by_budget('millisight_network_measured_seconds')} / "
            f"{_by_budget('millisight_network_predicted_seconds')}",
            columns=(
                Column("run", "Run"),
                Column("budget", "Network"),
                Column("A", "Budget", Unit.SECONDS),
                Column("B", "Predicted", Unit.SECONDS),
                Column("C", "Measured", Unit.SECONDS),
                Column("D", "Of the budget", Unit.RATIO, steps=((None, "orange"), (0.85, "green"), (1.0, "red"))),
                Column("E", "Measured / predicted", Unit.TIMES),
            ),
            sort="Run",
            nothing="no network is derived yet",
        ),
    ),
)

TRAINING = Board(
    slug="search-training",
    uid="millisight-training",
    title="Search and training",
    description="How does a run get on?",
    variables=(RUN, REPORTS, DOCS),
    sections=(_GLANCE, _LIST, _SEARCH, _TRAIN, _NETWORKS),
    since="now-6h",
)

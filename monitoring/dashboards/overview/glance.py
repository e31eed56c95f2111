"""The top row: does the service answer, in time, with room to spare?"""

from __future__ import annotations

from monitoring.dashboards.board import Section
from monitoring.dashboards.expressions import SERVED, TASKS, select
from monitoring.dashboards.looks import Unit, above, below
from monitoring.dashboards.marks import FIRING_ALERTS
from monitoring.dashboards.numbers import number
from monitoring.dashboards.queries import Query

__all__ = ["AT_A_GLANCE"]

AT_A_GLANCE = Section(
    "At a glance",
    (
        number(
            "Requests",
            "Restoration requests a second, over 5 minutes. A sudden fall with clients still there means that they do "
            "not get through: look at the routes below.",
            Unit.RATE,
            Query(f"sum({select('task:restore_requests:rate5m', TASKS)})", "requests"),
            width=3,
        ),
        number(
            "Answered",
            "Part of all requests that was neither failed (5xx) nor refused (429) by the service, over 5 minutes. "
            "Below 99.5 % the error budget burns: open the dashboard SLO burn.",
            Unit.RATIO,
            Query("1 - slo:restore_answers:error_ratio_5m", "answered"),
            steps=below(0.99, 0.995),
            width=3,
            decimals=2,
            runbook="RestoreErrorBudgetBurnFast",
        ),
        number(
            "Slowest p95",
            "Time that 95 % of requests stay under, of the slowest model. If it grows while stages do not, requests "
            "wait: look at queue and slots.",
            Unit.SECONDS,
            Query(f"max({select('task_model:restore_request_duration_seconds:p95_5m', SERVED)})", "p95"),
            width=3,
        ),
        number(
            "Tiles in budget",
            "Part of full-size tiles that kept the budget of their bundle, over 5 minutes. Below 99 % the promise does "
            "not hold here: open the dashboard Latency promise.",
            Unit.RATIO,
            Query("1 - slo:restore_tiles:missed_ratio_5m", "in budget"),
            steps=below(0.95, 0.99),
            width=3,
            decimals=2,
            runbook="RestoreBudgetMissed",
        ),
        number(
            "Worst drift",
            "Measured over promised time of batches, of the model that is furthest off, over 10 minutes. Above 1.2 "
            "this machine is not what the bundle was timed on, or something else runs on it.",
            Unit.TIMES,
            Query("max(model_target:restore_drift:ratio10m)", "drift"),
            steps=above(1.1, 1.2),
            width=3,
            decimals=2,
            runbook="RestoreDriftHigh",
        ),
        number(
            "Fullest instance",
            "Part of the slots that work, of the fullest instance. At 100 % for minutes requests queue: add instances.",
            Unit.RATIO,
            Query("max(instance:restore_slots_busy:ratio)", "slots busy"),
            steps=above(0.8, 0.95),
            width=3,
            decimals=0,
            runbook="RestoreSaturated",
        ),
        number(
            "Models serving",
            "Bundles that are loaded now. Fewer than you deployed: look at the models below and at the log of the "
            "start.",
            Unit.PLAIN,
            Query(f"count(max by (task, model) ({select('restore_model_info', SERVED)} == 1)) or vector(0)", "models"),
            steps=((None, "red"), (1, "green")),
            width=3,
            trend=False,
            runbook="RestoreModelAbsent",
        ),
        number(
            "Alerts firing",
            "Alerts of this repository that fire. Any: the dashboard SLO burn lists them with their runbooks.",
            Unit.PLAIN,
            Query(f"count({FIRING_ALERTS}) or vector(0)", "firing"),
            steps=((None, "green"), (1, "red")),
            width=3,
            trend=False,
        ),
    ),
)

"""Requests: rate, errors and duration, what was decided about them, and where their time goes."""

from __future__ import annotations

from monitoring.dashboards.board import Section
from monitoring.dashboards.expressions import OVER, SERVED, TASKS, mean, rate, select, total
from monitoring.dashboards.graphs import graph
from monitoring.dashboards.looks import BAD, GOOD, P50, P95, P99, WARNING, Unit
from monitoring.dashboards.queries import Query

__all__ = ["REQUESTS", "STAGES"]

_SECONDS = "task_model:restore_request_duration_seconds"
_STAGE = "restore_stage_duration_seconds"

_ALL_STAGES = rate(f"{_STAGE}_sum", SERVED)
_BY_STAGE = total(_ALL_STAGES, "stage")

REQUESTS = Section(
    "Requests",
    (
        graph(
            "Rate by task",
            "Restoration requests a second, answered and refused. Compare with the same hour of other days.",
            Unit.RATE,
            Query(select("task:restore_requests:rate5m", TASKS), "{{task}}"),
        ),
        graph(
            "Bad answers by task",
            "Part of requests that the service failed (5xx) or refused (429). The line is what the objective allows; "
            "the two graphs below say which codes and reasons.",
            Unit.RATIO,
            Query(select("task:restore_errors:ratio5m", TASKS), "{{task}}"),
            lines=((0.005, "red"),),
            top=0.01,
            runbook="RestoreErrorBudgetBurnFast",
        ),
        graph(
            "Duration by task",
            "Time from a request's header to its answer, of the slowest model of each task. p99 far above p50 is a mix "
            "of picture sizes or a queue: the stages below tell which.",
            Unit.SECONDS,
            Query(f"max by (task) ({select(f'{_SECONDS}:p50_5m', SERVED)})", "{{task}} p50", P50),
            Query(f"max by (task) ({select(f'{_SECONDS}:p95_5m', SERVED)})", "{{task}} p95", P95),
            Query(f"max by (task) ({select(f'{_SECONDS}:p99_5m', SERVED)})", "{{task}} p99", P99),
        ),
        graph(
            "Answers by code",
            "Requests a second by HTTP status. 4xx is the client's, 429 and 503 are refusals for lack of room or time, "
            "504 a deadline, 500 a defect.",
            Unit.RATE,
            Query(total(rate("restore_requests_total", SERVED), "code"), "{{code}}"),
            stacked="normal",
            colors={"^2": "green", "^4": "blue", "^429": "orange", "^5": "red"},
        ),
        graph(
            "Refusals by reason",
            "Requests a second that were not served. Many of one reason: queue_full asks for more instances, a reason "
            "about pictures asks for a word with the client.",
            Unit.RATE,
            Query(total(rate("restore_rejected_total"), "reason"), "{{reason}}"),
            stacked="normal",
            needs="trouble",
        ),
        graph(
            "HTTP by route",
            "Requests a second of all routes, those refused at the door (keys, rates, sizes) too. Much of `other` is "
            "somebody who scans.",
            Unit.RATE,
            Query(total(rate("restore_http_requests_total"), "route", "method"), "{{method}} {{route}}"),
            stacked="normal",
        ),
        graph(
            "Admission",
            "What was decided about requests on their arrival. queue_full: no room; deadline_unattainable: it would "
            "have come too late, so it was told at once.",
            Unit.RATE,
            Query(total(rate("restore_admission_decisions_total"), "decision"), "{{decision}}"),
            stacked="normal",
            colors={"admitted": "green", "queue_full": "orange", "deadline_unattainable": "red"},
        ),
        graph(
            "Deadlines",
            "Admitted requests by whether they were answered in time. Any missed: admission expected less than it "
            "took, so look at the drift of whole requests.",
            Unit.RATE,
            Query(total(rate("restore_deadlines_total", SERVED, 'outcome="met"')), "met", GOOD),
            Query(f"{total(rate('restore_deadlines_total', SERVED, OVER))} or vector(0)", "missed", BAD),
            Query(f"{total(rate('restore_late_total'))} or vector(0)", "dropped at the deadline", WARNING),
        ),
        graph(
            "HTTP failures by route",
            "5xx answers a second by route, jobs and pages too. A route that stands out has its reason in the log.",
            Unit.RATE,
            Query(total(rate("restore_http_requests_total", 'code=~"5.."'), "route", "code"), "{{code}} {{route}}"),
            stacked="normal",
            needs="trouble",
        ),
    ),
)

STAGES = Section(
    "Stages of a request",
    (
        graph(
            "Mean time by stage",
            "Stages of the average request on top of each other. `queue` growing is saturation, `inference` growing is "
            "drift or larger pictures, `read` growing is a slow client.",
            Unit.SECONDS,
            Query(mean(_STAGE, "stage", where=SERVED), "{{stage}}"),
            stacked="normal",
            width=12,
            table=True,
        ),
        graph(
            "Part of time by stage",
            "Where the time of all requests goes. Inference should have the most; if decoding or encoding do, other "
            "picture formats would help more than a faster network.",
            Unit.RATIO,
            Query(f"{_BY_STAGE} / ignoring (stage) group_left () ({total(_ALL_STAGES)} > 0)", "{{stage}}"),
            stacked="normal",
            top=1,
            width=12,
            table=True,
        ),
    ),
)

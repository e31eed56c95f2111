"""What is full: slots, queue, time, memory for pictures."""

from __future__ import annotations

from monitoring.dashboards.board import Section
from monitoring.dashboards.graphs import graph
from monitoring.dashboards.looks import BAD, CAPACITY, Unit
from monitoring.dashboards.queries import Query

__all__ = ["SATURATION"]

SATURATION = Section(
    "Queue and saturation",
    (
        graph(
            "Slots busy",
            "Batches that run, and how many may run at a time, over all instances. On the dashed line for minutes: add "
            "instances.",
            Unit.COUNT,
            Query("sum(restore_slots_busy)", "busy"),
            Query("sum(restore_slots)", "slots", CAPACITY),
            runbook="RestoreSaturated",
        ),
        graph(
            "Queue",
            "Admitted requests of which nothing runs yet, and those that are worked on at all. At the capacity new "
            "requests are refused with 429.",
            Unit.COUNT,
            Query("sum(restore_queue_depth)", "waiting"),
            Query("sum(restore_requests_in_flight)", "in flight"),
            Query("sum(restore_queue_capacity)", "capacity", CAPACITY),
            runbook="RestoreSaturated",
        ),
        graph(
            "Backlog",
            "Predicted time until everything that is admitted is done, by instance. A request with a shorter deadline "
            "than this is refused at once.",
            Unit.SECONDS,
            Query("sum by (instance) (restore_backlog_seconds)", "{{instance}}"),
        ),
        graph(
            "Fullness by instance",
            "Busy part of the slots, filled part of the queue, and part of requests that was refused for it. One "
            "instance far above the others: the balancer does not spread, or that machine is slow.",
            Unit.RATIO,
            Query("instance:restore_slots_busy:ratio", "slots {{instance}}"),
            Query("instance:restore_queue:ratio", "queue {{instance}}"),
            Query("instance:restore_refused:ratio5m", "refused {{instance}}", BAD),
            lines=((0.8, "orange"), (1.0, "red")),
            top=1,
            width=12,
            runbook="RestoreSaturated",
        ),
        graph(
            "Bytes held",
            "Memory of pictures and of request bodies in work. It follows the queue; if it does not fall with it, "
            "report a leak.",
            Unit.BYTES,
            Query("sum(restore_picture_bytes)", "pictures"),
            Query("sum(restore_body_bytes)", "bodies"),
            width=12,
        ),
    ),
)

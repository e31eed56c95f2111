"""How the scheduler stands, for metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Stats:
    """One moment of a scheduler; counts are since its start.

    Attributes:
        admitted: Requests admitted and not answered.
        waiting: Those of which nothing runs now.
        running: Batches that run now; never more than `slots`.
        slots: Batches that may run at the same time.
        capacity: Requests admitted at most.
        codecs_running: Codec jobs that run now.
        codecs_waiting: Codec jobs that wait for a thread.
        backlog_s: Predicted seconds until everything admitted is done.
        picture_bytes: Bytes held by decoded pictures.
        picture_bytes_capacity: Bytes they may hold.
        batches: Tiles in a batch to how many batches had so many.
        decisions: `admitted`, `queue_full`, `deadline_unattainable` to how often.
        late: Requests dropped at their deadline.
    """

    admitted: int
    waiting: int
    running: int
    slots: int
    capacity: int
    codecs_running: int
    codecs_waiting: int
    backlog_s: float
    picture_bytes: int
    picture_bytes_capacity: int
    batches: Mapping[int, int]
    decisions: Mapping[str, int]
    late: int

"""What came of a load: answers counted by their code, times, and how much of it was good."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Answer", "Summary", "Times", "percentile", "summarise"]

_OK = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request.

    Attributes:
        task: What was asked for.
        code: Status and the service's code of an error, such as `200` or `429 queue_full`; `broken`: the connection
            ended; `given up`: no answer in time; `not sent`: too many were under way.
        seconds: From sending to the whole answer.
        late_s: How long after its time it was sent, seconds; what the sender itself was too slow by.
        good: Whether a picture was sent.
    """

    task: str
    code: str
    seconds: float
    late_s: float = 0.0
    good: bool = True

    @property
    def restored(self) -> bool:
        """Whether it brought a picture."""
        return self.code == str(_OK)


@dataclass(frozen=True)
class Times:
    """Quantiles of how long answers took.

    Attributes:
        count: Answers.
        p50_ms: Median, milliseconds.
        p95_ms: 95 %, milliseconds.
        p99_ms: 99 %, milliseconds.
    """

    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float

    @classmethod
    def of(cls, answers: Sequence[Answer]) -> Times:
        """Of at least one answer."""
        ms = sorted(1000 * answer.seconds for answer in answers)
        return cls(len(ms), percentile(ms, 50), percentile(ms, 95), percentile(ms, 99))


@dataclass(frozen=True)
class Summary:
    """A load and what came of it.

    Attributes:
        seconds: From the first request to the last answer.
        offered: Requests that were due, those that were not sent too.
        restored: Answers with a picture.
        in_time: Of these, those within the deadline; all of them where there was none.
        goodput: `in_time` a second.
        by_code: Code to times, most frequent first.
        by_task: Task to times of the answers with a picture.
        sender_late_p99_ms: How late the sender itself was; a load whose sender is late is not the one that was planned.
    """

    seconds: float
    offered: int
    restored: int
    in_time: int
    goodput: float
    by_code: dict[str, Times]
    by_task: dict[str, Times]
    sender_late_p99_ms: float


def percentile(ascending: Sequence[float], percent: float) -> float:
    """The smallest value that so many per cent do not exceed (nearest rank).

    Args:
        ascending: Values, sorted, at least one.
        percent: Above 0, at most 100.
    """
    return ascending[max(0, math.ceil(len(ascending) * percent / 100) - 1)]


def summarise(answers: Sequence[Answer], seconds: float, deadline_ms: int | None) -> Summary:
    """Count and sort.

    Args:
        answers: All of them.
        seconds: That the load lasted, above 0.
        deadline_ms: That every request named, milliseconds.
    """
    restored = [answer for answer in answers if answer.restored]
    in_time = [answer for answer in restored if deadline_ms is None or 1000 * answer.seconds <= deadline_ms]
    codes = {code: [answer for answer in answers if answer.code == code] for code in {a.code for a in answers}}
    tasks = {task: [answer for answer in restored if answer.task == task] for task in {a.task for a in restored}}
    late = sorted(1000 * answer.late_s for answer in answers)
    return Summary(
        seconds=seconds,
        offered=len(answers),
        restored=len(restored),
        in_time=len(in_time),
        goodput=len(in_time) / seconds,
        by_code={code: Times.of(codes[code]) for code in sorted(codes, key=lambda code: (-len(codes[code]), code))},
        by_task={task: Times.of(tasks[task]) for task in sorted(tasks)},
        sender_late_p99_ms=percentile(late, 99) if late else 0.0,
    )

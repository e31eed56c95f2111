"""Following a job: server-sent events to `JobStatus`, and what to do when the stream breaks. No input or output."""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections.abc import Callable, Mapping

import httpx

from millisight.client.answers import read_job
from millisight.client.errors import BrokenAnswerError, TimedOutError, UnreachableError
from millisight.client.records import JobStatus
from millisight.client.retry import RetryPolicy

__all__ = ["EventParser", "Follower"]

_LONGEST = 16 * 2**20
# A carriage return at the end of what has arrived may be half of a line end.
_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")


class EventParser:
    """Bytes of a `text/event-stream` to (event, data) pairs; comments and unknown fields are left out."""

    def __init__(self) -> None:
        self._rest = b""
        self._event, self._data = "message", list[str]()

    def feed(self, piece: bytes) -> list[tuple[str, str]]:
        """The events that are complete with this piece.

        Raises:
            BrokenAnswerError: An event without end.
        """
        *lines, self._rest = _LINE_END.split(self._rest + piece)
        if len(self._rest) + sum(map(len, self._data)) > _LONGEST:
            raise BrokenAnswerError(f"An event of the job has more than {_LONGEST} bytes.")
        events = []
        for line in lines:
            name, _, value = line.decode("utf-8", "replace").partition(":")
            value = value.removeprefix(" ")
            if not line:
                if self._data:
                    events.append((self._event, "\n".join(self._data)))
                self._event, self._data = "message", []
            elif name == "event":
                self._event = value
            elif name == "data":
                self._data.append(value)
        return events


class Follower:
    """Follows one job over as many streams as it takes.

    Args:
        job: Its id.
        policy: How many streams in a row may end without news, and how long to wait before the next.
        timeout_s: Longest silence of the service.
        limit_s: Seconds in all; None for no limit.
        clock: Seconds.
    """

    def __init__(
        self,
        job: str,
        policy: RetryPolicy,
        timeout_s: float,
        limit_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job, self._policy, self._timeout_s, self._limit_s, self._clock = job, policy, timeout_s, limit_s, clock
        self._end = math.inf if limit_s is None else clock() + limit_s
        self._parser = EventParser()
        self._failures = 0
        self.finished = False
        self.last: JobStatus | None = None

    def next_timeout_s(self) -> float:
        """Longest silence for the next stream.

        Raises:
            TimedOutError: The limit has passed.
        """
        left = self._end - self._clock()
        if left <= 0:
            raise self._late()
        return min(self._timeout_s, left)

    def begin(self, headers: Mapping[str, str]) -> None:
        """A new stream.

        Raises:
            BrokenAnswerError: It is something else.
        """
        kind = headers.get("content-type", "")
        if kind.partition(";")[0].strip().lower() != "text/event-stream":
            raise BrokenAnswerError(f"Expected the events of job {self._job}, got {kind or 'no Content-Type'}.")
        self._parser = EventParser()

    def feed(self, piece: bytes) -> list[JobStatus]:
        """What is new with this piece.

        Raises:
            BrokenAnswerError: It is not the state of a job.
            TimedOutError: The limit has passed.
        """
        news = []
        for event, data in self._parser.feed(piece):
            self.finished = self.finished or event == "end"
            status = self._read(event, data)
            if status is not None and status != self.last:
                self.last, self._failures = status, 0
                news.append(status)
        if not self.finished and self._clock() >= self._end:
            raise self._late()
        return news

    def pause_s(self, error: httpx.RequestError | None) -> float:
        """Seconds until the next stream, after one that ended without the event `end`.

        Args:
            error: What it ended with; None if the service closed it in order.

        Raises:
            TimedOutError: The limit has passed.
            UnreachableError: Too many streams in a row brought nothing new.
        """
        self._failures += 1
        left = self._end - self._clock()
        wait = self._policy.wait_s(self._failures, None, left, random.random())
        if wait is not None:
            return wait
        if left <= 0 or self._failures < self._policy.attempts:
            raise self._late()
        raise UnreachableError(
            f"The events of job {self._job} ended {self._failures} times in a row without news"
            f"{f' ({error})' if error else ''}. The job may go on; ask for its status()."
        )

    def _read(self, event: str, data: str) -> JobStatus | None:
        if event == "progress" or (event == "end" and _is_object(data)):
            return read_job({"content-type": f"event {event}"}, data.encode())
        return None

    def _late(self) -> TimedOutError:
        return TimedOutError(f"Job {self._job} has not ended within {self._limit_s:g} s. It goes on; wait again.")


def _is_object(text: str) -> bool:
    """The event `end` may come with the job's last state, or with nothing to read."""
    try:
        content = json.loads(text)
    except ValueError:
        return False
    return isinstance(content, dict) and "id" in content

"""The scheduler of one worker: admits what can be done in time, and does it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from serving.errors import NotReadyError, RequestError
from serving.scheduling.admission import Admission
from serving.scheduling.dispatcher import Dispatcher, Prediction
from serving.scheduling.entry import Entry, Job, Waiter
from serving.scheduling.errors import DeadlineUnattainableError, QueueFullError, retry_after
from serving.scheduling.interfaces import Demand, Restoration
from serving.scheduling.observer import ADMITTED, NOBODY, Observer
from serving.scheduling.stats import Stats
from serving.scheduling.workers import Workers

RESERVE = 0.15
"""Part of the time to the deadline that a new request must leave unused, for what predictions miss."""


class Scheduler:
    """Slots, codec threads and memory of one worker, shared by its requests. Thread-safe.

    Args:
        slots: Batches of tiles that run at the same time.
        cores: Processor cores; as many codec threads are made, and one for short jobs.
        max_waiting: Requests admitted and not answered at most.
        picture_bytes: Room for decoded and restored pixels.
        reserve: Part of the time to its deadline that a new request must leave unused, in [0, 1).
        clock: Seconds, monotonic; deadlines are moments of it.
        observer: Told of decisions, batches and late requests as they happen.

    Raises:
        ValueError: A limit makes no sense.
    """

    def __init__(
        self,
        *,
        slots: int,
        cores: int,
        max_waiting: int,
        picture_bytes: int,
        reserve: float = RESERVE,
        clock: Callable[[], float] = time.monotonic,
        observer: Observer = NOBODY,
    ) -> None:
        if max_waiting < 1 or picture_bytes < 1 or not 0 <= reserve < 1:
            raise ValueError(
                f"max_waiting and picture_bytes are at least 1 and reserve is in [0, 1), got {max_waiting}, "
                f"{picture_bytes}, {reserve}."
            )
        self.clock = clock
        self._capacity = max_waiting
        self._reserve = reserve
        self._observer = observer
        self._dispatcher = Dispatcher(slots, cores, picture_bytes, observer)
        self._decisions: Counter[str] = Counter()
        self._open: set[Entry] = set()
        self._closed = False
        self._workers = Workers(self._dispatcher, clock, observer)
        self._workers.start()

    def check_room(self, deadline: float) -> None:
        """Refuses what would be refused whatever its size; cheap, to be asked before the body is read.

        Args:
            deadline: Moment by which the request has to be answered.

        Raises:
            QueueFullError: As many requests as fit are admitted.
            DeadlineUnattainableError: What has to be done before it takes longer than there is time.
        """
        with self._workers.lock:
            now = self.clock()
            self._check_places(now)
            ahead = self._dispatcher.backlog_before(deadline, now)
            if ahead > (1.0 - self._reserve) * (deadline - now):
                self._decide(DeadlineUnattainableError.code)
                raise DeadlineUnattainableError(
                    f"{max(deadline - now, 0.0) * 1000:.0f} ms are left, and {ahead * 1000:.0f} ms of work come first. "
                    "Allow more time with X-Deadline-Ms, or try again later.",
                    retry_after(self._dispatcher.backlog(now) - (deadline - now)),
                )

    def predict(self, demand: Demand, deadline: float | None = None) -> float:
        """Seconds until a request is done if it is admitted now; nothing changes.

        Args:
            demand: What it needs.
            deadline: Moment by which it has to be answered; with it, the answer is infinite if it would be refused.
        """
        with self._workers.lock:
            now = self.clock()
            found = self._dispatcher.predict(demand, float("inf") if deadline is None else deadline, now)
        if deadline is not None and not self._fits(found, deadline - now):
            return float("inf")
        return found.expected_s

    def admit(self, demand: Demand, deadline: float) -> Admission:
        """Takes a request if it and all that are admitted will be done in time.

        Args:
            demand: What it needs.
            deadline: Moment by which it has to be answered.

        Raises:
            QueueFullError: As many requests as fit are admitted.
            DeadlineUnattainableError: It, or one that is admitted, would be late.
            NotReadyError: The scheduler is closed.
        """
        with self._workers.lock:
            now = self.clock()
            self._check_places(now)
            found = self._dispatcher.predict(demand, deadline, now)
            if not self._fits(found, deadline - now):
                self._decide(DeadlineUnattainableError.code)
                raise self._unattainable(found, deadline - now)
            entry = self._dispatcher.admit(demand, deadline)
            self._open.add(entry)
            self._decide(ADMITTED)
        return Admission(self, entry, found.expected_s, found.bound_s)

    def close(self, wait_s: float = 0.0) -> None:
        """Ends all requests and lets the threads end after what they do now.

        Args:
            wait_s: Seconds to wait for the threads at most.
        """
        with self._workers.lock:
            self._closed = True
            for entry in list(self._open):
                self._dispatcher.fail(entry, _closing())
        self._workers.close(wait_s)

    @property
    def stats(self) -> Stats:
        """How it stands now."""
        with self._workers.lock:
            dispatcher = self._dispatcher
            return Stats(
                admitted=len(self._open),
                waiting=sum(1 for entry in self._open if not entry.pieces),
                running=len(dispatcher.running),
                slots=dispatcher.machine.slots,
                capacity=self._capacity,
                codecs_running=dispatcher.codecs_running,
                codecs_waiting=len(dispatcher.codecs_waiting),
                backlog_s=dispatcher.backlog(self.clock()),
                picture_bytes=dispatcher.room.held,
                picture_bytes_capacity=dispatcher.room.capacity,
                batches=dict(self._workers.batches),
                decisions=dict(self._decisions),
                late=dispatcher.late,
            )

    # For Admission

    def submit_codec(self, job: Job) -> None:
        """A codec stage of an admission wants to run."""
        with self._workers.lock:
            if _ended(job.entry, job.waiter):
                return
            job.entry.waiter = job.waiter
            self._dispatcher.submit(job, self.clock())
            self._workers.wake()

    def submit_tiles(self, entry: Entry, restoration: Restoration, waiter: Waiter) -> None:
        """The tiles of an admission may run."""
        with self._workers.lock:
            if _ended(entry, waiter):
                return
            entry.waiter = waiter
            self._dispatcher.offer(entry, restoration)
            self._workers.wake()

    def fail_entry(self, entry: Entry, error: BaseException) -> None:
        """Ends a request with an error."""
        with self._workers.lock:
            self._dispatcher.fail(entry, error)
            self._workers.wake()

    def expire_entry(self, entry: Entry, error: BaseException) -> None:
        """Ends a request whose time is up."""
        with self._workers.lock:
            if entry.alive:
                self._dispatcher.drop(entry, error)
                self._workers.wake()

    def close_entry(self, entry: Entry) -> None:
        """Takes back what a request holds."""
        with self._workers.lock:
            if entry in self._open:
                self._open.remove(entry)
                self._dispatcher.close(entry, self.clock())
                self._workers.wake()

    # Inside, under the lock

    def _check_places(self, now: float) -> None:
        if self._closed:
            raise _closing()
        if len(self._open) >= self._capacity:
            self._decide(QueueFullError.code)
            raise QueueFullError(
                f"{len(self._open)} requests are being worked on or wait, which is all that this server takes. "
                "Try again later.",
                retry_after(self._dispatcher.backlog(now) / 2),
            )

    def _decide(self, decision: str) -> None:
        self._decisions[decision] += 1
        self._observer.decided(decision)

    def _fits(self, found: Prediction, left: float) -> bool:
        return found.keeps_others and found.bound_s <= (1.0 - self._reserve) * left

    def _unattainable(self, found: Prediction, left: float) -> RequestError:
        if found.alone_s > (1.0 - self._reserve) * left:
            advice = "An idle server could not do it either: send a smaller picture or allow more time"
        else:
            advice = "An idle server could do it: try again later, or allow more time"
        others = "" if found.keeps_others else ", and requests that were promised theirs would be late"
        return DeadlineUnattainableError(
            f"It would be done within {found.bound_s * 1000:.0f} ms, {max(left, 0.0) * 1000:.0f} ms are left{others}. "
            f"{advice} with X-Deadline-Ms.",
            retry_after(found.bound_s - left if found.keeps_others else self._dispatcher.backlog(self.clock())),
        )


def _ended(entry: Entry, waiter: Waiter) -> bool:
    if entry.closed:
        waiter.failed(_closing())
    elif entry.error is not None:
        waiter.failed(entry.error)
    return not entry.alive


def _closing() -> NotReadyError:
    return NotReadyError("The server is closing. Try again later.", retry_after(1))

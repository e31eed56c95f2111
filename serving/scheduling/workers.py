"""The threads: one for each slot, one for each core for codecs, and one more for short codec jobs.

A thread sleeps on a condition of its kind, takes what the dispatcher begins, works without the lock, and reports. Work
that was given up keeps its thread until it returns, so runs never exceed the slots whatever clients do.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from serving.scheduling.dispatcher import Dispatcher, Run
from serving.scheduling.entry import Entry, Job
from serving.scheduling.execution import Outcome, execute
from serving.scheduling.observer import NOBODY, Observer
from serving.scheduling.priority import lower_priority

T = TypeVar("T")


class Workers:
    """Threads around a dispatcher, under one lock.

    Args:
        dispatcher: Decides what begins.
        clock: Seconds, monotonic.
        observer: Told of batches that ran as one.
    """

    def __init__(self, dispatcher: Dispatcher, clock: Callable[[], float], observer: Observer = NOBODY) -> None:
        self.lock = threading.Lock()
        self.batches: Counter[int] = Counter()
        self._dispatcher, self._clock, self._observer = dispatcher, clock, observer
        self._closed = False
        self._slots = threading.Condition(self.lock)
        self._codecs = threading.Condition(self.lock)
        self._express = threading.Condition(self.lock)
        machine = dispatcher.machine
        self._threads = [
            *(self._thread(f"slot-{number}", self._serve_slot, number) for number in range(machine.slots)),
            *(self._thread(f"codec-{number}", self._serve_codecs, self._codecs) for number in range(machine.cores)),
            self._thread("codec-express", self._serve_codecs, self._express),
        ]

    def start(self) -> None:
        """Starts the threads."""
        for thread in self._threads:
            thread.start()

    def close(self, wait_s: float) -> None:
        """Lets every thread end after what it does now, and waits so long for them at most."""
        with self.lock:
            self._closed = True
            self.wake()
        limit = time.monotonic() + wait_s
        for thread in self._threads:
            thread.join(max(0.0, limit - time.monotonic()))

    def wake(self) -> None:
        """Something changed that may let work begin; the lock is held."""
        dispatcher = self._dispatcher
        if self._closed:
            for condition in (self._slots, self._codecs, self._express):
                condition.notify_all()
            return
        if len(dispatcher.running) < dispatcher.machine.slots and dispatcher.tiles_ready:
            self._slots.notify_all()
        if waiting := len(dispatcher.codecs_waiting):
            # No more threads than there is work for: each that wakes in vain costs as much as a small request.
            self._codecs.notify(waiting)
            if dispatcher.codecs_running >= dispatcher.machine.cores:
                self._express.notify()

    def _thread(self, name: str, work: Callable[[T], None], argument: T) -> threading.Thread:
        def main() -> None:
            lower_priority()
            work(argument)

        return threading.Thread(target=main, name=name, daemon=True)

    def _next(self, condition: threading.Condition, pick: Callable[[float], tuple[T | None, float | None]]) -> T | None:
        """Waits until there is something to begin; None once closed. The lock is held."""
        while not self._closed:
            now = self._clock()
            found, until = pick(now)
            if found is not None:
                return found
            condition.wait(None if until is None else max(until - now, 0.0))
        return None

    def _serve_slot(self, slot: int) -> None:
        dispatcher = self._dispatcher
        with self.lock:
            run = self._next(self._slots, dispatcher.pick_run)
        while run is not None:
            outcome = execute(run, slot)
            if outcome.whole:
                # Before those who wait for it are told: what is counted is there when an answer is.
                self._observer.ran(run.model, run.tile, len(run.tiles), outcome.seconds)
            with self.lock:
                dispatcher.finish_run(run, self._clock())
                self._settle(run, outcome)
                self.wake()
                # Asleep, a thread holds neither pictures nor a network that may be unloaded meanwhile.
                del outcome
                run = None
                run = self._next(self._slots, dispatcher.pick_run)

    def _settle(self, run: Run, outcome: Outcome) -> None:
        """Learns from a batch that has ended, and tells who waited for it."""
        for entry, error in outcome.failures.items():
            self._dispatcher.fail(entry, error)
        if outcome.whole:
            # Seconds at full speed: what sharing the cores with codecs cost is in the machine's model already.
            run.model.costs.observe(run.tile, len(run.tiles), run.piece.done)
        self.batches[len(run.tiles)] += 1
        for entry in run.entries:
            _tell(entry)

    def _serve_codecs(self, condition: threading.Condition) -> None:
        dispatcher = self._dispatcher
        express = condition is self._express

        def pick(now: float) -> tuple[Job | None, float | None]:
            return dispatcher.pick_codec(now, express=express)

        with self.lock:
            job = self._next(condition, pick)
        while job is not None:
            result, error = _do(job)
            with self.lock:
                dispatcher.finish_codec(job, self._clock())
                if error is not None:
                    job.waiter.failed(error)
                else:
                    job.waiter.done(result)
                if job.entry.waiter is job.waiter:
                    job.entry.waiter = None
                del result, error
                self.wake()
                job = None
                job = self._next(condition, pick)


def _tell(entry: Entry) -> None:
    """Wakes who waits for the tiles of a request, once, after the last."""
    if entry.alive and entry.tiles_left == 0 and entry.tiles_running == 0 and entry.waiter is not None:
        entry.waiter.done(None)
        entry.waiter = None


def _do(job: Job) -> tuple[object, Exception | None]:
    if not job.entry.alive:
        return None, RuntimeError("the request has ended")
    try:
        return job.work(), None
    except Exception as error:  # handed to who waits
        return None, error

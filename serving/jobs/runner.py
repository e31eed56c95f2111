"""Works through the queue, a few files at a time: one runner in each worker process.

A claimed file is kept by renewing its lease several times a second of its life, whichever worker it is on; the same
look tells whether its job was deleted. A file that workers have died over twice is restored with nothing beside it, and
so only when nothing else waits. When idle, the queue is looked at less and less often, up to `IDLE_S`; a
submission at this worker wakes the runner at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial

from runtime.errors import MillisightError
from serving.errors import InternalError, refusal_of
from serving.jobs.claims import Claim, Claims
from serving.jobs.errors import JobsFullError, JobsUnavailableError, LeaseLostError
from serving.jobs.housekeeping import sweep
from serving.jobs.queue import JobQueue
from serving.jobs.restoring import Restore, RestoredFile
from serving.jobs.threads import StoreThreads

logger = logging.getLogger("bentoml.service.millisight")

REPORT_S = 0.25
BUSY_S, IDLE_S = 0.25, 5.0
SWEEP_S = 30.0
# Bounds of what a Retry-After may ask for.
SHORTEST_WAIT_S, LONGEST_WAIT_S = 1.0, 300.0
# Pauses between attempts to write down how a file ended, when the store does not answer.
_WRITE_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
_LATER = (429, 503)


class Runner:
    """Claims files, restores them, and writes down what became of them.

    Args:
        queue: What is swept.
        claims: Where files come from.
        restore: The service's own path for a picture.
        threads: For calls of the queue.
        at_once: Files in progress at a time.
    """

    def __init__(
        self, queue: JobQueue, claims: Claims, restore: Restore, threads: StoreThreads, *, at_once: int
    ) -> None:
        self._queue = queue
        self._claims = claims
        self._restore = restore
        self._threads = threads
        self._free = asyncio.Semaphore(at_once)
        self._wake = asyncio.Event()
        self._stopping = False
        self._work: dict[asyncio.Task[None], _Work] = {}
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins to work; needs a running event loop."""
        self._loops = [asyncio.create_task(self._dispatch()), asyncio.create_task(self._sweep())]

    async def stop(self) -> None:
        """Ends all work within a tile and gives its files back to the queue, for other workers or the next start."""
        self._stopping = True
        self._wake.set()
        for work in self._work.values():
            work.stop()
        if self._loops:
            dispatching, sweeping = self._loops
            sweeping.cancel()
            await asyncio.gather(dispatching, sweeping, *self._work, return_exceptions=True)

    def wake(self) -> None:
        """Makes an idle runner look at the queue now."""
        self._wake.set()

    def cancel(self, job_id: str) -> None:
        """Ends the work on a deleted job at once, if it is done here; elsewhere its runner sees that it is gone."""
        for work in self._work.values():
            if work.claim.job_id == job_id:
                work.stop()

    async def _dispatch(self) -> None:
        pause = BUSY_S
        while not self._stopping:
            await self._free.acquire()
            # Cleared before the look: what is submitted during it wakes the wait after it.
            self._wake.clear()
            claim = await self._claim()
            if claim is None:
                self._free.release()
                if not self._stopping:
                    pause = BUSY_S if await self._woken_within(pause) else min(IDLE_S, 2 * pause)
                continue
            pause = BUSY_S
            work = _Work(claim, self._claims, self._restore, self._threads)
            task = asyncio.create_task(work.run())
            self._work[task] = work
            task.add_done_callback(self._ended)
            if self._stopping:
                work.stop()
            if self._stopping or claim.alone:
                await asyncio.wait([task])

    async def _claim(self) -> Claim | None:
        if self._stopping:
            return None
        try:
            return await self._threads.run(self._claims.claim, alone=not self._work)
        except JobsUnavailableError as error:
            logger.warning("No job can be claimed: %s", error)
            return None
        except Exception:
            logger.exception("No job can be claimed")
            return None

    async def _woken_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    def _ended(self, task: asyncio.Task[None]) -> None:
        work = self._work.pop(task)
        self._free.release()
        # Somebody may have waited in the queue for this place.
        self._wake.set()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            where = (work.claim.index, work.claim.job_id)
            logger.error("File %d of job %s is left to another attempt", *where, exc_info=error)

    async def _sweep(self) -> None:
        while True:
            try:
                await self._threads.run(sweep, self._queue)
            except Exception as error:
                logger.warning("Expired jobs cannot be removed now: %s", error)
            await asyncio.sleep(SWEEP_S)


class _Work:
    """One claimed file on its way through the service."""

    def __init__(self, claim: Claim, claims: Claims, restore: Restore, threads: StoreThreads) -> None:
        self.claim = claim
        self._claims = claims
        self._restore = restore
        self._threads = threads
        self._progress = (0, 0)
        self._restoring: asyncio.Task[RestoredFile] | None = None
        self._stopped = False

    def stop(self) -> None:
        """Ends the restoration within one tile; the file goes back into the queue if there still is one."""
        self._stopped = True
        if self._restoring is not None:
            self._restoring.cancel()

    async def run(self) -> None:
        """Restores the file and writes down how it ended. Raises what makes that impossible."""
        keeping = asyncio.create_task(self._keep())
        try:
            end = await self._end()
            await self._write_down(end)
        except LeaseLostError as error:
            logger.info("%s", error)
        finally:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping

    async def _end(self) -> Callable[[], None]:
        """Restores; what comes back writes down how that ended."""
        data = await self._threads.run(self._claims.read_input, self.claim)
        if self._stopped:
            return partial(self._claims.give_back, self.claim)
        self._restoring = asyncio.ensure_future(self._restore(data, self.claim.options, self._note))
        del data  # the restoration lets go of it when it has decoded it
        try:
            restored = await self._restoring
        except asyncio.CancelledError:
            # Its own cancellation is not ours to count on: an attempt that cancels itself is used up.
            return partial(self._claims.give_back, self.claim, counts=not self._stopped)
        except MillisightError as error:
            return self._failure(error)
        except Exception as error:
            logger.exception("File %d of job %s met a defect", self.claim.index, self.claim.job_id, exc_info=error)
            text = f"The server met a defect of its own. Its log has the details under job {self.claim.job_id}."
            return partial(self._claims.fail, self.claim, InternalError.code, text)
        return partial(self._finish, restored)

    def _failure(self, error: MillisightError) -> Callable[[], None]:
        wait_s = wait_of(error)
        if wait_s is not None:
            return partial(self._claims.give_back, self.claim, delay_s=wait_s)
        refusal = refusal_of(error)
        return partial(self._claims.fail, self.claim, refusal.code, refusal.message)

    def _finish(self, restored: RestoredFile) -> None:
        try:
            self._claims.finish(self.claim, restored)
        except JobsFullError as error:
            self._claims.fail(self.claim, error.code, f"No room for the result. {error}")

    async def _write_down(self, end: Callable[[], None]) -> None:
        for pause in _WRITE_PAUSES_S:
            try:
                return await self._threads.run(end)
            except JobsUnavailableError as error:
                logger.warning("The end of file %d of job %s waits: %s", self.claim.index, self.claim.job_id, error)
                await asyncio.sleep(pause)
        return await self._threads.run(end)

    def _note(self, tiles_done: int, tiles: int) -> None:
        # Called from any thread: one assignment, read by `_keep`.
        self._progress = (tiles_done, tiles)

    async def _keep(self) -> None:
        """Renews the lease, writes progress down, and stops the work when the lease or the job is gone."""
        written, until = self._progress, self.claim.until
        while True:
            await asyncio.sleep(REPORT_S)
            now, progress = self._claims.clock(), self._progress
            due = progress != written or until - now < self._claims.lease_s * 2 / 3
            try:
                if due:
                    until = await self._threads.run(self._claims.hold, self.claim, *progress)
                    written = progress
                elif not await self._threads.run(self._claims.exists, self.claim):
                    return self.stop()
            except LeaseLostError:
                return self.stop()
            except JobsUnavailableError as error:
                if now >= until:
                    logger.warning("The lease of a file ran out: %s", error)
                    return self.stop()


def wait_of(error: MillisightError) -> float | None:
    """Seconds until a refused file is tried again; None if it is not."""
    refusal = refusal_of(error)
    header = {name.lower(): value for name, value in refusal.headers.items()}.get("retry-after", "")
    if refusal.status not in _LATER or not (header.isascii() and header.isdecimal()):
        return None
    return min(LONGEST_WAIT_S, max(SHORTEST_WAIT_S, float(header)))

"""Progress as server-sent events, whichever worker does the job: the stream follows the job's version in the store.

Events are at most four a second. A stream ends without `event: end` when the server stops, when the store does not
answer, or after `LONGEST_STREAM_S`; a client then connects again, as browsers do by themselves, and goes on with the
state as it is then.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

from serving.jobs.errors import JobGoneError, JobNotFoundError, JobsUnavailableError, TooManyStreamsError
from serving.jobs.job import Job
from serving.jobs.queue import JobQueue
from serving.jobs.threads import StoreThreads
from serving.jobs.views import job_view

EVENT_S = 0.25
KEEP_ALIVE_S = 10.0
RECONNECT_MS = 1000
LONGEST_STREAM_S = 3600.0
MAX_STREAMS = 100


class Streams:
    """The streams of one worker."""

    def __init__(self, queue: JobQueue, threads: StoreThreads) -> None:
        self._queue = queue
        self._threads = threads
        self._open = 0
        self._closing = False

    def close(self) -> None:
        """Ends all streams soon; from any thread."""
        self._closing = True

    def require_room(self) -> None:
        """Checks that one more stream may be opened.

        Raises:
            TooManyStreamsError: This worker has `MAX_STREAMS`.
        """
        if self._open >= MAX_STREAMS:
            text = f"This worker has {MAX_STREAMS} event streams, which is the most. GET the job instead."
            raise TooManyStreamsError(text, {"Retry-After": "5"})

    async def follow(self, job: Job) -> AsyncIterator[bytes]:
        """The events of a job, from its state now to its end."""
        self._open += 1
        try:
            async for piece in self._events(job):
                yield piece
        finally:
            self._open -= 1

    async def _events(self, job: Job) -> AsyncIterator[bytes]:
        version: int | None = -1
        shown = b""
        sent_at = started = time.monotonic()
        yield f"retry: {RECONNECT_MS}\n\n".encode()
        while not self._closing and time.monotonic() - started < LONGEST_STREAM_S:
            try:
                seen = await self._threads.run(self._queue.store.version, job.id)
                now = await self._now(job) if seen != version else job
            except JobsUnavailableError:
                return
            if seen != version:
                version = seen
                # A job that is gone is shown as it was last.
                job = now or (job if job.finished else job.but(cancelled=True))
                event = _event("progress", job)
                if event != shown:  # a renewed lease is a new version as well
                    yield event
                    shown, sent_at = event, time.monotonic()
                if now is None or job.finished:
                    yield _event("end", job)
                    return
            elif time.monotonic() - sent_at >= KEEP_ALIVE_S:
                yield b": still there\n\n"
                sent_at = time.monotonic()
            await asyncio.sleep(EVENT_S)

    async def _now(self, job: Job) -> Job | None:
        try:
            return await self._threads.run(self._queue.get, job.id, job.owner)
        except (JobGoneError, JobNotFoundError):
            return None


def _event(name: str, job: Job) -> bytes:
    return f"event: {name}\ndata: {json.dumps(job_view(job), ensure_ascii=False)}\n\n".encode()

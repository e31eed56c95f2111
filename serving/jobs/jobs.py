"""Jobs of one worker, ready to be wired into the service."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import threading
from types import FrameType
from typing import Any

from starlette.routing import Route

from serving.errors import SettingsError
from serving.jobs.claims import LEASE_S, Claims
from serving.jobs.errors import JobsUnavailableError
from serving.jobs.events import Streams
from serving.jobs.housekeeping import recover
from serving.jobs.queue import CountFiles, JobQueue, count_nothing
from serving.jobs.redis_store import RedisStore
from serving.jobs.restoring import ParseOptions, Restore
from serving.jobs.routes import JobRoutes
from serving.jobs.runner import Runner
from serving.jobs.sqlite_store import SqliteStore
from serving.jobs.store import Holdings, Store
from serving.jobs.threads import StoreThreads
from serving.options import parse_options
from serving.settings import Settings

OFF = "off"
SQLITE = "sqlite"


def open_store(settings: Settings) -> Store:
    """Opens the store that the settings name.

    Raises:
        SettingsError: Jobs are off, or the store cannot be opened.
    """
    if settings.jobs == OFF:
        raise SettingsError("Jobs are switched off. Set MILLISIGHT_JOBS=sqlite.")
    if settings.jobs != SQLITE:
        return RedisStore(settings.jobs, keep_s=settings.job_ttl_s)
    folder = settings.state / "jobs"
    try:
        return SqliteStore(folder)
    except (OSError, sqlite3.Error, JobsUnavailableError) as error:
        raise SettingsError(
            f"The jobs in {folder} cannot be opened ({error}). Make it writable, or name another MILLISIGHT_STATE."
        ) from error


class Jobs:
    """Jobs of one worker: mount `routes`, await `start` once in the loop that serves, `stop` at the end.

    Args:
        settings: With `jobs` other than "off".
        restore: The service's own path for one picture.
        parse: Refuses wrong options at the submission.
        at_once: Files in progress at a time; by default one more than the worker has slots, so that one is decoded or
            encoded while the others are in the network.
        lease_s: Seconds after which a file whose worker is silent is taken up by another one.
        count: Told of files that have ended, from any thread.

    Raises:
        SettingsError: The store cannot be opened.
    """

    def __init__(
        self,
        settings: Settings,
        restore: Restore,
        *,
        parse: ParseOptions = parse_options,
        at_once: int | None = None,
        lease_s: float = LEASE_S,
        count: CountFiles = count_nothing,
    ) -> None:
        self._store = open_store(settings)
        self._threads = StoreThreads()
        ttl_s, disk_bytes = settings.job_ttl_s, settings.job_disk_bytes
        self.queue = JobQueue(self._store, ttl_s=ttl_s, disk_bytes=disk_bytes, count=count)
        claims = Claims(self.queue, lease_s=lease_s)
        self._streams = Streams(self.queue, self._threads)
        self._runner = Runner(self.queue, claims, restore, self._threads, at_once=at_once or settings.slots + 1)
        endpoints = JobRoutes(
            settings, parse, self.queue, self._streams, self._threads, self._runner.wake, self._runner.cancel
        )
        self.routes: list[Route] = endpoints.routes()
        self._signals = _AtSigterm(self._streams.close)

    async def start(self) -> None:
        """Puts in order what was left by earlier processes and begins to work."""
        await self._threads.run(recover, self.queue)
        self._runner.start()
        self._signals.install()

    async def holdings(self) -> Holdings | None:
        """How much the jobs of all workers are now; None while the store does not answer."""
        try:
            return await self._threads.run(self._store.holdings)
        except JobsUnavailableError:
            return None

    async def stop(self) -> None:
        """Ends work within a tile, gives its files back to the queue and closes the store."""
        self._signals.uninstall()
        self._streams.close()
        await self._runner.stop()
        await asyncio.to_thread(self._threads.close)
        self._store.close()


class _AtSigterm:
    """Calls something when the process is told to end, before what else is done then.

    uvicorn waits for open answers to end before it says that it stops; an event stream does not end by itself.
    """

    def __init__(self, call: Any) -> None:
        self._call = call
        self._previous: Any = None
        self._installed = False

    def install(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # handlers belong to the main thread; then whoever runs us ends connections
        self._previous = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, self._handle)
        self._installed = True

    def uninstall(self) -> None:
        if self._installed and signal.getsignal(signal.SIGTERM) == self._handle:
            signal.signal(signal.SIGTERM, self._previous or signal.SIG_DFL)
        self._installed = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._call()
        if callable(self._previous):
            self._previous(number, frame)
        elif self._previous == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)

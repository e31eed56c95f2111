"""Calls of the store from the event loop: on threads of their own, so that a slow store holds up nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 4


class StoreThreads:
    """Runs calls that may wait for a disk or a socket."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="jobs")

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Awaits `call(*args, **kwargs)`; a call that has begun ends even if the caller is cancelled."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(call, *args, **kwargs))

    async def each(self, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
        """The pieces of an iterator that reads from the store."""
        while (piece := await self.run(next, pieces, b"")) != b"":
            yield piece

    def close(self) -> None:
        """Waits for calls in progress."""
        self._pool.shutdown(wait=True)

"""A server with the routes of jobs alone; `python worker.py PORT`, settings from the environment.

Its restoration obeys the bytes of the file: words such as `tiles=40`, `fail`, `defect`, `late`, `die`; the result is
`restored:` and the bytes. `X-Client` names the client. Each tile takes 20 ms. What was begun and ended is
written into `journal` in the state folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

sys.path.insert(0, str(Path(__file__).parents[3]))

from runtime.errors import ImageError
from serving.guard import Client, error_handlers, guard_middleware
from serving.jobs import JobOptions, Jobs, Progress, RestoredFile
from serving.scheduling.errors import QueueFullError
from serving.settings import Settings

TILE_S = 0.02


class Restoration:
    """Pretends; see the module."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._late: set[bytes] = set()

    async def __call__(self, data: bytes, options: JobOptions, progress: Progress) -> RestoredFile:
        text = data.decode("latin-1")
        self._note("begin", data)
        tiles = int(found[1]) if (found := re.search(r"tiles=(\d+)", text)) else 1
        try:
            for tile in range(tiles):
                await asyncio.sleep(TILE_S)
                progress(tile + 1, tiles)
        except asyncio.CancelledError:
            self._note("cancelled", data)
            raise
        if "die" in text:
            os.kill(os.getpid(), signal.SIGKILL)
        if "fail" in text:
            raise ImageError("The picture is cut short.", code="corrupt", status=422)
        if "defect" in text:
            raise ValueError("a secret")
        if "late" in text and data not in self._late:
            self._late.add(data)
            raise QueueFullError("Busy.", {"Retry-After": "1"})
        self._note("end", data)
        return RestoredFile(b"restored:" + data, "image/png", f"{options.task}-model")

    def _note(self, what: str, data: bytes) -> None:
        with self._journal.open("ab") as journal:
            journal.write(what.encode() + b" " + data[:40] + b"\n")


class Named:
    """Puts another client where the guard has put one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = dict(scope.get("headers", ())).get(b"x-client")
        if name is not None:
            scope.setdefault("state", {})["client"] = Client(name.decode(), False)
        await self._app(scope, receive, send)


def main() -> None:
    settings = Settings.from_environment()
    jobs = Jobs(settings, Restoration(settings.state / "journal"), lease_s=1.5)

    @contextlib.asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        await jobs.start()
        yield
        await jobs.stop()

    app = Starlette(
        routes=[*jobs.routes],
        middleware=[*guard_middleware(settings, lambda _: None), Middleware(Named)],
        exception_handlers=error_handlers(()),
        lifespan=life,
    )
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")


if __name__ == "__main__":
    main()

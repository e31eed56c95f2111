"""Two small BentoML services written the way its documentation shows, for the tests beside this file."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from typing import Any

import bentoml
from bentoml.exceptions import InvalidArgument
from PIL.Image import Image
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TIMEOUT_S = 2
THREADS = 1


@bentoml.service(workers=1, threads=THREADS, traffic={"timeout": TIMEOUT_S})
class Pictures:
    """Takes pictures and texts."""

    def __init__(self) -> None:
        self._running = 0
        self._lock = threading.Lock()

    @bentoml.api
    def size(self, image: Image) -> list[int]:
        return list(image.size)

    @bentoml.api
    def length(self, text: str) -> int:
        return len(text)

    @bentoml.api
    def refuse(self, text: str) -> str:
        raise InvalidArgument(f"{text} is refused")

    @bentoml.api
    def work(self, seconds: float) -> str:
        with self._lock:
            self._running += 1
        time.sleep(seconds)
        with self._lock:
            self._running -= 1
        return "done"

    @bentoml.api
    async def running(self) -> int:
        return self._running

    @bentoml.api
    async def finished_futures(self) -> int:
        """How many futures are done and still held by something."""
        gc.collect()
        return sum(type(held) is asyncio.Future and held.done() for held in gc.get_objects())


class Sign:
    """Middleware that signs every answer it sees."""

    def __init__(self, app: ASGIApp, **_: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def signed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-signed", b"yes")]
            await send(message)

        await self._app(scope, receive, signed)


@bentoml.service(
    workers=2,
    traffic={"timeout": TIMEOUT_S, "max_concurrency": 2},
    http={"cors": {"enabled": True, "access_control_allow_origins": ["https://friend.example"]}},
)
class Crowded:
    """Two workers, two requests at a time."""

    @bentoml.api
    async def nap(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "rested"


Crowded.add_asgi_middleware(Sign)  # type: ignore[attr-defined]

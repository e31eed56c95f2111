"""A small application behind the guard, asked in memory or over a real socket."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from serving.guard import (
    ByteBudget,
    client_of,
    error_handlers,
    guard_middleware,
    read_image_bytes,
    require_admin,
)
from serving.settings import Settings

BIG = 32 * 2**20


class Guarded:
    """The application, and what its guard counted."""

    def __init__(self, **settings: Any) -> None:
        self.settings = Settings(**settings)
        self.counted: list[str] = []
        self.budget = ByteBudget(self.settings.body_bytes_total)
        middleware = guard_middleware(self.settings, self.counted.append, self.budget)
        routes = [
            Route("/", _hello),
            Route("/v1/who", _who),
            Route("/v1/admin", _admin, methods=["POST"]),
            Route("/v1/defect", _defect),
            Route("/v1/defects", _defects),
            Route("/v1/late-defect", _late_defect),
            Route("/v1/big", _big),
            Route("/v1/medium", _medium),
            Route("/v1/events", _events),
            Route("/v1/page", _page),
            Route("/v1/wait", _wait, methods=["POST"]),
            Route("/v1/size", self._size, methods=["POST"]),
        ]
        self.app = Starlette(routes=routes, middleware=middleware, exception_handlers=error_handlers(["/v1/who"]))

    async def _size(self, request: Request) -> Response:
        settings = self.settings
        data = await read_image_bytes(request, max_bytes=settings.max_body_bytes, timeout_s=settings.read_timeout)
        return JSONResponse({"size": len(data), "held": self.budget.held})

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, **options)

        return asyncio.run(send())


async def _hello(request: Request) -> Response:
    return JSONResponse({"name": client_of(request).name})


async def _who(request: Request) -> Response:
    client = client_of(request)
    return JSONResponse({"name": client.name, "admin": client.admin})


async def _admin(request: Request) -> Response:
    return JSONResponse({"name": require_admin(request).name})


async def _defect(_: Request) -> Response:
    raise ValueError("a secret")


async def _defects(_: Request) -> Response:
    raise ExceptionGroup("a secret", [ValueError("a secret"), KeyError("a secret")])


async def _late_defect(_: Request) -> Response:
    async def half() -> AsyncIterator[bytes]:
        yield b"half"
        raise ValueError("a secret")

    return StreamingResponse(half())


async def _big(_: Request) -> Response:
    return Response(b"x" * BIG, media_type="image/png")


async def _wait(_: Request) -> Response:
    await asyncio.sleep(3600)
    return Response()


async def _medium(_: Request) -> Response:
    return Response(b"x" * 100_000)


async def _events(_: Request) -> Response:
    async def events() -> AsyncIterator[bytes]:
        for number in range(12):
            yield f"data: {number}\n\n".encode()
            await asyncio.sleep(0.1)

    return StreamingResponse(events(), media_type="text/event-stream")


async def _page(_: Request) -> Response:
    headers = {"Content-Security-Policy": "default-src 'self'", "Cache-Control": "max-age=60"}
    return Response("<p>", media_type="text/html", headers=headers)


@contextmanager
def serving(app: Any) -> Iterator[tuple[str, int]]:
    """The application on a real socket, under the server that BentoML uses."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = server.force_exit = True
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture(scope="session")
def guarded() -> Callable[..., Guarded]:
    return Guarded


@pytest.fixture(scope="session")
def on_socket() -> Callable[..., Any]:
    return serving

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message

from serving.guard import error_handlers, guard_middleware
from serving.guard.counting import CountingMiddleware
from serving.guard.keys import new_key, write_keys
from serving.settings import Settings


class Counted:
    """An application whose requests are counted, behind the whole guard."""

    def __init__(self, **settings: Any) -> None:
        self.counts: Counter[tuple[str, str, int]] = Counter()
        guard = guard_middleware(Settings(**settings), lambda _: None, count_request=self.count)
        routes = [
            Route("/v1/jobs/{id}/files/{index}", self.answer),
            Route("/v1/jobs/{id}", self.answer),
            Route("/v1/jobs/{id}", self.answer, methods=["DELETE"]),
            Route("/v1/defect", self.defect),
        ]
        self.app = Starlette(routes=routes, middleware=guard, exception_handlers=error_handlers([]))

    def count(self, route: str, method: str, code: int) -> None:
        self.counts[route, method, code] += 1

    async def answer(self, _: Request) -> Response:
        return Response(b"")

    async def defect(self, _: Request) -> Response:
        raise ValueError("a defect")

    def ask(self, method: str, path: str, app: ASGIApp | None = None) -> None:
        async def send() -> None:
            transport = httpx.ASGITransport(app or self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                await client.request(method, path)

        asyncio.run(send())


def test_a_route_is_counted_by_its_template_and_anything_else_is_other() -> None:
    counted = Counted()
    for path in ("/v1/jobs/1", "/v1/jobs/2?x=3", "/v1/jobs/1/files/7", "/v1/jobs/1/nope", "/v1/jobs/", "/%0A", "/v1"):
        counted.ask("GET", path)
    assert counted.counts == {
        ("/v1/jobs/{id}", "GET", 200): 2,
        ("/v1/jobs/{id}/files/{index}", "GET", 200): 1,
        ("other", "GET", 404): 4,
    }


def test_methods_are_those_of_http_or_other() -> None:
    counted = Counted()
    for method in ("HEAD", "DELETE", "PUT", "PROPFIND", "BREW", "get"):
        counted.ask(method, "/v1/jobs/1")
    assert counted.counts == {
        ("/v1/jobs/{id}", "HEAD", 200): 1,
        ("/v1/jobs/{id}", "DELETE", 200): 1,
        ("/v1/jobs/{id}", "PUT", 405): 1,
        ("/v1/jobs/{id}", "other", 405): 2,
        ("/v1/jobs/{id}", "GET", 200): 1,  # httpx writes methods in capitals
    }


def test_what_the_guard_refuses_and_what_breaks_is_counted(tmp_path: Any) -> None:
    counted = Counted()
    counted.ask("GET", "/v1/defect")
    write_keys(tmp_path / "keys.json", [new_key("ann")[1]])
    closed = Counted(api_keys=tmp_path / "keys.json")
    closed.ask("GET", "/v1/jobs/1")
    assert counted.counts == {("/v1/defect", "GET", 500): 1}
    assert closed.counts == {("/v1/jobs/{id}", "GET", 401): 1}


def test_an_answer_is_counted_before_its_client_can_know_of_it() -> None:
    counted = Counted()
    known: list[int] = []

    async def main() -> None:
        async def receive() -> Message:
            return {"type": "http.request"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                known.append(counted.counts["/v1/jobs/{id}", "GET", 200])

        scope = {"type": "http", "method": "GET", "path": "/v1/jobs/1", "headers": [], "query_string": b""}
        await counted.app(scope, receive, send)

    asyncio.run(main())
    assert known == [1]


@pytest.mark.parametrize("raises", [True, False])
def test_a_request_that_nobody_answered_is_a_500_as_the_server_makes_it(raises: bool) -> None:
    counted = Counted()

    async def silent(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001 - ASGI's signature
        if raises:
            raise ValueError("a defect")

    class Silence:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        __call__ = staticmethod(silent)

    layers = [Middleware(CountingMiddleware, count=counted.count), Middleware(Silence)]
    with contextlib.suppress(AssertionError):  # httpx misses the answer, as a server would
        counted.ask("GET", "/", Starlette(middleware=layers))
    assert counted.counts == {("other", "GET", 500): 1}


def test_other_kinds_of_connections_are_not_counted() -> None:
    counted = Counted()

    async def main() -> None:
        async def nothing() -> Message:
            return {"type": "websocket.connect"}

        async def sink(message: Message) -> None: ...

        scope = {"type": "websocket", "path": "/", "headers": [], "query_string": b"", "subprotocols": []}
        await counted.app(scope, nothing, sink)

    asyncio.run(main())
    assert not counted.counts

"""Counts every request that reaches the application, with what the guard refuses, by route, method and status.

Labels are from fixed sets: a path that is no route's is "other", as is a method that HTTP does not commonly have.
Not seen here: what uvicorn answers itself (400 to what is no HTTP), and BentoML's own /livez, /readyz and their like.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import InternalError

OTHER = "other"
METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"})

CountRequest = Callable[[str, str, int], None]
"""Told the route's template, the method and the status of an answer."""


class CountingMiddleware:
    """Counts a request when its answer begins, so that a client never knows of an answer that is not counted."""

    def __init__(self, app: ASGIApp, count: CountRequest) -> None:
        self._app = app
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        route, method = template_of(scope), method_of(scope)
        counted = False

        async def send_and_count(message: Message) -> None:
            nonlocal counted
            if message["type"] == "http.response.start" and not counted:
                counted = True
                self._count(route, method, message["status"])
            await send(message)

        try:
            await self._app(scope, receive, send_and_count)
        finally:
            # Nothing was answered, so the server does, or the client has left and nobody can.
            if not counted:
                self._count(route, method, InternalError.status)


def template_of(scope: Scope) -> str:
    """The path of the route that a request asks for, as "/v1/jobs/{id}", whatever its method; else "other"."""
    app: Starlette = scope["app"]
    for route in app.routes:
        if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
            return route.path
    return OTHER


def method_of(scope: Scope) -> str:
    """The method of a request, if it is a common one; else "other"."""
    method: str = scope["method"]
    return method if method in METHODS else OTHER

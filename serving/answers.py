"""Errors as JSON and the headers every answer carries."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.errors import MillisightError
from serving.errors import InternalError, MethodNotAllowedError, NotFoundError, RequestError, refusal_of

logger = logging.getLogger("bentoml.service.millisight")

REQUEST_ID = "X-Request-Id"
# What we repeat into headers and logs of a client's own id.
_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# How much of an unwanted body is read and thrown away, so that the client can see why it was refused.
LINGER_BYTES = 64 * 2**20
LINGER_S = 2.0
# Asked every few seconds by machines.
_UNLOGGED = frozenset({"/metrics"})

# BentoML answers GET there; other methods come to us.
BENTOML_PATHS = frozenset({"/livez", "/readyz", "/healthz", "/schema.json"})

Handler = Callable[[Request, Exception], Awaitable[Response]]


class RequestIdMiddleware:
    """Gives a request its id (the client's own when it is harmless), its answer fixed headers, and the log a line."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _SAFE_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        start, status = time.monotonic(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            if scope["path"] not in _UNLOGGED:
                # repr: a path may hold line breaks, and nobody but us writes lines into our log.
                line = (request_id, scope["method"], scope["path"][:200], status, (time.monotonic() - start) * 1000)
                logger.info("%s %s %r %d %.1f ms", *line)


class ClosingResponse(JSONResponse):
    """An answer to a body that will not be read to its end; the connection is closed after it.

    Closing at once would reset the connection, and the client would see a broken pipe instead of the answer. So the
    answer is sent, what still arrives is thrown away for a moment, then the connection ends.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Sends itself, then lingers."""
        self.headers["Connection"] = "close"
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                await _discard(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _discard(receive: Receive) -> None:
    left = LINGER_BYTES
    while left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return


def error_response(request: Request, error: Exception) -> Response:
    """Writes an error as `{"error": {"code", "message", "request_id"}}`."""
    refusal = refusal_of(error)
    request_id = getattr(request.state, "request_id", "")
    if refusal.status >= 500:
        logger.error("Request %s failed with %d", request_id, refusal.status, exc_info=error)
    body = {"error": {"code": refusal.code, "message": refusal.message, "request_id": request_id}}
    kind = ClosingResponse if refusal.closes else JSONResponse
    # A defect's answer is written outside the middleware above, so the id is set here as well.
    return kind(body, status_code=refusal.status, headers={REQUEST_ID: request_id, **refusal.headers})


def error_handlers(paths: Sequence[str]) -> dict[type[Exception], Handler]:
    """Handlers for everything a route can raise.

    Args:
        paths: All routes, listed to who asks for another.
    """

    async def answer(request: Request, error: Exception) -> Response:
        return error_response(request, error)

    async def answer_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return error_response(request, _own_error(request, error, paths))

    return {MillisightError: answer, HTTPException: answer_http, Exception: answer}


def _own_error(request: Request, error: HTTPException, paths: Sequence[str]) -> RequestError:
    path = request.url.path[:200]
    if request.scope["path"] in BENTOML_PATHS:
        return MethodNotAllowedError(f"{path} does not answer {request.method}. Use GET.", {"Allow": "GET, HEAD"})
    if error.status_code == NotFoundError.status:
        return NotFoundError(f"There is nothing at {path!r}. Paths: {', '.join(paths)}.")
    if error.status_code == MethodNotAllowedError.status:
        allowed = (error.headers or {}).get("Allow", "")
        return MethodNotAllowedError(f"{path} does not answer {request.method}. Use {allowed}.", error.headers)
    return InternalError(str(error.detail))

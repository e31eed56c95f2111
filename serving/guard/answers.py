"""Errors as JSON, of one form everywhere."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.errors import MillisightError
from serving.errors import (
    ClientGoneError,
    InternalError,
    MethodNotAllowedError,
    NotFoundError,
    RequestError,
    refusal_of,
)
from serving.guard.identity import REQUEST_ID, logger

# How much of an unwanted body is read and thrown away, so that the client can see why it was refused.
LINGER_BYTES = 64 * 2**20
LINGER_S = 2.0
# A refused body up to this size is left to the server to skip; larger ones and endless ones end the connection.
SKIPPED_BYTES = 2**16

# BentoML answers GET there; other methods come to us.
BENTOML_PATHS = frozenset({"/livez", "/readyz", "/healthz", "/schema.json"})

Handler = Callable[[Request, Exception], Awaitable[Response]]
Count = Callable[[str], None]


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
    # A 503 or 504 is no defect: under load they would fill the log, and the line of the request has the status.
    if refusal.status == InternalError.status:
        logger.error("Request %s failed with %d", request_id, refusal.status, exc_info=error)
    body = {"error": {"code": refusal.code, "message": refusal.message, "request_id": request_id}}
    kind = ClosingResponse if refusal.closes or _leaves_much_unread(request) else JSONResponse
    # Where an error is answered outside the guard (a defect of the guard), the id is set all the same.
    return kind(body, status_code=refusal.status, headers={REQUEST_ID: request_id, **refusal.headers})


def _leaves_much_unread(request: Request) -> bool:
    if getattr(request.state, "body_complete", True):
        return False
    declared = request.headers.get("content-length", "")
    if declared.isdecimal():
        return int(declared) > SKIPPED_BYTES
    return "transfer-encoding" in request.headers


def count_nothing(reason: str) -> None:
    """A `Count` that takes no notice."""


def error_handlers(paths: Sequence[str], count: Count = count_nothing) -> dict[type[Exception], Handler]:
    """Starlette's handlers for everything a route can raise.

    Args:
        paths: All routes, listed to who asks for another.
        count: Told the reason of every refusal of a route; defects are told by `ErrorMiddleware`.
    """

    async def answer(request: Request, error: Exception) -> Response:
        return error_response(request, error)

    async def refuse(request: Request, error: Exception) -> Response:
        count(refusal_of(error).reason)
        return error_response(request, error)

    async def refuse_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return await refuse(request, _own_error(request, error, paths))

    return {MillisightError: refuse, HTTPException: refuse_http, Exception: answer}


def _own_error(request: Request, error: HTTPException, paths: Sequence[str]) -> RequestError:
    path = request.url.path[:200]
    if request.scope["path"] in BENTOML_PATHS:
        return MethodNotAllowedError(f"{path} does not answer {request.method}. Use GET.", {"Allow": "GET, HEAD"})
    if error.status_code == NotFoundError.status:
        return NotFoundError(f"There is nothing at {path!r}. Paths: {', '.join(paths)}.")
    if error.status_code == MethodNotAllowedError.status:
        allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
        return MethodNotAllowedError(f"{path} does not answer {request.method}. Use {allowed}.", {"Allow": allowed})
    return InternalError(str(error.detail))


class ErrorMiddleware:
    """Answers what the layers below raise: the guard's own refusals, and defects of routes.

    Starlette's handler of defects stands outside all middleware, so its 500 would lack what the guard adds (CORS, or a
    browser shows a network error in its place), and it raises the defect again, which ends the connection.
    """

    def __init__(self, app: ASGIApp, count: Count) -> None:
        self._app = app
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception as error:
            if started:
                # Half an answer cannot be taken back; the server breaks the connection so that the client sees it.
                raise
            if isinstance(error, ClientDisconnect):
                error = ClientGoneError("The client hung up while sending.")
            self._count(refusal_of(error).reason)
            await error_response(Request(scope, receive), error)(scope, receive, send)

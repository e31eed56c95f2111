"""A request's id, and its line in the log."""

from __future__ import annotations

import logging
import re
import time
import uuid
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("bentoml.service.millisight")

REQUEST_ID = "X-Request-Id"
# What we repeat into headers and logs of a client's own id.
_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Asked every few seconds by machines.
_UNLOGGED = frozenset({"/metrics"})


@dataclass(frozen=True)
class Client:
    """Who asks.

    Attributes:
        name: Of the key, never the key itself.
        admin: May load, unload and reload models.
    """

    name: str
    admin: bool


ANONYMOUS = Client("anonymous", admin=False)


class RequestIdMiddleware:
    """Gives a request its id (the client's own when it is harmless) and the log a line.

    The line holds id, client, method, path, status and time: no headers, where keys are, and no query.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _SAFE_ID.fullmatch(given) else uuid.uuid4().hex
        state = scope.setdefault("state", {})
        state.update(request_id=request_id, client=ANONYMOUS, body_complete=False)
        start, status = time.monotonic(), 0

        async def receive_and_note() -> Message:
            message = await receive()
            if not message.get("more_body", False):
                state["body_complete"] = True
            return message

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        try:
            await self._app(scope, receive_and_note, send_with_id)
        finally:
            if scope["path"] not in _UNLOGGED:
                milliseconds = (time.monotonic() - start) * 1000
                # repr: a path may hold line breaks, and nobody but us writes lines into our log.
                line = (request_id, state["client"].name, scope["method"], scope["path"][:200], status, milliseconds)
                logger.info("%s %s %s %r %d %.1f ms", *line)


def client_of(request: Request) -> Client:
    """Who asks; `ANONYMOUS` where no key is asked for."""
    client: Client = getattr(request.state, "client", ANONYMOUS)
    return client

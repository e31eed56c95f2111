"""Connections that never send a whole request: they cost a file descriptor each until somebody ends them.

uvicorn ends a connection that is silent after an answer, but waits for ever for the first request of a new one, also
for one whose header comes byte by byte. Such connections never reach an application, so they are looked for where
uvicorn keeps all of them, from time to time, beginning with the first request that does reach us.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any
from weakref import WeakKeyDictionary

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.guard.answers import Count
from serving.guard.identity import logger
from serving.guard.transports import Transport, transport_of

IDLE = "idle_connection"
# Looks per timeout; a connection lives at most this fraction longer.
_LOOKS = 4


class ConnectionsMiddleware:
    """Ends connections that have been without a request for too long. Stands next to the server."""

    def __init__(self, app: ASGIApp, timeout_s: float, count: Count) -> None:
        self._app = app
        self._timeout_s = timeout_s
        self._count = count
        self._loop: asyncio.AbstractEventLoop | None = None
        # Since when a connection has been waiting, and after which request (None: before its first).
        self._waiting: WeakKeyDictionary[Any, tuple[int | None, float]] = WeakKeyDictionary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI connection."""
        loop = asyncio.get_running_loop()
        if scope["type"] == "http" and self._loop is not loop:
            transport = transport_of(receive)
            connections = None if transport is None else _siblings(transport)
            self._loop = loop
            if connections is None:
                logger.warning("The server is not uvicorn: connections without a request are not ended.")
            else:
                loop.call_later(self._timeout_s / _LOOKS, self._look, loop, connections)
        await self._app(scope, receive, send)

    def _look(self, loop: asyncio.AbstractEventLoop, connections: Collection[Any]) -> None:
        now = loop.time()
        for protocol in list(connections):
            cycle = protocol.cycle
            if cycle is not None and not cycle.response_complete:
                self._waiting.pop(protocol, None)
                continue
            request = None if cycle is None else id(cycle)
            known = self._waiting.get(protocol)
            if known is None or known[0] != request:
                self._waiting[protocol] = (request, now)
            elif now - known[1] >= self._timeout_s:
                self._count(IDLE)
                protocol.transport.abort()
        loop.call_later(self._timeout_s / _LOOKS, self._look, loop, connections)


def _siblings(transport: Transport) -> Collection[Any] | None:
    """All connections of this server: uvicorn's protocols share one set of them."""
    connections = getattr(transport.get_protocol(), "connections", None)
    usable = isinstance(connections, set) and all(
        hasattr(protocol, "cycle") and hasattr(protocol, "transport") for protocol in connections
    )
    return connections if usable else None

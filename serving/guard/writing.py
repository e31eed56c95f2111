"""Clients that do not read their answer: each piece of it has a time to be taken, then the connection is cut.

An answer handed to the server in one message is buffered whole, however slowly the client reads. So it is handed over
in pieces, the next one when the client has taken the one before. Time is given to a piece, never to an answer: a stream
of small events may last for hours.

The server's own way to end a connection waits until the client has read what is buffered, which is for ever. So the
connection's transport is found and aborted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.guard.answers import Count
from serving.guard.identity import logger
from serving.guard.transports import Transport, transport_of

PIECE_BYTES = 256 * 1024
SLOW_READER = "slow_reader"
_FIRST_LOOK_S = 0.01
_LONGEST_LOOK_S = 0.25


class SlowReaderError(Exception):
    """The connection has to end, and only the server can reach it."""


class WriteTimeoutMiddleware:
    """Bounds the time that a piece of an answer may wait for its client. Stands outermost, next to the server."""

    def __init__(self, app: ASGIApp, timeout_s: float, count: Count) -> None:
        self._app = app
        self._timeout_s = timeout_s
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI connection.

        Raises:
            SlowReaderError: The client does not read, and the transport is not known; the server closes by its means.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        transport = transport_of(receive)
        cut = False

        async def send_in_time(message: Message) -> None:
            nonlocal cut
            try:
                for piece in _pieces(message):
                    if cut:  # as servers do when a client has left: what comes later is dropped
                        return
                    async with asyncio.timeout(self._timeout_s):
                        await send(piece)
                        if transport is not None and not piece.get("more_body", True):
                            await _until_taken(transport)
            except TimeoutError:
                cut = True
                self._count(SLOW_READER)
                request_id = scope.get("state", {}).get("request_id", "")
                logger.warning("%s cut off: its client took nothing for %g s", request_id, self._timeout_s)
                if transport is not None:
                    transport.abort()

        await self._app(scope, receive, send_in_time)
        if cut and transport is None:
            raise SlowReaderError(f"The client took nothing of its answer for {self._timeout_s:g} s.")


def _pieces(message: Message) -> Iterator[Message]:
    body = message.get("body", b"")
    if len(body) <= PIECE_BYTES:
        yield message
        return
    view = memoryview(body)
    for start in range(0, len(view), PIECE_BYTES):
        piece = bytes(view[start : start + PIECE_BYTES])
        more = start + PIECE_BYTES < len(view) or message.get("more_body", False)
        yield {"type": message["type"], "body": piece, "more_body": more}


async def _until_taken(transport: Transport) -> None:
    """Waits until the last piece has left the buffer, about which the server tells nobody."""
    look_s = _FIRST_LOOK_S
    while transport.get_write_buffer_size() > 0:
        await asyncio.sleep(look_s)
        look_s = min(2 * look_s, _LONGEST_LOOK_S)

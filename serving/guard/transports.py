"""The transport behind a request: ASGI has no word for ending a connection at once, asyncio has."""

from __future__ import annotations

import asyncio
import inspect
from typing import Protocol, cast

from starlette.types import Receive


class Transport(Protocol):
    """What is used of an asyncio transport."""

    def abort(self) -> None:
        """Closes at once and drops what is buffered."""

    def get_write_buffer_size(self) -> int:
        """Bytes handed over that the system has not taken yet."""

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who the transport tells what arrives."""


def transport_of(receive: Receive) -> Transport | None:
    """Finds the transport of a connection: uvicorn's `receive` is a method of an object that has it.

    BentoML's tracing wraps it with functools.wraps, which unwrap undoes. None where the server is another.
    """
    transport = getattr(getattr(inspect.unwrap(receive), "__self__", None), "transport", None)
    needed = ("abort", "get_write_buffer_size", "get_protocol")
    usable = all(callable(getattr(transport, name, None)) for name in needed)
    return cast(Transport, transport) if usable else None

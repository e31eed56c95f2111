"""Connections without a request, over a real socket."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

WAIT_S = 20.0
REQUEST = b"GET /v1/who HTTP/1.1\r\nHost: x\r\n\r\n"


def ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(65536) == b""
    except ConnectionResetError:
        return True


def test_connections_without_a_request_are_ended_and_others_are_not(
    guarded: Callable[..., Any], on_socket: Callable[..., Any]
) -> None:
    app = guarded(read_timeout=1)
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(on_socket(app.app))
        silent, half, drips, busy = (
            stack.enter_context(socket.create_connection(address, timeout=WAIT_S)) for _ in range(4)
        )
        half.sendall(REQUEST[:-2])
        # Its body comes slowly, and is the business of who reads it.
        busy.sendall(b"POST /v1/wait HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        limit = time.monotonic() + WAIT_S
        drips.sendall(b"GET /")
        while app.counted.count("idle_connection") < 3:
            assert time.monotonic() < limit
            with contextlib.suppress(ConnectionError):
                drips.sendall(b"x")
            time.sleep(0.05)
        assert ended(silent)
        assert ended(half)
        assert ended(drips)
        busy.settimeout(0.2)
        with pytest.raises(TimeoutError):
            busy.recv(1)


def test_without_uvicorn_it_is_said_once(guarded: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    assert guarded().ask("GET", "/v1/who").status_code == 200
    assert [record for record in caplog.records if "not uvicorn" in record.getMessage()]

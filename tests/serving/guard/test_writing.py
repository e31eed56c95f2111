"""Clients that do not read, over a real socket."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx
import psutil
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.guard.writing import _pieces

REQUEST = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"
WAIT_S = 20.0


def connect(address: tuple[str, int]) -> socket.socket:
    """A client whose own buffer is small, so that what it does not read stays with the server."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(address)
    connection.settimeout(WAIT_S)
    return connection


def server_sides(address: tuple[str, int]) -> int:
    """Connections of this process that end at the server's port."""
    states = (psutil.CONN_ESTABLISHED, psutil.CONN_CLOSE_WAIT, psutil.CONN_FIN_WAIT1, psutil.CONN_FIN_WAIT2)
    return sum(
        link.laddr.port == address[1] and link.status in states
        for link in psutil.Process(os.getpid()).net_connections("tcp")
    )


def wait_for(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_who_does_not_read_is_cut_off(guarded: Callable[..., Any], on_socket: Callable[..., Any]) -> None:
    app = guarded(write_timeout=0.5)
    with on_socket(app.app) as address, closing(connect(address)) as connection:
        connection.sendall(REQUEST % b"/v1/big")
        wait_for(lambda: app.counted == ["slow_reader"])
        # The server's side is gone at once, while the client still reads nothing.
        wait_for(lambda: server_sides(address) == 0)


def test_without_the_guard_a_client_that_does_not_read_would_be_held(on_socket: Callable[..., Any]) -> None:
    async def big(_: Request) -> Response:
        return Response(b"x" * 32 * 2**20)

    with on_socket(Starlette(routes=[Route("/v1/big", big)])) as address, closing(connect(address)) as connection:
        connection.sendall(REQUEST % b"/v1/big")
        connection.recv(1)
        time.sleep(1)
        assert server_sides(address) == 1


def test_who_reads_too_slowly_is_cut_off(guarded: Callable[..., Any], on_socket: Callable[..., Any]) -> None:
    app = guarded(write_timeout=0.5)
    with on_socket(app.app) as address, closing(connect(address)) as connection:
        connection.sendall(REQUEST % b"/v1/big")
        limit = time.monotonic() + WAIT_S
        while not app.counted:
            connection.recv(10)
            time.sleep(0.02)
            assert time.monotonic() < limit
        wait_for(lambda: server_sides(address) == 0)


def test_many_answers_of_one_piece_that_nobody_reads_end_too(
    guarded: Callable[..., Any], on_socket: Callable[..., Any]
) -> None:
    app = guarded(write_timeout=0.5)
    with on_socket(app.app) as address, closing(connect(address)) as connection:
        connection.setblocking(False)
        waiting = REQUEST % b"/v1/medium" * 1000
        limit = time.monotonic() + WAIT_S
        while not app.counted:
            try:
                waiting = waiting[connection.send(waiting[:65536]) :]
            except (BlockingIOError, ConnectionError):
                time.sleep(0.01)
            assert time.monotonic() < limit
        wait_for(lambda: server_sides(address) == 0)


def test_who_reads_gets_everything(guarded: Callable[..., Any], on_socket: Callable[..., Any]) -> None:
    app = guarded(write_timeout=5)
    with on_socket(app.app) as (host, port), httpx.Client(base_url=f"http://{host}:{port}") as client:
        for _ in range(2):
            answer = client.get("/v1/big")
            assert answer.content == b"x" * 32 * 2**20
            assert answer.headers["Content-Length"] == str(32 * 2**20)
    assert app.counted == []


def test_a_stream_of_small_events_may_last_longer(guarded: Callable[..., Any], on_socket: Callable[..., Any]) -> None:
    app = guarded(write_timeout=0.5)
    with on_socket(app.app) as (host, port), httpx.Client(base_url=f"http://{host}:{port}") as client:
        answer = client.get("/v1/events")  # 12 events, 0.1 s between them
    assert answer.text.count("data:") == 12
    assert app.counted == []


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1])
def test_pieces_are_the_whole(size: int) -> None:
    for more in (False, True):
        pieces = list(_pieces({"type": "http.response.body", "body": os.urandom(size), "more_body": more}))
        assert sum(len(piece["body"]) for piece in pieces) == size
        assert [piece["more_body"] for piece in pieces] == [True] * (len(pieces) - 1) + [more]

"""The real server with keys, rates, CORS and small limits."""

from __future__ import annotations

import contextlib
import re
import resource
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from serving.guard.keys import new_key, read_keys, write_keys

ORIGIN = "https://app.example"
MIB = 2**20
WAIT_S = 30.0


@dataclass(frozen=True)
class Guarded:
    server: Any
    address: tuple[str, int]
    file: Path
    keys: dict[str, str]

    def client(self, name: str | None = "ann", **headers: str) -> httpx.Client:
        key = {} if name is None else {"X-API-Key": self.keys[name]}
        return httpx.Client(base_url=self.server.url, timeout=WAIT_S, trust_env=False, headers=key | headers)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=WAIT_S)

    def head(self, length: int | None = None, path: str = "/v1/derain") -> bytes:
        size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        lines = (f"POST {path} HTTP/1.1", "Host: x", f"X-API-Key: {self.keys['ann']}", "Content-Type: image/png", size)
        return "\r\n".join((*lines, "", "")).encode()

    def worker(self) -> psutil.Process:
        children = psutil.Process(self.server.process.pid).children(recursive=True)
        (worker,) = [child for child in children if "worker" in " ".join(child.cmdline())]
        return worker


@pytest.fixture(scope="module")
def guard(
    bundle_roots: tuple[Path, Path], start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guard")
    made = {
        "ann": new_key("ann"),
        "root": new_key("root", "admin"),
        "lim": new_key("lim", rate_per_minute=60, burst=5),
        "leaver": new_key("leaver"),
    }
    write_keys(folder / "keys.json", [entry for _, entry in made.values()])
    settings = {
        "MILLISIGHT_API_KEYS": str(folder / "keys.json"),
        "MILLISIGHT_CORS_ORIGINS": ORIGIN,
        "MILLISIGHT_MAX_BODY_BYTES": str(8 * MIB),
        "MILLISIGHT_BODY_BYTES_TOTAL": str(16 * MIB),
        "MILLISIGHT_READ_TIMEOUT": "4",
        "MILLISIGHT_WRITE_TIMEOUT": "1",
    }
    with start_server(folder, bundle_roots, **settings) as server:
        host, _, port = server.url.removeprefix("http://").partition(":")
        keys = {name: key for name, (key, _) in made.items()}
        yield Guarded(server, (host, int(port)), folder / "keys.json", keys)
        log = server.log.read_text(errors="replace")
        assert " ann POST '/v1/derain' 200 " in log
        assert not [name for name, key in keys.items() if key[4:] in log]


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def to_the_end(connection: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65536):
            received += data
    return received


def test_every_route_of_ours_asks_for_a_key(guard: Guarded, png: bytes) -> None:
    with guard.client(None) as nobody, guard.client(None, Authorization=f"Bearer {'x' * 47}") as stranger:
        for path in ("/v1/derain", "/v1/denoise", "/v1/super-resolution", "/v1/models", "/v1/nothing"):
            method = "GET" if path in ("/v1/models", "/v1/nothing") else "POST"
            assert code(nobody.request(method, path)) == (401, "missing_key")
            assert code(stranger.request(method, path)) == (403, "wrong_key")
        for path in ("/", "/docs.json", "/metrics", "/livez", "/readyz"):
            assert nobody.get(path).status_code == 200
    with guard.client() as ann:
        assert ann.post("/v1/derain", files={"image": png}).status_code == 200
        assert ann.get("/v1/models").status_code == 200


def test_a_revoked_key_is_refused_without_a_restart(guard: Guarded) -> None:
    with guard.client("leaver") as client:
        assert client.get("/v1/models").status_code == 200
        write_keys(guard.file, [entry for entry in read_keys(guard.file) if entry.name != "leaver"])
        limit = time.monotonic() + WAIT_S
        while (status := client.get("/v1/models").status_code) == 200:
            assert time.monotonic() < limit
            time.sleep(0.1)
        assert status == 403


def test_a_rate_is_held_and_retry_after_is_true(guard: Guarded) -> None:
    with guard.client("lim", Origin=ORIGIN) as client:
        answers = [client.get("/v1/models")]
        while answers[-1].status_code == 200:
            assert len(answers) < 1000
            answers.append(client.get("/v1/models"))
        refused = answers[-1]
        assert len(answers) > 5
        assert all(answer.headers["RateLimit-Policy"] == '"key";q=5;w=5' for answer in answers)
        assert code(refused) == (429, "rate_limited")
        assert refused.headers["Access-Control-Allow-Origin"] == ORIGIN
        time.sleep(int(refused.headers["Retry-After"]))
        assert client.get("/v1/models").status_code == 200
    with guard.client(None) as nobody:
        assert 'restore_rejected_total{reason="rate_limited"}' in nobody.get("/metrics").text


def test_every_answer_has_cors_and_security_headers(guard: Guarded, png: bytes) -> None:
    with guard.client(Origin=ORIGIN) as client, guard.client(None, Origin=ORIGIN) as nobody:
        answers = {
            200: client.post("/v1/derain", files={"image": png}),
            400: client.post("/v1/derain?nope=1", files={"image": png}),
            401: nobody.get("/v1/models"),
            404: client.get("/v1/nothing"),
            405: client.get("/v1/derain"),
            413: client.post("/v1/derain", content=b"x" * (9 * MIB), headers={"Content-Type": "image/png"}),
            415: client.post("/v1/derain", content=b"{}", headers={"Content-Type": "application/json"}),
        }
    for status, answer in answers.items():
        assert answer.status_code == status
        headers = answer.headers
        assert headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "X-Model" in headers["Access-Control-Expose-Headers"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Request-Id"]
        assert "Server" not in headers


def test_a_browser_may_ask_before_it_sends(guard: Guarded) -> None:
    with guard.client(None, Origin=ORIGIN) as nobody:
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        answer = nobody.options("/v1/derain", headers=asked)
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        other = nobody.options("/v1/derain", headers=asked | {"Origin": "https://evil.example"})
        assert code(other) == (400, "cors_refused")


def test_a_chunked_body_over_the_limit_ends_the_connection(guard: Guarded) -> None:
    with guard.connect() as connection:
        connection.sendall(guard.head())
        piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        with contextlib.suppress(OSError):
            for _ in range(8 * 16 + 2):
                connection.sendall(piece)
        answer = to_the_end(connection)
    assert b" 413 " in answer
    assert b"body_too_large" in answer


def test_a_client_without_a_key_cannot_send_for_ever(guard: Guarded) -> None:
    with guard.connect() as connection:
        connection.sendall(b"POST /v1/derain HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        answer = to_the_end(connection)  # ends although the body does not
    assert b" 401 " in answer


def test_a_slow_sender_gets_a_408_and_others_are_served_meanwhile(guard: Guarded, png: bytes) -> None:
    with guard.connect() as slow, guard.client() as client:
        slow.sendall(guard.head(1000))
        slow.settimeout(0.2)
        answer, served = b"", 0
        limit = time.monotonic() + WAIT_S
        while not answer:
            assert time.monotonic() < limit
            slow.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                answer = slow.recv(65536)
            served += client.post("/v1/derain", files={"image": png}).status_code == 200
        slow.settimeout(WAIT_S)  # head and body may come in two pieces
        answer += to_the_end(slow)
    assert b" 408 " in answer
    assert b"faster or smaller" in answer
    assert served > 3
    with guard.client() as client:
        assert "restore_requests_in_flight 0.0" in client.get("/metrics").text


def test_a_client_that_does_not_read_is_cut_off(guard: Guarded) -> None:
    request = f"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-API-Key: {guard.keys['ann']}\r\n\r\n".encode()
    worker = guard.worker()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(guard.address)
        port = connection.getsockname()[1]
        connection.setblocking(False)
        waiting = request * 5000
        limit = time.monotonic() + WAIT_S
        while "cut off: its client took nothing for 1 s" not in guard.server.log.read_text(errors="replace"):
            assert time.monotonic() < limit
            with contextlib.suppress(BlockingIOError, ConnectionError):
                waiting = waiting[connection.send(waiting[:65536]) :]
            time.sleep(0.01)
        # Cut, not closed politely: the worker has no descriptor of it although the client has read nothing.
        while any(link.raddr and link.raddr.port == port for link in worker.net_connections("tcp")):
            assert time.monotonic() < limit
            time.sleep(0.05)
    with guard.client() as client:
        assert 'restore_rejected_total{reason="slow_reader"} 1.0' in client.get("/metrics").text


def idle(guard: Guarded, count: int, png: bytes) -> None:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft < count + 500:
        pytest.skip(f"{count} connections need more descriptors than the {soft} of this shell (ulimit -n)")
    with contextlib.ExitStack() as stack:
        for number in range(count):
            connection = stack.enter_context(guard.connect())
            if number % 2:
                connection.sendall(b"POST /v1/derain HTTP/1.1\r\nHost: x\r\n")  # a header without an end
        with guard.client() as client:
            for _ in range(3):
                assert client.post("/v1/derain", files={"image": png}).status_code == 200


def test_a_thousand_idle_connections_change_nothing(guard: Guarded, png: bytes) -> None:
    idle(guard, 1000, png)


@pytest.mark.slow
def test_ten_thousand_idle_connections_change_nothing(guard: Guarded, png: bytes) -> None:
    idle(guard, 10_000, png)


def until_held(client: httpx.Client, size: int) -> None:
    """Waits until the server has received so many bytes of bodies; it looks twice a second."""
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        (line,) = re.findall(r"^restore_body_bytes (\S+)$", client.get("/metrics").text, re.MULTILINE)
        if float(line) >= size:
            return
        time.sleep(0.05)
    raise AssertionError(f"{size} bytes never arrived")


def test_large_slow_bodies_share_a_budget_and_small_ones_are_served(guard: Guarded, png: bytes) -> None:
    worker = guard.worker()
    before = worker.memory_info().rss
    with contextlib.ExitStack() as stack, guard.client() as client:
        holders = [stack.enter_context(guard.connect()) for _ in range(2)]
        for holder in holders:
            holder.sendall(guard.head(8 * MIB) + b"x" * (7 * MIB))
        until_held(client, 14 * MIB)
        data, headers = b"x" * (7 * MIB), {"Content-Type": "image/png"}
        refused = client.post("/v1/derain", content=data, headers=headers)
        assert code(refused) == (503, "overloaded")
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.headers["Connection"] == "close"
        others = [stack.enter_context(guard.connect()) for _ in range(6)]
        for other in others:
            other.sendall(guard.head(7 * MIB))
            assert b" 503 " in other.recv(65536)
        assert client.post("/v1/derain", files={"image": png}).status_code == 200
        assert worker.memory_info().rss - before < 64 * MIB
        for holder in holders:
            assert b"without pauses" in to_the_end(holder)  # their 408, since they have stopped sending
        assert code(client.post("/v1/derain", content=data, headers=headers)) == (415, "not_an_image")

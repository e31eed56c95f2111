"""Everything that can happen to a service within seconds: good and bad pictures, a job, refusals, late answers, NaN."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import numpy as np
import psutil
from PIL import Image

from millisight.client import Client
from monitoring.load import LoadPlan, Summary, offers, photo, picture_bodies, send, summarise
from tests.servers import Server

FILE = {"Content-Type": "application/octet-stream"}


def picture(width: int, height: int, brightness: float = 1.0) -> bytes:
    """A PNG with the look of a photograph."""
    pixels = photo(width, height, np.random.default_rng(0)) * brightness
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def workers(server: Server) -> list[int]:
    """Process ids of the living workers."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    return [child.pid for child in children if any("worker" in word for word in child.cmdline())]


def mixed(server: Server, *, rate: float, seconds: float, bad_share: float = 0.0, deadline_ms: int | None = None,
          tasks: tuple[str, ...] = ("denoise", "super-resolution"), seed: int = 0) -> Summary:  # fmt: skip
    """Strangers' pictures of both promised tasks."""
    sizes = ((128, 128), (200, 150), (320, 240))
    good, bad = picture_bodies(offers(server.url, tasks), sizes, ("jpeg", "png", "webp"), seed)
    plan = LoadPlan(
        server.url, good, bad, rate=rate, seconds=seconds, bad_share=bad_share, deadline_ms=deadline_ms, seed=seed,
        under_way=64,
    )  # fmt: skip
    answers, lasted = send(plan, lambda _gone, _answer: None)
    return summarise(answers, lasted, deadline_ms)


def trouble(server: Server) -> dict[str, int]:
    """One of each thing that goes wrong; what was answered."""
    good, large, full = picture(128, 128), picture(900, 700), picture(500, 380)
    with server.client() as client:
        codes = {
            "impossible": _post(client, "/v1/denoise", good, {"X-Deadline-Ms": "1"}),
            "bad": _post(client, "/v1/denoise", b"no picture"),
            "nan": _post(client, "/v1/derain", picture(64, 64, brightness=0)),
            "unpromised": _post(client, "/v1/derain", good),
            "stranger": client.get("/wp-login.php").status_code,
        }
        _leaves(server, large)
        codes["late"] = _late(server, large)
    with ThreadPoolExecutor(24) as pool, server.client() as client:
        flood = list(pool.map(lambda _: _post(client, "/v1/denoise", full), range(24)))
    return codes | {"full": max(flood), "served": min(flood)}


def job(server: Server) -> str:
    """A job of three files, one of them no picture, to its end; its last state."""
    with Client(server.url, trust_env=False) as client:
        files = [("a.png", picture(128, 128)), ("b.png", picture(64, 64)), ("c.png", b"no picture")]
        submitted = client.submit(files, "denoise")
        return [status.status for status in submitted.events()][-1]


@contextmanager
def braked(pids: list[int], stopped_share: float, period_s: float = 0.1) -> Iterator[None]:
    """Processes that stand still for a share of every moment, as on a machine that is far too full."""
    over = threading.Event()

    def brake() -> None:
        while not over.is_set():
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(period_s * stopped_share)
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            time.sleep(period_s * (1 - stopped_share))

    thread = threading.Thread(target=brake)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _post(client: httpx.Client, route: str, data: bytes, headers: dict[str, str] | None = None) -> int:
    return client.post(route, content=data, headers=FILE | (headers or {})).status_code


def _late(server: Server, data: bytes) -> int:
    """A request that is admitted, and whose deadline passes because the whole worker stands still."""
    with ThreadPoolExecutor(1) as pool, server.client() as client:
        answer = pool.submit(_post, client, "/v1/denoise", data, {"X-Deadline-Ms": "3000"})
        _until_running(server)
        for pid in workers(server):
            os.kill(pid, signal.SIGSTOP)
        time.sleep(3.2)
        for pid in workers(server):
            os.kill(pid, signal.SIGCONT)
        return answer.result()


def _leaves(server: Server, data: bytes) -> None:
    """A client that does not wait for its answer."""
    with server.client() as client:
        try:
            client.post("/v1/denoise", content=data, headers=FILE, timeout=0.05)
        except httpx.TimeoutException:
            return
        raise AssertionError("the answer came sooner than a client can leave")


def _until_running(server: Server) -> None:
    limit = time.monotonic() + 10
    with server.client() as client:
        while " 0.0" in _line(client.get("/metrics").text, "restore_requests_in_flight"):
            assert time.monotonic() < limit
            time.sleep(0.01)


def _line(text: str, name: str) -> str:
    return next((line for line in text.splitlines() if line.startswith(f"{name} ")), f"{name} 0.0")

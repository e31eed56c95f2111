"""What the worker processes of a running server do: memory, processor time, connections."""

from __future__ import annotations

import time

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from tests.servers import Server

WINDOW_S = 0.4
# Of one window. An inference that goes on fills the window, however busy the machine is otherwise.
IDLE_S = 0.12


def worker_processes(server: Server) -> list[psutil.Process]:
    """The processes that answer requests."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    return [child for child in children if "worker" in " ".join(child.cmdline())]


def resident_bytes(server: Server) -> int:
    """Memory of all workers."""
    return sum(worker.memory_info().rss for worker in worker_processes(server))


def cpu_seconds(server: Server) -> float:
    """Processor time of all workers since their start."""
    return sum(sum(worker.cpu_times()[:2]) for worker in worker_processes(server))


def wait_until_idle(server: Server, limit_s: float) -> bool:
    """Whether the workers come to rest; work that was given up and goes on would keep a core busy."""
    limit = time.monotonic() + limit_s
    before = cpu_seconds(server)
    while time.monotonic() < limit:
        time.sleep(WINDOW_S)
        now = cpu_seconds(server)
        if now - before < IDLE_S:
            return True
        before = now
    return False


def wait_until_busy(server: Server, limit_s: float = 20.0) -> None:
    """Returns once an inference keeps a worker busy."""
    limit = time.monotonic() + limit_s
    before = cpu_seconds(server)
    while time.monotonic() < limit:
        time.sleep(WINDOW_S)
        now = cpu_seconds(server)
        if now - before > IDLE_S:
            return
        before = now
    raise AssertionError("The server never became busy.")


def sample(client: httpx.Client, name: str, **labels: str) -> float:
    """The sum of all samples of this name that have these labels."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    samples = (sample for family in families for sample in family.samples)
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

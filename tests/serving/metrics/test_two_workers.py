"""Two workers: what their metrics say together, through the death of one, and to a real Prometheus."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.servers import Server, free_port
from tests.serving.load.traffic import BROKEN, Connection, Constant, open_on_all_workers, workers
from tests.serving.load.watching import say
from tests.serving.metrics.reading import Scrape, scrape, went_back

pytestmark = pytest.mark.slow

CALLERS = 16
LIMIT_S = 60.0


@pytest.fixture
def two_workers(
    bundle_roots: tuple[Path, Path], start_server: Callable[..., AbstractContextManager[Server]], tmp_path: Path
) -> Iterator[Server]:
    with start_server(tmp_path, bundle_roots, workers=2) as running:
        until(lambda: len(scrape(running).by("process_start_time_seconds", "worker")) == 2)
        yield running


def until(true: Callable[[], bool]) -> None:
    limit = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.1)


@dataclass
class Load:
    """Callers of one worker each, and somebody who reads /metrics all the time; told to stop from outside."""

    server: Server
    seen: int = 0
    broken: int = 0
    others: list[int] = field(default_factory=list)
    scrapes: list[Scrape] = field(default_factory=list)
    slowest_ms: float = 0.0
    stop: bool = False

    async def call(self, connection: Connection) -> None:
        picture = Constant.of(5).file()
        while not self.stop:
            try:
                answer = await connection.post("/v1/derain", picture)
            except BROKEN:
                self.broken += 1
                return
            self.seen += answer.status == 200
            self.others += [answer.status] if answer.status != 200 else []

    async def read(self, keep: bool) -> None:
        """Scrapes as Prometheus does, on a connection of its own each time; one that hits the killed worker breaks."""
        while not self.stop:
            try:
                connection = await Connection.open(self.server)
                connection.writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                start = time.monotonic()
                answer = await connection.receive()
                connection.close()
            except BROKEN:
                continue
            assert answer.status == 200, answer.body
            if keep:
                self.slowest_ms = max(self.slowest_ms, (time.monotonic() - start) * 1000)
                self.scrapes.append(Scrape(answer.body.decode()))
            await asyncio.sleep(0.01)


def numbered(server: Server) -> dict[str, int]:
    """Process ids of the workers, by the number that BentoML gave them."""
    found = {}
    for process in workers(server):
        words = process.cmdline()
        found[words[words.index("--worker-id") + 1]] = process.pid
    return found


def test_sums_are_right_when_a_worker_is_killed_under_load(two_workers: Server) -> None:
    server = two_workers
    starts, numbers, victim = started(server), numbered(server), "1"

    async def main() -> Load:
        by_worker = await open_on_all_workers(server, CALLERS)
        load = Load(server)
        load.scrapes.append(await asyncio.to_thread(scrape, server))
        callers = [load.call(connection) for connections in by_worker.values() for connection in connections]
        # Two more read at the same time: workers must not stand in each other's way.
        readers = [load.read(keep) for keep in (True, False, False)]
        running = [asyncio.create_task(work) for work in (*callers, *readers)]
        await asyncio.sleep(2)
        os.kill(numbers[victim], signal.SIGKILL)
        await asyncio.to_thread(until, lambda: started(server).get(victim, 0) > starts[victim])
        await asyncio.sleep(1)
        load.stop = True
        await asyncio.gather(*running)
        return load

    load = asyncio.run(main())
    until(lambda: scrape(server).sum("restore_requests_in_flight") == 0)
    last = scrape(server)
    load.scrapes.append(last)
    first = load.scrapes[0]
    assert len(load.scrapes) > 2
    assert went_back(load.scrapes) == []

    assert load.seen > load.broken
    assert load.broken > 0  # the kill was felt
    assert load.others == []
    in_flight = [each.sum("restore_requests_in_flight") for each in load.scrapes]
    assert min(in_flight) >= 0
    assert max(in_flight) > 0
    for name, labels in (
        ("restore_requests_total", {"task": "derain", "code": "200"}),
        ("restore_http_requests_total", {"route": "/v1/derain", "method": "POST", "code": "200"}),
        ("restore_request_duration_seconds_count", {"task": "derain", "model": "derain-same"}),
    ):
        more = last.sum(name, **labels) - first.sum(name, **labels)
        assert load.seen <= more <= load.seen + load.broken, name

    restarts = last.by("process_start_time_seconds", "worker")
    assert starts.keys() == restarts.keys() == {"1", "2"}
    assert starts["1"] < restarts["1"]
    assert starts["2"] == restarts["2"]
    assert numbered(server)["2"] == numbers["2"]
    # The new worker writes where the dead one did: two files of each kind, however often one dies.
    kinds = {name.rpartition("_")[0] for name in files(server)}
    assert files(server) == {f"{kind}_{number}.db" for kind in kinds for number in starts}
    say(
        f"{load.seen} answers seen, {load.broken} broken, {len(load.scrapes)} scrapes, "
        f"the slowest {load.slowest_ms:.0f} ms; requests in flight up to {max(in_flight):.0f}"
    )


def started(server: Server) -> dict[str, float]:
    """When each worker began, by its number; nothing while whoever is asked is being killed."""
    try:
        return dict(scrape(server).by("process_start_time_seconds", "worker"))
    except httpx.TransportError:
        return {}


def files(server: Server) -> set[str]:
    return {file.name for file in (server.log.parent / "bentoml" / "prometheus_multiproc_dir").glob("*.db")}


@contextmanager
def running_prometheus(folder: Path, target: str) -> Iterator[httpx.Client]:
    """A real Prometheus that looks at one target every second."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("needs prometheus (Debian package prometheus)")
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: millisight, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    place = f"127.0.0.1:{free_port()}"
    command = [program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={place}"], stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://{place}", trust_env=False) as client:
            until(lambda: process.poll() is None and _ready(client))
            yield client
    finally:
        process.terminate()
        process.wait(30)


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False


def ask(prometheus: httpx.Client, query: str) -> dict[str, float]:
    """The answers to a query, by worker."""
    found = prometheus.get("/api/v1/query", params={"query": query}).json()["data"]["result"]
    return {each["metric"].get("worker", ""): float(each["value"][1]) for each in found}


def test_prometheus_scrapes_two_workers(two_workers: Server, tmp_path: Path, png: bytes) -> None:
    with two_workers.client() as client, running_prometheus(tmp_path, two_workers.url.partition("//")[2]) as prometheus:
        until(lambda: ask(prometheus, "up") == {"": 1.0})
        for _ in range(5):
            assert client.post("/v1/derain", files={"image": png}).status_code == 200
        until(lambda: ask(prometheus, 'sum(restore_requests_total{code="200"})') == {"": 5.0})
        for name in ("resident_memory_bytes", "cpu_seconds_total", "open_fds", "max_fds", "start_time_seconds"):
            assert ask(prometheus, f"process_{name}").keys() == {"1", "2"}, name
        before = ask(prometheus, "process_start_time_seconds")
        os.kill(numbered(two_workers)["2"], signal.SIGKILL)
        until(lambda: ask(prometheus, "process_start_time_seconds").get("2", 0) > before["2"])
        assert ask(prometheus, "changes(process_start_time_seconds[5m])") == {"1": 0.0, "2": 1.0}
        until(lambda: ask(prometheus, "up") == {"": 1.0})
        assert ask(prometheus, 'sum(restore_requests_total{code="200"})') == {"": 5.0}
        say(f"scrape_duration_seconds {ask(prometheus, 'max_over_time(scrape_duration_seconds[5m])')}")

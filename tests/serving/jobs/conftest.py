"""Both stores, a clock that tests turn, and a real server that carries the routes of jobs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest

from serving.jobs.claims import Claims
from serving.jobs.job import Job, JobFile, input_name
from serving.jobs.queue import JobQueue
from serving.jobs.redis_store import RedisStore
from serving.jobs.restoring import JobOptions
from serving.jobs.sqlite_store import SqliteStore
from serving.jobs.store import Store

WORKER = Path(__file__).with_name("worker.py")
LIMIT_S = 30.0
TTL_S = 1000.0
DISK_BYTES = 10_000
STORES = ("sqlite", "redis")


class Clock:
    """Seconds since 1970, as far as the test lets them pass."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    pytest.importorskip("redis")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    command += ["--dir", str(tmp_path_factory.mktemp("redis"))]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            until(lambda: _listens(port))
            yield port
        finally:
            server.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(params=STORES)
def jobs_setting(request: pytest.FixtureRequest) -> str:
    """A value of MILLISIGHT_JOBS whose store is empty."""
    if request.param == "sqlite":
        return "sqlite"
    import redis

    url = f"redis://127.0.0.1:{request.getfixturevalue('redis_port')}/0"
    redis.Redis.from_url(url).flushall()
    return url


@pytest.fixture
def open_store(jobs_setting: str, tmp_path: Path, clock: Clock) -> Iterator[Callable[[], Store]]:
    """Opens the same store once more, as another process would."""
    opened: list[Store] = []

    def open_one() -> Store:
        if jobs_setting == "sqlite":
            opened.append(SqliteStore(tmp_path / "jobs"))
        else:
            opened.append(RedisStore(jobs_setting, keep_s=TTL_S, clock=clock))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    return open_store()


@pytest.fixture
def queue(store: Store, clock: Clock) -> JobQueue:
    return JobQueue(store, ttl_s=TTL_S, disk_bytes=DISK_BYTES, clock=clock)


@pytest.fixture
def claims(queue: JobQueue) -> Claims:
    return Claims(queue)


@pytest.fixture
def submit(queue: JobQueue) -> Callable[..., Job]:
    def submit(*files: bytes, owner: str = "anna", task: str = "derain") -> Job:
        job = queue.begin(owner, JobOptions(task), receive_s=60, expected_bytes=sum(map(len, files)))
        for index, data in enumerate(files):
            writer = queue.store.blobs.writer(job.id, input_name(index))
            writer.write(data)
            writer.commit()
        records = (JobFile(name=f"{index}.png", input_bytes=len(data)) for index, data in enumerate(files))
        return queue.commit(job.id, tuple(records))

    return submit


def until(ready: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
    end = time.monotonic() + limit_s
    while not ready():
        assert time.monotonic() < end, "it has not come true"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., None]:
    return until


class Worker:
    """A process with `worker.py`, and how to talk to it."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.log = log
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=LIMIT_S, trust_env=False)

    def started(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.client.get("/").status_code == 404
        except httpx.TransportError:
            return False


@contextmanager
def running_worker(state: Path, jobs: str = "sqlite", **settings: object) -> Iterator[Worker]:
    """A server with the routes of jobs and a made-up restoration; see `worker.py`."""
    state.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), state / f"worker-{time.time_ns()}.log"
    environment = os.environ | {"MILLISIGHT_STATE": str(state), "MILLISIGHT_JOBS": jobs}
    environment |= {f"MILLISIGHT_{name.upper()}": str(value) for name, value in settings.items()}
    command = [sys.executable, str(WORKER), str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    worker = Worker(process, port, log)
    try:
        until(worker.started)
        yield worker
    finally:
        worker.client.close()
        process.terminate()
        try:
            process.wait(LIMIT_S)
        finally:
            process.kill()
            sys.stdout.write(log.read_text(errors="replace"))


@pytest.fixture(scope="session")
def start_worker() -> Callable[..., AbstractContextManager[Worker]]:
    return running_worker


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    state = tmp_path_factory.mktemp("state")
    limits = {"max_body_bytes": 4096, "job_max_files": 64, "job_max_bytes": 200_000, "job_disk_bytes": 1_000_000}
    with running_worker(state, read_timeout=2, **limits) as worker:
        yield worker


@pytest.fixture
def client(worker: Worker) -> httpx.Client:
    return worker.client

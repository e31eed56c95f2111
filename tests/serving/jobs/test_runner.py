from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from runtime.errors import EngineError, ImageError, MillisightError
from serving.errors import DeadlineExceededError, NotReadyError
from serving.jobs.claims import Claims
from serving.jobs.job import FileStatus, Job, JobFile, JobStatus, input_name
from serving.jobs.queue import JobQueue
from serving.jobs.restoring import JobOptions, Progress, Restore, RestoredFile
from serving.jobs.runner import LONGEST_WAIT_S, Runner, wait_of
from serving.jobs.sqlite_store import SqliteStore
from serving.jobs.threads import StoreThreads
from serving.scheduling.errors import QueueFullError

LIMIT_S = 30.0


@pytest.fixture
def queue(tmp_path: Path) -> JobQueue:
    return JobQueue(SqliteStore(tmp_path), ttl_s=1000, disk_bytes=10**6)


@pytest.fixture
def submit(queue: JobQueue) -> Callable[..., Job]:
    def submit(*files: bytes) -> Job:
        job = queue.begin("anna", JobOptions("derain"), receive_s=60)
        for index, data in enumerate(files):
            writer = queue.store.blobs.writer(job.id, input_name(index))
            writer.write(data)
            writer.commit()
        return queue.commit(job.id, tuple(JobFile(name="a", input_bytes=len(data)) for data in files))

    return submit


class Restoration:
    """Counts how many files are in progress, and ends when it is let."""

    def __init__(self) -> None:
        self.now = self.most = self.begun = 0
        self.may_end = asyncio.Event()
        self.beside: list[tuple[bytes, int]] = []

    async def __call__(self, data: bytes, _: JobOptions, __: Progress) -> RestoredFile:
        self.begun += 1
        self.now += 1
        self.most = max(self.most, self.now)
        self.beside.append((data, self.now))
        try:
            await self.may_end.wait()
        finally:
            self.now -= 1
        return RestoredFile(data, "image/png", "m")


async def until(ready: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not ready():
            await asyncio.sleep(0.01)


def run(queue: JobQueue, restore: Restore, test: Callable[[Runner], Awaitable[None]], at_once: int = 2) -> None:
    async def main() -> None:
        threads = StoreThreads()
        runner = Runner(queue, Claims(queue), restore, threads, at_once=at_once)
        runner.start()
        try:
            await test(runner)
        finally:
            await runner.stop()
            threads.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_no_more_files_are_in_progress_than_allowed(queue: JobQueue, submit: Callable[..., Job]) -> None:
    job, restore = submit(*[b"x"] * 5), Restoration()

    async def test(_: Runner) -> None:
        await until(lambda: restore.now == 2)
        restore.may_end.set()
        await until(lambda: queue.get(job.id, "anna").finished)

    run(queue, restore, test)
    assert (restore.begun, restore.most) == (5, 2)


def test_a_submission_wakes_an_idle_runner(queue: JobQueue, submit: Callable[..., Job]) -> None:
    restore = Restoration()

    async def test(runner: Runner) -> None:
        await asyncio.sleep(0.5)
        submit(b"x")
        runner.wake()
        await until(lambda: restore.now == 1)

    run(queue, restore, test)


def test_stopping_gives_back_what_was_in_progress(queue: JobQueue, submit: Callable[..., Job]) -> None:
    job, restore = submit(b"x", b"y", b"z"), Restoration()

    async def test(_: Runner) -> None:
        await until(lambda: restore.now == 2)

    run(queue, restore, test)
    job = queue.get(job.id, "anna")
    assert (restore.now, job.status) == (0, JobStatus.QUEUED)
    assert [file.attempts for file in job.files] == [0, 0, 0]


def test_a_job_deleted_elsewhere_is_let_go(queue: JobQueue, submit: Callable[..., Job]) -> None:
    job, restore = submit(b"x"), Restoration()

    async def test(_: Runner) -> None:
        await until(lambda: restore.now == 1)
        queue.delete(job.id, "anna")
        await until(lambda: restore.now == 0)

    run(queue, restore, test)


def test_the_last_attempt_is_made_alone(queue: JobQueue, submit: Callable[..., Job]) -> None:
    job, restore = submit(b"suspect", b"x", b"y"), Restoration()
    worn = job.files[0].but(attempts=2)
    queue.store.update(job.id, lambda job: job.but(files=(worn, *job.files[1:])))

    async def test(_: Runner) -> None:
        restore.may_end.set()
        await until(lambda: queue.get(job.id, "anna").finished)

    run(queue, restore, test, at_once=3)
    assert dict(restore.beside)[b"suspect"] == 1


def test_an_outage_of_the_store_ends_nothing(queue: JobQueue, submit: Callable[..., Job], tmp_path: Path) -> None:
    job, restore = submit(b"x", b"y", b"z"), Restoration()

    def rename(old: str, new: str) -> None:
        with sqlite3.connect(tmp_path / "jobs.db", timeout=LIMIT_S) as database:
            database.execute(f"ALTER TABLE {old} RENAME TO {new}")

    async def test(_: Runner) -> None:
        await until(lambda: restore.now == 2)
        rename("jobs", "hidden")
        restore.may_end.set()
        await until(lambda: restore.now == 0)
        await asyncio.sleep(0.3)
        rename("hidden", "jobs")
        await until(lambda: queue.get(job.id, "anna").finished)

    run(queue, restore, test)
    assert restore.begun == 3
    assert {file.status for file in queue.get(job.id, "anna").files} == {FileStatus.DONE}


def test_a_result_without_room_fails_its_file_only(submit: Callable[..., Job], queue: JobQueue) -> None:
    job = submit(b"large", b"small")
    narrow = JobQueue(queue.store, ttl_s=1000, disk_bytes=1000)

    async def restore(data: bytes, _: JobOptions, __: Progress) -> RestoredFile:
        return RestoredFile(data * (1 if data == b"small" else 1000), "image/png", "m")

    async def test(_: Runner) -> None:
        await until(lambda: queue.get(job.id, "anna").finished)

    run(narrow, restore, test)
    large, small = queue.get(job.id, "anna").files
    assert large.error is not None
    assert (large.error.code, small.status) == ("jobs_full", FileStatus.DONE)


@pytest.mark.parametrize(
    ("error", "wait_s"),
    [
        (QueueFullError("full", {"Retry-After": "7"}), 7),
        (NotReadyError("loading", {"retry-after": "0"}), 1),
        (QueueFullError("full", {"Retry-After": "99999"}), LONGEST_WAIT_S),
        (QueueFullError("full"), None),
        (QueueFullError("full", {"Retry-After": "soon"}), None),
        (DeadlineExceededError("late", {"Retry-After": "1"}), None),
        (ImageError("cut", code="corrupt", status=422), None),
        (EngineError("nan"), None),
    ],
)
def test_what_means_later_and_what_means_never(error: MillisightError, wait_s: float | None) -> None:
    assert wait_of(error) == wait_s

from __future__ import annotations

from collections.abc import Callable
from math import inf

import pytest

from serving.jobs.errors import (
    JobGoneError,
    JobNotFoundError,
    JobsFullError,
    TooManyJobsError,
)
from serving.jobs.housekeeping import recover, sweep
from serving.jobs.job import Job, JobStatus
from serving.jobs.queue import MAX_UNFINISHED, TOMBSTONE_S, JobQueue
from serving.jobs.restoring import JobOptions
from serving.jobs.store import Store

TTL_S = 1000.0
Submit = Callable[..., Job]


def test_a_job_belongs_to_its_client(queue: JobQueue, submit: Submit) -> None:
    job = submit(b"abc", owner="anna")
    assert queue.get(job.id, "anna").id == job.id
    for ask in (queue.get, queue.delete):
        with pytest.raises(JobNotFoundError):
            ask(job.id, "berta")
    queue.delete(job.id, "anna")
    with pytest.raises(JobNotFoundError):  # not even that there was one
        queue.get(job.id, "berta")


@pytest.mark.parametrize(
    "job_id", ["", "x", "../../etc/passwd", "a" * 22, "a" * 21 + "/", "\0" * 22, "日" * 22, "x" * 8000]
)
def test_what_never_was_is_not_found(queue: JobQueue, job_id: str) -> None:
    with pytest.raises(JobNotFoundError):
        queue.get(job_id, "anna")


def test_ids_cannot_be_guessed(submit: Submit) -> None:
    ids = {submit(b"x").id for _ in range(20)}
    assert len(ids) == 20
    assert all(len(name) == 22 for name in ids)


def test_deleting_frees_the_room_at_once_and_leaves_a_410(queue: JobQueue, submit: Submit, clock: object) -> None:
    job = submit(b"x" * 9000)
    with pytest.raises(JobsFullError):
        submit(b"x" * 9000)
    assert queue.delete(job.id, "anna").status is JobStatus.CANCELLED
    assert queue.store.blobs.job_ids() == []
    submit(b"x" * 9000)
    with pytest.raises(JobGoneError, match="was deleted"):
        queue.delete(job.id, "anna")
    clock.now += TOMBSTONE_S + 1  # type: ignore[attr-defined]
    with pytest.raises(JobNotFoundError):
        queue.get(job.id, "anna")


def test_a_refused_submission_leaves_nothing(queue: JobQueue, submit: Submit) -> None:
    submit(b"x" * 6000)
    with pytest.raises(JobsFullError, match="6000 are taken and 6000 more are needed"):
        submit(b"x" * 6000)
    assert len(queue.store.job_ids()) == len(queue.store.blobs.job_ids()) == 1


def test_an_expired_job_is_gone_with_and_without_a_sweep(queue: JobQueue, submit: Submit, clock: object) -> None:
    looked_at, swept = submit(b"a"), submit(b"b")
    clock.now += TTL_S - 1  # type: ignore[attr-defined]
    sweep(queue)
    assert queue.get(looked_at.id, "anna")
    clock.now += 1  # type: ignore[attr-defined]
    with pytest.raises(JobGoneError, match="has expired"):
        queue.get(looked_at.id, "anna")
    sweep(queue)
    assert queue.store.job_ids() == queue.store.blobs.job_ids() == []
    with pytest.raises(JobGoneError, match="has expired"):
        queue.get(swept.id, "anna")


def test_a_submission_that_never_ends_is_swept(queue: JobQueue, clock: object) -> None:
    job = queue.begin("anna", JobOptions("derain"), receive_s=60, expected_bytes=9000)
    with pytest.raises(JobNotFoundError):
        queue.get(job.id, "anna")
    clock.now += 61  # type: ignore[attr-defined]
    sweep(queue)
    assert queue.store.job_ids() == []
    with pytest.raises(JobGoneError, match="too long"):
        queue.commit(job.id, ())
    queue.begin("anna", JobOptions("derain"), receive_s=60, expected_bytes=9000)


def test_a_client_has_a_bounded_number_of_unfinished_jobs(submit: Submit) -> None:
    for _ in range(MAX_UNFINISHED):
        submit(b"x")
    with pytest.raises(TooManyJobsError) as raised:
        submit(b"x")
    assert raised.value.headers["Retry-After"]
    submit(b"x", owner="berta")


def test_a_start_drops_files_without_job_and_jobs_without_files(
    queue: JobQueue, submit: Submit, open_store: Callable[[], Store]
) -> None:
    kept, orphan, emptied = submit(b"a"), submit(b"b"), submit(b"c")
    receiving = queue.begin("anna", JobOptions("derain"), receive_s=60)
    queue.store.blobs.delete_job(emptied.id)
    queue.store.remove(orphan.id, None)
    queue.store.blobs.create(orphan.id)  # as if its record had been damaged
    recover(JobQueue(open_store(), ttl_s=TTL_S, disk_bytes=10, clock=queue.clock))
    assert queue.get(kept.id, "anna")
    assert queue.store.version(receiving.id) is not None
    assert sorted(queue.store.blobs.job_ids()) == sorted([kept.id, receiving.id])
    for gone in (orphan, emptied):
        with pytest.raises(JobGoneError, match="lost its files"):
            queue.get(gone.id, "anna")


def test_a_start_keeps_why_a_job_is_gone(queue: JobQueue, submit: Submit) -> None:
    job = submit(b"a")
    queue.delete(job.id, "anna")
    queue.store.blobs.create(job.id)  # as if the process had died between record and files
    recover(queue)
    with pytest.raises(JobGoneError, match="was deleted"):
        queue.get(job.id, "anna")
    with pytest.raises(JobNotFoundError):
        queue.get(job.id, "berta")


def test_forgetting_everything_does_no_harm(queue: JobQueue, submit: Submit) -> None:
    job = submit(b"a")
    queue.store.forget(inf)
    assert queue.get(job.id, "anna")

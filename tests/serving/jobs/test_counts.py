"""How many files wait, and how files of jobs ended: each told once, whatever store and however many workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from serving.jobs.claims import Claim, Claims
from serving.jobs.errors import JobNotFoundError, JobsUnavailableError, LeaseLostError
from serving.jobs.housekeeping import sweep
from serving.jobs.job import MAX_ATTEMPTS, Job, JobFile
from serving.jobs.queue import JobQueue
from serving.jobs.restoring import JobOptions, RestoredFile
from serving.jobs.store import Holdings, Store
from tests.serving.jobs.conftest import DISK_BYTES, TTL_S, Clock

RESULT = RestoredFile(b"restored", "image/png", "m")
Submit = Callable[..., Job]


class Workers:
    """Two workers over one store that count into one book."""

    def __init__(self, open_store: Callable[[], Store], clock: Clock) -> None:
        self.book: Counter[tuple[str, str]] = Counter()
        stores = [open_store(), open_store()]
        self.queues = [
            JobQueue(store, ttl_s=TTL_S, disk_bytes=DISK_BYTES, clock=clock, count=self._count) for store in stores
        ]
        self.claims = [Claims(queue) for queue in self.queues]

    def _count(self, task: str, outcome: str, files: int) -> None:
        self.book[task, outcome] += files


@pytest.fixture
def workers(open_store: Callable[[], Store], clock: Clock) -> Workers:
    return Workers(open_store, clock)


def take(claims: Claims) -> Claim:
    claim = claims.claim()
    assert claim is not None
    return claim


def test_ends_are_told_by_task(workers: Workers, submit: Submit) -> None:
    submit(b"a", b"b", task="derain")
    submit(b"c", task="denoise")
    first, second = workers.claims
    for number in range(3):
        claim = take(first)
        if claim.index == 1:
            first.fail(claim, "corrupt", "no")
        else:
            first.finish(claim, RESULT)
        assert sum(workers.book.values()) == number + 1
    assert second.claim() is None
    assert workers.book == {("derain", "done"): 1, ("derain", "failed"): 1, ("denoise", "done"): 1}


def test_an_end_that_is_written_down_again_is_told_once(
    workers: Workers, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(b"a", b"b")
    claims, store = workers.claims[0], workers.queues[0].store
    real = store.reserve

    def no_answer(job_id: str, count: int, limit: int) -> None:
        if count < 0:
            monkeypatch.setattr(store, "reserve", real)
            raise JobsUnavailableError("gone for a moment")
        real(job_id, count, limit)

    done = take(claims)
    monkeypatch.setattr(store, "reserve", no_answer)  # the record is written, the room is not given back
    with pytest.raises(JobsUnavailableError):
        claims.finish(done, RESULT)
    claims.finish(done, RESULT)
    failed = take(claims)
    monkeypatch.setattr(store, "reserve", no_answer)
    with pytest.raises(JobsUnavailableError):
        claims.fail(failed, "corrupt", "no")
    with pytest.raises(LeaseLostError):
        claims.fail(failed, "corrupt", "no")
    assert workers.book == {("derain", "done"): 1, ("derain", "failed"): 1}


def test_what_is_given_back_has_not_ended(workers: Workers, submit: Submit, clock: Clock) -> None:
    submit(b"a")
    first, second = workers.claims
    first.give_back(take(first))
    lost = take(first)
    clock.now += first.lease_s + 1
    second.finish(take(second), RESULT)
    with pytest.raises(LeaseLostError):
        first.finish(lost, RESULT)
    assert workers.book == {("derain", "done"): 1}


def test_a_file_that_kills_workers_has_failed(workers: Workers, submit: Submit, clock: Clock) -> None:
    submit(b"a")
    for number in range(MAX_ATTEMPTS):
        take(workers.claims[number % 2])
        clock.now += workers.claims[0].lease_s + 1
    assert workers.book == {}
    assert [claims.claim() for claims in workers.claims] == [None, None]
    assert workers.book == {("derain", "failed"): 1}


def test_what_a_deleted_job_had_left_is_cancelled(workers: Workers, submit: Submit) -> None:
    job = submit(b"a", b"b", b"c")
    first, second = workers.claims
    first.finish(take(first), RESULT)
    running = take(second)
    workers.queues[0].delete(job.id, "anna")
    with pytest.raises(LeaseLostError):
        second.finish(running, RESULT)
    assert workers.book == {("derain", "done"): 1, ("derain", "cancelled"): 2}
    whole = submit(b"d")
    first.finish(take(first), RESULT)
    workers.queues[0].delete(whole.id, "anna")
    assert workers.book["derain", "cancelled"] == 2  # all of it was done


def test_what_an_expired_job_had_left_has_failed_once(workers: Workers, submit: Submit, clock: Clock) -> None:
    job = submit(b"a", b"b")
    first, second = workers.queues
    record = first.store.load(job.id)
    clock.now += TTL_S + 1
    for queue in (first, second, second):
        sweep(queue)
    second.bury(record, "has expired")  # as a worker does that had read it before the first removed it
    assert workers.book == {("derain", "failed"): 2}
    submit(owner="berta")
    with pytest.raises(JobNotFoundError):
        first.delete("x" * 22, "anna")
    assert workers.book == {("derain", "failed"): 2}


def test_holdings_are_of_all_jobs(workers: Workers, submit: Submit) -> None:
    (first, second), store = workers.claims, workers.queues[1].store
    assert store.holdings() == Holdings(0, 0)
    job = submit(b"12345", b"123", owner="anna")
    submit(b"1", owner="berta")
    assert store.holdings() == Holdings(3, 9)
    running = take(first)
    assert store.holdings().files_waiting == 2  # that one does not wait any more
    first.give_back(running)
    assert store.holdings().files_waiting == 3
    for _ in range(3):
        second.finish(take(second), RESULT)
    assert store.holdings() == Holdings(0, 3 * len(RESULT.data))
    workers.queues[0].delete(job.id, "anna")
    assert store.holdings() == Holdings(0, len(RESULT.data))


def test_what_arrives_does_not_wait_yet(store: Store, queue: JobQueue) -> None:
    job = queue.begin("anna", JobOptions("derain"), receive_s=60, expected_bytes=7)
    assert store.holdings() == Holdings(0, 7)
    store.update(job.id, lambda job: job.but(files=(JobFile(name="a", input_bytes=7),)))
    assert store.holdings().files_waiting == 0
    queue.commit(job.id, (JobFile(name="a", input_bytes=7),))
    assert store.holdings() == Holdings(1, 7)
    queue.store.remove(job.id, None)
    assert store.holdings() == Holdings(0, 0)

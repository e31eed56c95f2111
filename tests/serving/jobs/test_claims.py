from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving.jobs.claims import LEASE_S, Claim, Claims
from serving.jobs.errors import JobGoneError, JobsFullError, LeaseLostError
from serving.jobs.job import MAX_ATTEMPTS, WORKER_DIED, Job, JobFile, result_name
from serving.jobs.queue import JobQueue
from serving.jobs.restoring import RestoredFile
from serving.jobs.sqlite_store import SqliteStore
from serving.jobs.store import Change, Store

RESULT = RestoredFile(b"restored", "image/png", "m")
Submit = Callable[..., Job]

CLAIM_ALL = """
import sys, time
from pathlib import Path
from serving.jobs import open_store
from serving.jobs.claims import Claims
from serving.jobs.queue import JobQueue
from serving.settings import Settings
store = open_store(Settings(jobs=sys.argv[1], state=Path(sys.argv[2])))
claims = Claims(JobQueue(store, ttl_s=60, disk_bytes=10**6, clock=lambda: 1_800_000_000.0))
while claim := claims.claim():
    print(claim.job_id, claim.index, flush=True)
"""


def claimed_by_all(claimants: list[Claims]) -> Counter[tuple[str, int]]:
    """How often each file was claimed when all claim on threads of their own until nothing is left."""

    def all_of(claims: Claims) -> list[tuple[str, int]]:
        taken = []
        while claim := claims.claim():
            taken.append((claim.job_id, claim.index))
        return taken

    with ThreadPoolExecutor(len(claimants)) as pool:
        return Counter(entry for part in pool.map(all_of, claimants) for entry in part)


def take(claims: Claims) -> Claim:
    claim = claims.claim()
    assert claim is not None
    return claim


def test_every_file_is_claimed_once_by_many_threads(
    open_store: Callable[[], Store], queue: JobQueue, submit: Submit
) -> None:
    jobs = [submit(*[b"x"] * 12, owner=f"client {number % 3}") for number in range(4)]
    claimants = [Claims(JobQueue(open_store(), ttl_s=60, disk_bytes=1, clock=queue.clock)) for _ in range(4)]

    assert claimed_by_all(claimants * 2) == Counter({(job.id, index): 1 for job in jobs for index in range(12)})


class Careless(SqliteStore):
    """Reads and writes in two steps."""

    def update(self, job_id: str, change: Change) -> Job:
        job = change(self.load(job_id))
        time.sleep(0.01)
        return super().update(job_id, lambda _: job)


def test_a_store_that_is_not_atomic_would_be_seen(tmp_path: Path) -> None:
    job = Job(id="x", owner="anna", task="derain", options=(), created=0, expires=1e12)
    store = Careless(tmp_path)
    store.insert(job.but(files=(JobFile(name="a", input_bytes=1),) * 12))
    claimants = [Claims(JobQueue(store, ttl_s=60, disk_bytes=1)) for _ in range(4)]
    assert max(claimed_by_all(claimants).values()) > 1


def test_every_file_is_claimed_once_by_many_processes(jobs_setting: str, submit: Submit, tmp_path: Path) -> None:
    jobs = [submit(*[b"x"] * 30) for _ in range(2)]
    command = [sys.executable, "-c", CLAIM_ALL, jobs_setting, str(tmp_path)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    lines = [line for process in started for line in process.communicate(timeout=60)[0].splitlines()]
    assert Counter(lines) == Counter({f"{job.id} {index}": 1 for job in jobs for index in range(30)})


def test_clients_take_turns_and_so_do_their_jobs(claims: Claims, submit: Submit, clock: object) -> None:
    big, other = submit(b"1", b"2", b"3", owner="anna"), submit(b"4", owner="anna")
    small = submit(b"5", b"6", owner="berta")
    order = []
    for _ in range(6):
        clock.now += 1  # type: ignore[attr-defined]
        order.append(take(claims).job_id)
    assert {order[0], order[1]} >= {small.id}
    assert order.index(other.id) <= 3
    assert order[-1] == big.id


def test_a_finished_file_is_kept_whole_and_its_input_dropped(queue: JobQueue, claims: Claims, submit: Submit) -> None:
    job = submit(b"abc")
    claim = take(claims)
    assert claims.read_input(claim) == b"abc"
    claims.hold(claim, 1, 4)
    assert queue.get(job.id, "anna").progress == 0.25
    claims.finish(claim, RESULT)
    job = queue.get(job.id, "anna")
    assert b"".join(queue.chunks(job, 0)) == b"restored"
    assert job.files[0].model == "m"
    with pytest.raises(LeaseLostError):
        claims.read_input(claim)


def test_finishing_again_after_a_lost_answer_keeps_the_result(queue: JobQueue, claims: Claims, submit: Submit) -> None:
    job = submit(b"abc")
    claim = take(claims)
    claims.finish(claim, RESULT)
    claims.finish(claim, RESULT)
    assert b"".join(queue.chunks(queue.get(job.id, "anna"), 0)) == b"restored"
    assert claims.claim() is None


def test_a_slow_worker_cannot_overwrite_the_next(
    queue: JobQueue, claims: Claims, submit: Submit, clock: object
) -> None:
    job = submit(b"abc")
    slow = take(claims)
    assert claims.claim() is None
    clock.now += LEASE_S + 1  # type: ignore[attr-defined]
    quick = take(claims)
    with pytest.raises(LeaseLostError):
        claims.hold(slow, 1, 2)
    with pytest.raises(LeaseLostError):
        claims.finish(slow, RestoredFile(b"too late", "image/png", "m"))
    claims.finish(quick, RESULT)
    job = queue.get(job.id, "anna")
    assert b"".join(queue.chunks(job, 0)) == b"restored"
    with pytest.raises(Exception, match="is gone"):
        list(queue.store.blobs.chunks(job.id, result_name(0, slow.token)))


def test_a_held_lease_does_not_run_out(claims: Claims, submit: Submit, clock: object) -> None:
    submit(b"abc")
    claim = take(claims)
    for _ in range(5):
        clock.now += LEASE_S * 0.9  # type: ignore[attr-defined]
        assert claims.claim() is None
        claims.hold(claim, 0, 0)


def test_a_file_that_kills_workers_is_given_up(queue: JobQueue, claims: Claims, submit: Submit, clock: object) -> None:
    job = submit(b"bad", b"good")
    for _ in range(MAX_ATTEMPTS):
        assert take(claims).index == 0
        clock.now += LEASE_S + 1  # type: ignore[attr-defined]
    claims.finish(take(claims), RESULT)
    job = queue.get(job.id, "anna")
    assert job.finished
    assert job.files[0].error is not None
    assert job.files[0].error.code == WORKER_DIED


def test_what_is_given_back_is_taken_up_again(claims: Claims, submit: Submit, clock: object) -> None:
    submit(b"abc")
    for _ in range(2 * MAX_ATTEMPTS):
        claims.give_back(take(claims))
    claims.give_back(take(claims), delay_s=10)
    assert claims.claim() is None
    clock.now += 11  # type: ignore[attr-defined]
    take(claims)


def test_a_deleted_job_stops_its_worker(queue: JobQueue, claims: Claims, submit: Submit) -> None:
    job = submit(b"abc")
    claim = take(claims)
    assert claims.exists(claim)
    queue.delete(job.id, "anna")
    assert not claims.exists(claim)
    for end in (
        lambda: claims.hold(claim, 1, 2),
        lambda: claims.finish(claim, RESULT),
        lambda: claims.fail(claim, "corrupt", "no"),
        lambda: claims.give_back(claim),
    ):
        with pytest.raises(LeaseLostError):
            end()
    assert queue.store.blobs.job_ids() == []


def test_a_result_without_room_is_refused_and_leaves_nothing(claims: Claims, submit: Submit) -> None:
    submit(b"x" * 6000)
    claim = take(claims)
    with pytest.raises(JobsFullError):
        claims.finish(claim, RestoredFile(b"y" * 4001, "image/png", "m"))
    claims.finish(claim, RestoredFile(b"y" * 4000, "image/png", "m"))
    submit(b"z" * 6000)  # the input's room is free again


def test_a_lost_input_loses_the_job(queue: JobQueue, claims: Claims, submit: Submit) -> None:
    job = submit(b"abc")
    claim = take(claims)
    queue.store.blobs.delete_job(job.id)
    with pytest.raises(LeaseLostError):
        claims.read_input(claim)
    with pytest.raises(JobGoneError, match="lost its files"):
        queue.get(job.id, "anna")

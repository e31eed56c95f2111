"""The contract of a store, over every store there is."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import inf

import pytest

from serving.jobs.errors import BlobLostError, JobMissingError, JobsFullError
from serving.jobs.job import Job, JobFile
from serving.jobs.store import Candidate, Store, Tombstone, in_turn

FILES = (JobFile(name="a.png", input_bytes=3), JobFile(name="日本.png", input_bytes=4))


def a_job(name: str = "x", owner: str = "anna", **changes: object) -> Job:
    job = Job(id=name, owner=owner, task="derain", options=(("scale", "2"),), created=1e9, expires=2e9, files=FILES)
    return job.but(**changes)


def put(store: Store, job_id: str, name: str, *pieces: bytes) -> None:
    writer = store.blobs.writer(job_id, name)
    for piece in pieces:
        writer.write(piece)
    writer.commit()
    writer.abort()


def test_what_is_put_in_comes_out_for_everybody(open_store: Callable[[], Store]) -> None:
    here, there = open_store(), open_store()
    here.insert(a_job())
    assert there.load("x") == a_job()
    assert there.job_ids() == ["x"]
    before = there.version("x")
    here.update("x", lambda job: job.but(served=5.0))
    assert there.load("x").served == 5.0
    assert (there.version("x") or 0) > (before or 0)


def test_a_change_that_changes_nothing_is_no_new_version(store: Store) -> None:
    store.insert(a_job())
    before = store.version("x")
    store.update("x", lambda job: job)
    assert store.version("x") == before


def test_a_change_that_raises_leaves_all_as_it_was(store: Store) -> None:
    store.insert(a_job())
    before = store.version("x")

    def change(_: Job) -> Job:
        raise ValueError("planted")

    with pytest.raises(ValueError, match="planted"):
        store.update("x", change)
    assert (store.load("x"), store.version("x")) == (a_job(), before)
    store.update("x", lambda job: job.but(served=1.0))  # and nothing is locked


def test_what_is_not_there_is_missing(store: Store) -> None:
    assert store.version("x") is None
    assert store.tombstone("x") is None
    for ask in (lambda: store.load("x"), lambda: store.update("x", lambda job: job), lambda: store.reserve("x", 1, 9)):
        with pytest.raises(JobMissingError):
            ask()
    assert not store.remove("x", None)


def test_changes_at_the_same_time_are_all_kept(open_store: Callable[[], Store]) -> None:
    stores = [open_store() for _ in range(4)]
    stores[0].insert(a_job(served=0.0))

    def add(store: Store) -> None:
        for _ in range(25):
            store.update("x", lambda job: job.but(served=job.served + 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, stores * 2))
    assert stores[0].load("x").served == 200


def test_claimable_are_jobs_with_a_file_to_take(store: Store) -> None:
    store.insert(a_job("new"))
    store.insert(a_job("receiving", receiving=True))
    store.insert(a_job("later", files=(FILES[0].but(not_before=50.0),)))
    store.insert(a_job("finished", files=(FILES[0].failed("corrupt", "no"),)))
    assert {candidate.id for candidate in store.claimable(49)} == {"new"}
    assert {candidate.id for candidate in store.claimable(50)} == {"new", "later"}
    store.update("new", lambda job: job.but(files=(FILES[0].failed("corrupt", "no"),)))
    store.remove("later", None)
    assert store.claimable(1e12) == []


def test_turns_are_kept_per_client_and_job(store: Store) -> None:
    store.insert(a_job("x", served=7.0))
    store.insert(a_job("y", owner="berta"))
    store.mark_served("anna", 8.0)
    assert sorted(store.claimable(1), key=lambda candidate: candidate.id) == [
        Candidate("x", "anna", 7.0, 8.0),
        Candidate("y", "berta", 0.0, 0.0),
    ]
    assert [candidate.id for candidate in in_turn(store.claimable(1))] == ["y", "x"]


def test_unfinished_jobs_are_counted_per_client(store: Store) -> None:
    store.insert(a_job("x"))
    store.insert(a_job("y", receiving=True, files=()))
    store.insert(a_job("z", files=(FILES[0].failed("corrupt", "no"),)))
    assert (store.unfinished("anna"), store.unfinished("berta")) == (2, 0)


def test_reservations_never_pass_the_limit(open_store: Callable[[], Store]) -> None:
    stores = [open_store() for _ in range(3)]
    for number in range(6):
        stores[0].insert(a_job(str(number)))

    def take(number: int) -> int:
        store, taken = stores[number % 3], 0
        for _ in range(20):
            try:
                store.reserve(str(number), 10, 405)
            except JobsFullError:
                continue
            taken += 10
        return taken

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(take, range(6))) == 400
    with pytest.raises(JobsFullError, match="400 are taken and 6 more") as raised:
        stores[0].reserve("0", 6, 405)
    assert int(raised.value.headers["Retry-After"]) >= 1
    stores[0].reserve("0", 5, 405)
    stores[0].reserve("0", -5, 405)
    stores[0].reserve("1", 5, 405)


def test_a_removed_job_holds_nothing_and_leaves_a_tombstone(store: Store, clock: Callable[[], float]) -> None:
    store.insert(a_job())
    store.reserve("x", 10, 10)
    put(store, "x", "0.input", b"abc")
    gone = Tombstone(owner="anna", why="was deleted", until=clock() + 100)
    assert store.remove("x", gone)
    assert (store.version("x"), store.tombstone("x"), store.job_ids()) == (None, gone, [])
    assert not store.blobs.exists("x")
    with pytest.raises(BlobLostError):
        list(store.blobs.chunks("x", "0.input"))
    store.insert(a_job("y"))
    store.reserve("y", 10, 10)


def test_tombstones_are_forgotten(store: Store, clock: Callable[[], float], wait_until: Callable[..., None]) -> None:
    store.remove("x", Tombstone(owner=None, why="was lost", until=clock() + 1))
    store.forget(clock() + 0.5)
    assert store.tombstone("x") is not None
    store.forget(inf)
    wait_until(lambda: store.tombstone("x") is None)  # Redis forgets by its own clock


def test_expired_jobs_are_found(store: Store) -> None:
    store.insert(a_job("x", expires=100.0))
    store.insert(a_job("y", expires=200.0))
    assert store.expired(150) == ["x"]
    store.update("x", lambda job: job.but(expires=300.0))
    assert store.expired(250) == ["y"]


def test_a_blob_is_seen_when_it_is_whole(store: Store) -> None:
    store.insert(a_job())
    writer = store.blobs.writer("x", "b")
    writer.write(b"half")
    with pytest.raises(BlobLostError):
        list(store.blobs.chunks("x", "b"))
    writer.write(b" a picture" * 100_000)
    writer.commit()
    pieces = list(store.blobs.chunks("x", "b"))
    assert b"".join(pieces) == b"half" + b" a picture" * 100_000
    assert 1 < len(pieces) < 10
    store.blobs.delete("x", "b")
    store.blobs.delete("x", "b")
    with pytest.raises(BlobLostError):
        list(store.blobs.chunks("x", "b"))


def test_an_aborted_blob_leaves_what_was_there(store: Store) -> None:
    store.insert(a_job())
    put(store, "x", "b", b"old")
    writer = store.blobs.writer("x", "b")
    writer.write(b"new")
    writer.abort()
    assert b"".join(store.blobs.chunks("x", "b")) == b"old"
    put(store, "x", "b", b"new")
    assert b"".join(store.blobs.chunks("x", "b")) == b"new"


def test_nothing_is_written_for_a_job_that_is_gone(store: Store) -> None:
    store.insert(a_job())
    writer = store.blobs.writer("x", "b")
    writer.write(b"abc")
    store.remove("x", None)
    with pytest.raises(BlobLostError):
        writer.commit()
    writer.abort()
    with pytest.raises(BlobLostError):
        store.blobs.writer("x", "b")
    assert store.blobs.job_ids() == []


def test_rooms_are_listed(store: Store) -> None:
    store.insert(a_job("x"))
    store.insert(a_job("y"))
    assert store.blobs.job_ids() == ["x", "y"]
    assert store.blobs.exists("x")
    assert not store.blobs.exists("z")

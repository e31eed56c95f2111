from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.jobs.errors import LeaseLostError
from serving.jobs.job import MAX_ATTEMPTS, WORKER_DIED, FileStatus, Job, JobFile, JobStatus

LEASE = 10.0


def a_job(count: int = 2) -> Job:
    files = tuple(JobFile(name=f"{index}.png", input_bytes=1) for index in range(count))
    return Job(id="x", owner="anna", task="derain", options=(), created=0, expires=100, files=files)


def claimed(job: Job, now: float = 0.0, token: str = "t") -> tuple[Job, int]:
    job, index = job.claim(now, token, now + LEASE)
    assert index is not None
    return job, index


def test_a_job_is_queued_then_running_then_done() -> None:
    job = a_job()
    assert (job.status, job.progress) == (JobStatus.QUEUED, 0)
    job, first = claimed(job, token="a")
    job = job.hold(first, "a", 5, 1, 2)
    assert (job.status, job.progress) == (JobStatus.RUNNING, 0.25)
    job = job.succeed(first, "a", "blob", 3, "image/png", "m")
    job, second = claimed(job, token="b")
    assert (first, second) == (0, 1)
    job = job.fail(second, "b", "corrupt", "no")
    assert (job.status, job.progress, job.finished, job.claim_at) == (JobStatus.DONE, 1, True, None)
    assert job.claim(1e9, "c", 2e9)[1] is None


def test_a_submission_that_arrives_is_neither_finished_nor_claimed() -> None:
    job = a_job(0).but(receiving=True)
    assert not job.finished
    assert job.claim_at is None
    assert a_job(2).but(receiving=True).claim(0, "t", 1)[1] is None


def test_a_dead_lease_puts_the_file_back_three_times() -> None:
    job, now = a_job(1), 0.0
    for attempt in range(MAX_ATTEMPTS):
        assert job.claim_at is not None
        now = job.claim_at + 0.5
        job, _ = claimed(job, now, f"t{attempt}")
        assert job.files[0].attempts == attempt + 1
        assert job.claim(now, "early", now + LEASE)[1] is None
    job, none = job.claim(now + LEASE, "late", now + 2 * LEASE)
    assert none is None
    assert job.files[0].error is not None
    assert (job.files[0].error.code, job.status) == (WORKER_DIED, JobStatus.DONE)


@pytest.mark.parametrize("change", ["hold", "give_back", "succeed", "fail"])
def test_who_has_lost_the_lease_changes_nothing(change: str) -> None:
    job, _ = claimed(a_job(1), token="old")
    job, _ = claimed(job, LEASE, "new")
    calls = {
        "hold": lambda token: job.hold(0, token, 1, 0, 1),
        "give_back": lambda token: job.give_back(0, token, 0, counts=False),
        "succeed": lambda token: job.succeed(0, token, "blob", 1, "image/png", "m"),
        "fail": lambda token: job.fail(0, token, "corrupt", "no"),
    }
    with pytest.raises(LeaseLostError):
        calls[change]("old")
    calls[change]("new")


def test_a_file_given_back_waits_and_keeps_its_attempts() -> None:
    job, _ = claimed(a_job(1))
    job = job.give_back(0, "t", 50, counts=False)
    assert (job.files[0].attempts, job.claim_at) == (0, 50)
    assert job.claim(49, "t", 60)[1] is None
    job, _ = claimed(job, 50)
    assert job.give_back(0, "t", 0, counts=True).files[0].attempts == 1


@given(st.lists(st.tuples(st.sampled_from(["claim", "hold", "back", "done", "fail", "wait"]), st.integers(0, 7))))
def test_whatever_happens_a_job_is_consistent(steps: list[tuple[str, int]]) -> None:
    job, now, held = a_job(3), 0.0, {}
    for step, (action, number) in enumerate(steps):
        if action == "wait":
            now += number * 2
        elif action == "claim":
            job, index = job.claim(now, str(step), now + LEASE)
            if index is not None:
                # Nobody else may hold it with a lease that has not run out.
                assert held.get(index, (now, ""))[0] <= now
                held[index] = (now + LEASE, str(step))
        elif held:
            index = sorted(held)[number % len(held)]
            token = held[index][1]
            try:
                if action == "hold":
                    job = job.hold(index, token, now + LEASE, number, 7)
                    held[index] = (now + LEASE, token)
                    continue
                if action == "back":
                    job = job.give_back(index, token, 0, counts=False)
                elif action == "done":
                    job = job.succeed(index, token, "blob", 1, "image/png", "m")
                else:
                    job = job.fail(index, token, "corrupt", "no")
            except LeaseLostError:
                pass
            del held[index]
        for file in job.files:
            assert (file.lease is not None) == (file.status is FileStatus.RUNNING)
            assert (file.result is not None) == (file.status is FileStatus.DONE)
            assert (file.error is not None) == (file.status is FileStatus.FAILED)
            assert 0 <= file.attempts <= MAX_ATTEMPTS
        assert 0 <= job.progress <= 1
        assert (job.claim_at is None) == job.finished
        assert Job.model_validate_json(job.model_dump_json()) == job


def test_a_last_attempt_waits_until_nothing_is_beside_it() -> None:
    job = a_job(2)
    job = job.but(files=(job.files[0].but(attempts=MAX_ATTEMPTS - 1), job.files[1]))
    job, index = job.claim(0, "a", LEASE, alone=False)
    assert index == 1
    assert job.claim(0, "b", LEASE, alone=False)[1] is None
    assert job.claim(0, "b", LEASE, alone=True)[1] == 0

"""What a worker does with the queue: claim a file, hold it, and end it one way or another. Not async: see `threads`."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from serving.jobs.errors import BlobLostError, JobDamagedError, JobMissingError, JobsFullError, LeaseLostError
from serving.jobs.job import MAX_ATTEMPTS, Job, input_name, result_name
from serving.jobs.queue import JobQueue
from serving.jobs.restoring import JobOptions, RestoredFile
from serving.jobs.store import Candidate, in_turn

LEASE_S = 30.0
# Small enough for one command to a store at the other end of a network.
_PIECE_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Claim:
    """The right to restore one file.

    Attributes:
        until: When the lease runs out unless it is renewed, seconds since 1970.
        alone: Nothing else is to be taken up beside it.
    """

    job_id: str
    index: int
    token: str
    options: JobOptions
    until: float
    alone: bool


class Claims:
    """Claims of one worker.

    Args:
        queue: Where files come from.
        lease_s: Seconds after which a file whose worker is silent is taken up again.
    """

    def __init__(self, queue: JobQueue, *, lease_s: float = LEASE_S) -> None:
        self._queue = queue
        self.lease_s = lease_s
        self.clock = queue.clock

    def exists(self, claim: Claim) -> bool:
        """Whether the job is still there. Cheap."""
        return self._queue.store.version(claim.job_id) is not None

    def claim(self, *, alone: bool = True) -> Claim | None:
        """Takes up a file that nobody works on, whose turn it is; None if there is none.

        Args:
            alone: Whether nothing else is in progress here: only then is it a file that workers have died over twice.
        """
        now = self._queue.clock()
        for candidate in in_turn(self._queue.store.claimable(now)):
            claim = self._claim_of(candidate, now, alone)
            if claim is not None:
                self._queue.store.mark_served(candidate.owner, now)
                return claim
        return None

    def _claim_of(self, candidate: Candidate, now: float, alone: bool) -> Claim | None:
        token, until = secrets.token_hex(8), now + self.lease_s
        taken: int | None = None
        given_up = 0

        def take(job: Job) -> Job:
            nonlocal taken, given_up
            claimed, taken = job.claim(now, token, until, alone=alone)
            given_up = _finished(claimed) - _finished(job)
            return claimed

        try:
            job = self._queue.store.update(candidate.id, take)
        except JobMissingError:
            return None
        except JobDamagedError as error:
            self._queue.lose(candidate.id, None, error)
            return None
        if given_up:
            self._queue.count(job.task, "failed", given_up)
        if taken is None:
            return None
        last = job.files[taken].attempts == MAX_ATTEMPTS
        return Claim(job.id, taken, token, JobOptions(job.task, job.options), until, last)

    def read_input(self, claim: Claim) -> bytes:
        """The file as it was sent.

        Raises:
            LeaseLostError: It is gone, and so is the job now.
        """
        try:
            return b"".join(self._queue.store.blobs.chunks(claim.job_id, input_name(claim.index)))
        except BlobLostError as error:
            self._lose_claimed(claim, error)
            raise LeaseLostError(str(error)) from error

    def hold(self, claim: Claim, tiles_done: int, tiles: int) -> float:
        """Renews the lease and notes how far the file is.

        Returns:
            When the lease runs out now, seconds since 1970.

        Raises:
            LeaseLostError: Stop, somebody else may work on it, or the job is gone.
        """
        until = self._queue.clock() + self.lease_s
        self._update(claim, lambda job: job.hold(claim.index, claim.token, until, tiles_done, tiles))
        return until

    def finish(self, claim: Claim, restored: RestoredFile) -> None:
        """Keeps the result of a file; whatever goes wrong, half a result is never seen. May be called again.

        Raises:
            LeaseLostError: The lease is not held any more; nothing is kept.
            JobsFullError: There is no room for the result.
        """
        name, size = result_name(claim.index, claim.token), len(restored.data)

        def succeed(job: Job) -> Job:
            if job.files[claim.index].result == name:
                return job  # an earlier call got through, only its answer did not
            return job.succeed(claim.index, claim.token, name, size, restored.media_type, restored.model)

        try:
            self._queue.reserve(claim.job_id, size)
        except JobMissingError as error:
            raise LeaseLostError(str(error)) from error
        try:
            self._write(claim, name, restored.data)
            job = self._update(claim, succeed)
        except (LeaseLostError, JobsFullError):
            self._queue.store.blobs.delete(claim.job_id, name)
            self._give_room_back(claim.job_id, size)
            raise
        self._drop_input(job, claim.index)
        # Last: up to here it may be called again.
        self._queue.count(job.task, "done", 1)

    def _write(self, claim: Claim, name: str, data: bytes) -> None:
        try:
            writer = self._queue.store.blobs.writer(claim.job_id, name)
            try:
                for start in range(0, len(data), _PIECE_BYTES):
                    writer.write(data[start : start + _PIECE_BYTES])
                writer.commit()
            finally:
                writer.abort()
        except BlobLostError as error:
            self._lose_claimed(claim, error)
            raise LeaseLostError(str(error)) from error

    def fail(self, claim: Claim, code: str, message: str) -> None:
        """Ends a file that cannot be restored.

        Raises:
            LeaseLostError: The lease is not held any more.
        """
        job = self._update(claim, lambda job: job.fail(claim.index, claim.token, code, message))
        self._queue.count(job.task, "failed", 1)
        self._drop_input(job, claim.index)

    def give_back(self, claim: Claim, *, delay_s: float = 0.0, counts: bool = False) -> None:
        """Puts a file back into the queue, for `delay_s` at least; `counts`: this was one of its attempts.

        Raises:
            LeaseLostError: The lease is not held any more.
        """
        not_before = self._queue.clock() + delay_s if delay_s else 0.0
        self._update(claim, lambda job: job.give_back(claim.index, claim.token, not_before, counts=counts))

    def _update(self, claim: Claim, change: Callable[[Job], Job]) -> Job:
        try:
            return self._queue.store.update(claim.job_id, change)
        except (JobMissingError, JobDamagedError) as error:
            raise LeaseLostError(str(error)) from error

    def _drop_input(self, job: Job, index: int) -> None:
        self._queue.store.blobs.delete(job.id, input_name(index))
        self._give_room_back(job.id, job.files[index].input_bytes)

    def _give_room_back(self, job_id: str, count: int) -> None:
        try:
            self._queue.reserve(job_id, -count)
        except JobMissingError:
            return  # and with the job all that it held

    def _lose_claimed(self, claim: Claim, why: Exception) -> None:
        try:
            job = self._queue.store.load(claim.job_id)
        except JobMissingError:
            return
        except JobDamagedError:
            self._queue.lose(claim.job_id, None, why)
            return
        lease = job.files[claim.index].lease
        if lease is not None and lease.token == claim.token:
            self._queue.lose(job.id, job.owner, why)


def _finished(job: Job) -> int:
    return sum(file.finished for file in job.files)

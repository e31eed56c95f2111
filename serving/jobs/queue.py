"""What clients do with jobs, over any store: submit, look, delete. Not async: see `threads`.

Limits. All jobs together hold at most `disk_bytes`: what was sent counts from its arrival, results count once written,
and what was sent is deleted as soon as its file is done. A client may have `MAX_UNFINISHED` jobs that are not finished
(a soft limit: submissions in the same moment may pass it together); more would only wait, since clients take turns, as
do the jobs of each. Without API keys all clients are one, named anonymous.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterator

from serving.jobs.errors import (
    JobDamagedError,
    JobGoneError,
    JobMissingError,
    JobNotFoundError,
    JobsFullError,
    TooManyJobsError,
)
from serving.jobs.job import Job, JobFile
from serving.jobs.restoring import JobOptions
from serving.jobs.store import Store, Tombstone

logger = logging.getLogger(__name__)

MAX_UNFINISHED = 100
# How long a job that is gone answers 410 before it is unknown.
TOMBSTONE_S = 7 * 86_400.0

CountFiles = Callable[[str, str, int], None]
"""Told the task, the outcome (done, failed or cancelled) and how many files of a job have ended so."""

_ID = re.compile(r"[A-Za-z0-9_-]{22}")

DELETED = "was deleted"
EXPIRED = "has expired"
LOST = "lost its files on the server"


def count_nothing(task: str, outcome: str, files: int) -> None:
    """A `CountFiles` that takes no notice."""


class JobQueue:
    """Jobs in a store.

    Args:
        store: Where they are kept.
        ttl_s: Seconds a job lives.
        disk_bytes: Bytes all jobs may hold.
        clock: Seconds since 1970.
        count: Told of files that have ended, once for each, however many workers look after the store. Files of a job
            that is lost are not told: nobody can tell how many there were.
    """

    def __init__(
        self,
        store: Store,
        *,
        ttl_s: float,
        disk_bytes: int,
        clock: Callable[[], float] = time.time,
        count: CountFiles = count_nothing,
    ) -> None:
        self.store = store
        self.count = count
        self.clock = clock
        self._ttl_s = ttl_s
        self._disk_bytes = disk_bytes

    def begin(self, owner: str, options: JobOptions, *, receive_s: float, expected_bytes: int = 0) -> Job:
        """Makes room for a submission that starts to arrive.

        Args:
            owner: The client.
            options: What to do with every file.
            receive_s: Seconds it may take to arrive; one that takes longer is swept away.
            expected_bytes: Reserved at once.

        Raises:
            TooManyJobsError: The client has too many unfinished jobs.
            JobsFullError: There is no room for as many bytes.
        """
        if self.store.unfinished(owner) >= MAX_UNFINISHED:
            text = f"This client has {MAX_UNFINISHED} unfinished jobs, which is the most. Wait for one, or delete it."
            raise TooManyJobsError(text, {"Retry-After": "30"})
        now = self.clock()
        job = Job(
            id=secrets.token_urlsafe(16),
            owner=owner,
            task=options.task,
            options=options.pairs,
            created=now,
            expires=now + receive_s,
            receiving=True,
        )
        self.store.insert(job)
        try:
            self.reserve(job.id, expected_bytes)
        except JobsFullError:
            self.store.remove(job.id, None)
            raise
        return job

    def reserve(self, job_id: str, count: int) -> None:
        """Reserves `count` more bytes for a job, or gives them back if negative.

        Raises:
            JobsFullError: All jobs together would hold more than they may.
            JobMissingError: The job is gone.
        """
        if count:
            self.store.reserve(job_id, count, self._disk_bytes)

    def commit(self, job_id: str, files: tuple[JobFile, ...]) -> Job:
        """Makes a submission that has arrived a job that is worked on.

        Raises:
            JobGoneError: It took too long and was swept away.
        """
        expires = self.clock() + self._ttl_s
        try:
            return self.store.update(job_id, lambda job: job.but(files=files, receiving=False, expires=expires))
        except JobMissingError as error:
            raise JobGoneError("The submission took too long to arrive and was dropped. Send it faster.") from error

    def abandon(self, job_id: str) -> None:
        """Drops a submission that did not arrive."""
        self.store.remove(job_id, None)

    def get(self, job_id: str, owner: str) -> Job:
        """The job, if this client may see it.

        Raises:
            JobNotFoundError: There is none, or it is another client's.
            JobGoneError: It was deleted, has expired or was lost.
        """
        if not _ID.fullmatch(job_id):
            raise _unknown(job_id)
        try:
            job = self.store.load(job_id)
        except JobMissingError as error:
            raise self._absent(job_id, owner) from error
        except JobDamagedError as error:
            self.lose(job_id, None, error)
            raise self._absent(job_id, owner) from error
        if job.owner != owner or job.receiving:
            raise _unknown(job_id)
        if job.expires <= self.clock():
            self.bury(job, EXPIRED)
            raise self._absent(job_id, owner)
        return job

    def chunks(self, job: Job, index: int) -> Iterator[bytes]:
        """The bytes of a restored file.

        Raises:
            BlobLostError: They are not there; call `lose`.
        """
        result = job.files[index].result
        assert result is not None, "only files that are done have a result"
        return self.store.blobs.chunks(job.id, result)

    def delete(self, job_id: str, owner: str) -> Job:
        """Deletes a job and its files.

        Returns:
            The job as it was last; cancelled, if it was not finished.

        Raises:
            RequestError: As `get`.
        """
        job = self.get(job_id, owner)
        self.bury(job, DELETED)
        last: Job = job if job.finished else job.but(cancelled=True)
        return last

    def lose(self, job_id: str, owner: str | None, why: Exception) -> None:
        """Gives up a job whose record or files are damaged."""
        logger.warning("Job %s is lost: %s", job_id, why)
        self.store.remove(job_id, Tombstone(owner=owner, why=LOST, until=self.clock() + TOMBSTONE_S))

    def bury(self, job: Job, why: str) -> None:
        """Removes a job; `why` ends the sentence "The job ..." in its 410."""
        gone = Tombstone(owner=job.owner, why=why, until=self.clock() + TOMBSTONE_S)
        removed = self.store.remove(job.id, None if job.receiving else gone)
        left = sum(not file.finished for file in job.files)
        # Of several workers that bury it one has removed it.
        if removed and left:
            self.count(job.task, "cancelled" if why == DELETED else "failed", left)

    def _absent(self, job_id: str, owner: str) -> JobGoneError | JobNotFoundError:
        gone = self.store.tombstone(job_id)
        if gone is None or gone.until <= self.clock() or gone.owner not in (None, owner):
            return _unknown(job_id)
        return JobGoneError(f"The job {job_id} {gone.why}. Submit its files again.")


def _unknown(job_id: str) -> JobNotFoundError:
    return JobNotFoundError(f"There is no job {job_id[:80]!r}. POST /v1/jobs answers the id of a new one.")

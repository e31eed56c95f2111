"""What a store of jobs must offer. Rules about jobs are in `job.py`; a store only keeps records, atomically.

Safe to call from several threads, processes and, for Redis, machines. No call waits for longer than some seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from serving.jobs.errors import JobDamagedError
from serving.jobs.job import Job

Change = Callable[[Job], Job]


class Tombstone(BaseModel):
    """What is left of a job, so that it answers 410 for a while.

    Attributes:
        owner: Who may know; None where that was lost as well.
        why: End of the sentence "The job ...".
        until: When it is forgotten too, seconds since 1970.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    owner: str | None
    why: str
    until: float


@dataclass(frozen=True)
class Candidate:
    """A job with a file to claim; times are seconds since 1970, 0 for never."""

    id: str
    owner: str
    served: float
    owner_served: float


@dataclass(frozen=True)
class Holdings:
    """How much all jobs together are at one moment.

    Attributes:
        files_waiting: Files that nobody works on yet.
        held_bytes: Bytes that count against the limit of all jobs.
    """

    files_waiting: int
    held_bytes: int


def in_turn(candidates: list[Candidate]) -> list[Candidate]:
    """In the order to try them: clients take turns, and so do the jobs of each client."""
    return sorted(candidates, key=lambda candidate: (candidate.owner_served, candidate.served))


class BlobWriter(Protocol):
    """A blob that is being written; nobody sees it before `commit`."""

    def write(self, data: bytes) -> None:
        """Appends."""
        ...

    def commit(self) -> None:
        """Makes the blob visible under its name, whole."""
        ...

    def abort(self) -> None:
        """Drops what was written; after `commit` it does nothing."""
        ...


class Blobs(Protocol):
    """The bytes of files, by job and name. Names come from `job.py`, never from a client."""

    def create(self, job_id: str) -> None:
        """Makes room for a job's blobs."""
        ...

    def writer(self, job_id: str, name: str) -> BlobWriter:
        """Starts a blob.

        Raises:
            BlobLostError: There is no room of this job (any more).
        """
        ...

    def chunks(self, job_id: str, name: str) -> Iterator[bytes]:
        """The bytes of a blob, piece by piece.

        Raises:
            BlobLostError: It is not there.
        """
        ...

    def delete(self, job_id: str, name: str) -> None:
        """Deletes a blob, if it is there."""
        ...

    def delete_job(self, job_id: str) -> None:
        """Deletes all blobs of a job and their room."""
        ...

    def exists(self, job_id: str) -> bool:
        """Whether there is room of this job."""
        ...

    def job_ids(self) -> list[str]:
        """All jobs with room."""
        ...


class Store(Protocol):
    """Records of jobs. Every method is one atomic step and raises JobsUnavailableError if the store does not answer."""

    @property
    def blobs(self) -> Blobs:
        """Where the bytes are."""
        ...

    def insert(self, job: Job) -> None:
        """Adds a job that holds no bytes yet."""
        ...

    def load(self, job_id: str) -> Job:
        """Reads a job.

        Raises:
            JobMissingError: There is none of this id.
            JobDamagedError: It cannot be read.
        """
        ...

    def version(self, job_id: str) -> int | None:
        """A number that grows with every change of the job; None if there is no such job. Cheap."""
        ...

    def update(self, job_id: str, change: Change) -> Job:
        """Replaces a job by `change` of it, which may be called several times and may raise to leave all as it is.

        Raises:
            JobMissingError: There is none of this id.
            JobDamagedError: It cannot be read.
        """
        ...

    def remove(self, job_id: str, tombstone: Tombstone | None) -> bool:
        """Removes a job and its blobs; False if it was not there. The tombstone is set in either case."""
        ...

    def tombstone(self, job_id: str) -> Tombstone | None:
        """What is left of a removed job."""
        ...

    def claimable(self, now: float) -> list[Candidate]:
        """Jobs with a file that may be claimed at this time."""
        ...

    def mark_served(self, owner: str, now: float) -> None:
        """Notes that it was this client's turn."""
        ...

    def unfinished(self, owner: str) -> int:
        """How many jobs of this client are receiving, queued or running."""
        ...

    def reserve(self, job_id: str, count: int, limit: int) -> None:
        """Adds `count` bytes (negative: gives them back) to what the job holds.

        Raises:
            JobsFullError: All jobs together would hold more than `limit`; nothing is added.
            JobMissingError: There is no such job.
        """
        ...

    def holdings(self) -> Holdings:
        """How much all jobs together are. Reads all unfinished jobs: for every few seconds, not for every request."""
        ...

    def expired(self, now: float) -> list[str]:
        """Ids of jobs whose time is up."""
        ...

    def forget(self, now: float) -> None:
        """Drops tombstones whose time is up."""
        ...

    def job_ids(self) -> list[str]:
        """Ids of all jobs."""
        ...

    def close(self) -> None:
        """Gives back connections."""
        ...


def parse_job(job_id: str, document: str | bytes) -> Job:
    """Reads a job's JSON document.

    Raises:
        JobDamagedError: It is no job, or one of another version of this service.
    """
    try:
        return Job.model_validate_json(document)
    except ValidationError as error:
        raise JobDamagedError(f"The record of job {job_id} cannot be read: {error}") from error

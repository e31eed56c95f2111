"""A job and what can happen to it: pure functions from one state to the next, whatever store keeps them.

A file is queued, then running under a lease that its worker renews, then done or failed. A lease that runs out puts the
file back: a worker that dies loses nothing but time. After two deaths the last attempt is made alone, so that the files
beside it are not given up with it. Every change names the lease it acts under, so a worker that was only slow cannot
overwrite what another one does.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from serving.jobs.errors import LeaseLostError

MAX_ATTEMPTS = 3
WORKER_DIED = "worker_died"


class FileStatus(StrEnum):
    """Where one file stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class JobStatus(StrEnum):
    """Where a job stands; it is done when every file is done or failed."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def but(self, **changes: Any) -> Any:
        """A copy with some fields changed; for trusted values, nothing is validated."""
        return self.model_copy(update=changes)


class Lease(_Record):
    """The right to work on one file.

    Attributes:
        token: Unguessable name of the holder.
        until: When it runs out, in seconds since 1970.
    """

    token: str
    until: float


class FileError(_Record):
    """Why a file failed, as in an error answer."""

    code: str
    message: str


class JobFile(_Record):
    """One picture of a job.

    Attributes:
        name: As the client called it, made harmless; for display and for the archive.
        input_bytes: Size of what was sent; its blob is `input_name(index)` until the file is done or failed.
        attempts: Times that work on it began and did not end in an orderly way.
        not_before: Earliest time of the next attempt, in seconds since 1970.
        tiles_done: Tiles restored in this attempt, of `tiles` (0: not known yet).
        result: Name of the blob that holds the restored file.
    """

    name: str
    input_bytes: int
    status: FileStatus = FileStatus.QUEUED
    attempts: int = 0
    not_before: float = 0.0
    lease: Lease | None = None
    tiles_done: int = 0
    tiles: int = 0
    model: str | None = None
    media_type: str | None = None
    result: str | None = None
    result_bytes: int | None = None
    error: FileError | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing will be done with it any more."""
        return self.status in (FileStatus.DONE, FileStatus.FAILED)

    @property
    def suspect(self) -> bool:
        """Whether workers have died over it so often that only one attempt is left."""
        return self.attempts >= MAX_ATTEMPTS - 1

    @property
    def fraction(self) -> float:
        """How much of it is done, in [0, 1]."""
        if self.finished:
            return 1.0
        return min(1.0, self.tiles_done / self.tiles) if self.tiles else 0.0

    def freed(self) -> JobFile:
        """The file without lease, progress and status of its attempt."""
        free: JobFile = self.but(status=FileStatus.QUEUED, lease=None, tiles_done=0, tiles=0)
        return free

    def failed(self, code: str, message: str) -> JobFile:
        """The file, given up."""
        failed: JobFile = self.freed().but(status=FileStatus.FAILED, error=FileError(code=code, message=message))
        return failed


class Job(_Record):
    """A submission of several pictures.

    Attributes:
        id: Unguessable.
        owner: Name of the client that may see it.
        options: Query options as they were sent, without the task.
        created: Seconds since 1970.
        expires: When it is forgotten, seconds since 1970.
        receiving: The submission is still arriving; the job is not visible yet.
        served: When a file of it was last taken up, seconds since 1970: jobs take turns by it.
    """

    id: str
    owner: str
    task: str
    options: tuple[tuple[str, str], ...]
    created: float
    expires: float
    receiving: bool = False
    cancelled: bool = False
    served: float = 0.0
    files: tuple[JobFile, ...] = ()

    @property
    def status(self) -> JobStatus:
        """Where the job as a whole stands."""
        if self.cancelled:
            return JobStatus.CANCELLED
        if self.finished:
            return JobStatus.DONE
        waiting = all(file.status is FileStatus.QUEUED for file in self.files)
        return JobStatus.QUEUED if waiting else JobStatus.RUNNING

    @property
    def finished(self) -> bool:
        """Whether every file is done or failed."""
        return not self.receiving and all(file.finished for file in self.files)

    @property
    def progress(self) -> float:
        """Mean over its files, in [0, 1]."""
        return sum(file.fraction for file in self.files) / len(self.files) if self.files else 0.0

    @property
    def claim_at(self) -> float | None:
        """When a file of it may next be claimed, seconds since 1970; None if never."""
        if self.receiving:
            return None
        times = [file.not_before for file in self.files if file.status is FileStatus.QUEUED]
        times += [file.lease.until for file in self.files if file.lease is not None]
        return min(times, default=None)

    def claim(self, now: float, token: str, until: float, *, alone: bool = True) -> tuple[Job, int | None]:
        """Takes up the first file that nobody works on.

        Files whose lease has run out are put back first, or given up after `MAX_ATTEMPTS`.

        Args:
            now: Seconds since 1970.
            token: Of the lease.
            until: When the lease runs out.
            alone: Whether nothing else is in progress where this file will be: then it may be a last attempt.

        Returns:
            The job after that, and the index of the file; None if there is none to take.
        """
        files = tuple(_without_dead_lease(file, now) for file in self.files)
        for index, file in enumerate(files):
            ready = file.status is FileStatus.QUEUED and file.not_before <= now and not self.receiving
            if ready and (alone or not file.suspect):
                lease = Lease(token=token, until=until)
                taken = file.but(status=FileStatus.RUNNING, lease=lease, attempts=file.attempts + 1)
                return self.but(files=(*files[:index], taken, *files[index + 1 :]), served=now), index
        return self.but(files=files), None

    def hold(self, index: int, token: str, until: float, tiles_done: int, tiles: int) -> Job:
        """Renews a lease and notes how far the file is.

        Raises:
            LeaseLostError: The lease is not held any more; so with all methods below.
        """

        def held(file: JobFile) -> JobFile:
            renewed: JobFile = file.but(
                lease=Lease(token=token, until=until), tiles_done=min(tiles_done, tiles), tiles=tiles
            )
            return renewed

        return self._with(index, token, held)

    def give_back(self, index: int, token: str, not_before: float, *, counts: bool) -> Job:
        """Puts a file back into the queue; `counts` says whether this was one of its attempts."""

        def back(file: JobFile) -> JobFile:
            attempts = file.attempts if counts else file.attempts - 1
            freed: JobFile = file.freed().but(not_before=not_before, attempts=attempts)
            return freed

        return self._with(index, token, back)

    def succeed(self, index: int, token: str, result: str, size: int, media_type: str, model: str) -> Job:
        """Ends a file well; its result is the blob `result` of `size` bytes."""

        def done(file: JobFile) -> JobFile:
            return file.freed().but(  # type: ignore[no-any-return]
                status=FileStatus.DONE, result=result, result_bytes=size, media_type=media_type, model=model
            )

        return self._with(index, token, done)

    def fail(self, index: int, token: str, code: str, message: str) -> Job:
        """Ends a file that cannot be restored."""
        return self._with(index, token, lambda file: file.failed(code, message))

    def _with(self, index: int, token: str, change: Callable[[JobFile], JobFile]) -> Job:
        file = self.files[index]
        if file.lease is None or file.lease.token != token:
            raise LeaseLostError(f"File {index} of job {self.id} is not held under this lease any more.")
        changed: Job = self.but(files=(*self.files[:index], change(file), *self.files[index + 1 :]))
        return changed


def _without_dead_lease(file: JobFile, now: float) -> JobFile:
    if file.lease is None or file.lease.until > now:
        return file
    if file.attempts < MAX_ATTEMPTS:
        return file.freed()
    return file.failed(
        WORKER_DIED, f"The worker that restored this file died {file.attempts} times. Send it on its own, or smaller."
    )


def input_name(index: int) -> str:
    """Name of the blob of a file as it was sent."""
    return f"{index}.input"


def result_name(index: int, token: str) -> str:
    """Name of the blob that one attempt writes; only a commit under the lease makes it the file's result."""
    return f"{index}.{token}.result"

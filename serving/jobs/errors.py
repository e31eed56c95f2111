"""What can go wrong with jobs.

RequestError
├── MissingTaskError         400  the submission names no task
├── TaskNotFoundError        404  no such task
├── JobNotFoundError         404  no such job, or another client's
├── JobFileNotFoundError     404  the job has no file of that number
├── NotFinishedError         409  the result is not there yet
├── FileFailedError          409  this file could not be restored
├── JobGoneError             410  the job was deleted, has expired, or its files were lost
├── TooManyJobsError         429  the client has too many unfinished jobs
├── JobsFullError            503  no room on disk for more
├── TooManyStreamsError      503  too many clients follow progress
└── JobsUnavailableError     503  the store does not answer

Between the parts of this package, never seen by a client:

MillisightError
├── JobMissingError          the store holds no such job (any more)
├── JobDamagedError          what the store holds cannot be read
├── BlobLostError            a file's bytes are not where they were put
└── LeaseLostError           somebody else may work on the file now: stop, keep nothing
"""

from __future__ import annotations

from runtime.errors import MillisightError
from serving.errors import BadRequestError, NotFoundError, RequestError


class MissingTaskError(BadRequestError):
    """The submission names no task."""

    code = "missing_task"


class TaskNotFoundError(NotFoundError):
    """The submission names a task that does not exist."""

    code = "task_not_found"


class JobNotFoundError(NotFoundError):
    """No such job, or one of another client; the answer does not tell which."""

    code = "job_not_found"


class JobFileNotFoundError(NotFoundError):
    """The job has no file of that number."""

    code = "file_not_found"


class NotFinishedError(RequestError):
    """The result is not there yet."""

    status, code, reason = 409, "not_finished", "bad_parameter"


class FileFailedError(RequestError):
    """This file of the job could not be restored, so there is nothing to fetch."""

    status, code, reason = 409, "file_failed", "bad_parameter"


class JobGoneError(RequestError):
    """There was such a job: it was deleted, has expired, or its files were lost."""

    status, code, reason = 410, "job_gone", "bad_parameter"


class TooManyJobsError(RequestError):
    """The client has too many unfinished jobs."""

    status, code, reason = 429, "too_many_jobs", "queue_full"


class JobsFullError(RequestError):
    """All jobs together hold as many bytes as they may."""

    status, code, reason, closes = 503, "jobs_full", "queue_full", True


class TooManyStreamsError(RequestError):
    """Too many clients follow the progress of jobs at this worker."""

    status, code, reason = 503, "too_many_streams", "queue_full"


class JobsUnavailableError(RequestError):
    """The store does not answer."""

    status, code, reason = 503, "jobs_unavailable", "not_ready"


class JobMissingError(MillisightError):
    """The store holds no such job (any more)."""


class JobDamagedError(MillisightError):
    """What the store holds under this id cannot be read."""


class BlobLostError(MillisightError):
    """The bytes of a file are not where they were put."""


class LeaseLostError(MillisightError):
    """Somebody else may be working on this file now."""

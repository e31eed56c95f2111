"""A job as clients see it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from serving.jobs.job import FileStatus, Job, JobFile


def job_view(job: Job) -> dict[str, Any]:
    """The JSON of `GET /v1/jobs/{id}`; times are UTC in ISO 8601, progress is in [0, 1], bytes are the result's."""
    return {
        "id": job.id,
        "task": job.task,
        "status": job.status.value,
        "total": len(job.files),
        "done": sum(file.status is FileStatus.DONE for file in job.files),
        "failed": sum(file.status is FileStatus.FAILED for file in job.files),
        "progress": round(job.progress, 4),
        "created": _time(job.created),
        "expires": _time(job.expires),
        "files": [_file_view(index, file) for index, file in enumerate(job.files)],
    }


def _file_view(index: int, file: JobFile) -> dict[str, Any]:
    return {
        "index": index,
        "name": file.name,
        "status": file.status.value,
        "model": file.model,
        "bytes": file.result_bytes,
        "error": None if file.error is None else file.error.model_dump(),
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""The result of a job as a zip file that is written while it is sent: no file of it is ever whole in memory.

Entries are stored, not deflated: pictures are compressed already.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import IO, cast

from serving.jobs.job import FileStatus, Job
from serving.jobs.names import archive_names

ERRORS_NAME = "errors.json"
Chunks = Callable[[int], AsyncIterator[bytes]]


class _Outbox:
    """Collects what the zip writer writes until it is sent. It cannot seek, so the writer never goes back."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


async def zipped(job: Job, chunks: Chunks) -> AsyncIterator[bytes]:
    """Writes a finished job's restored files into a zip, and what failed into its `errors.json`.

    Args:
        job: Finished.
        chunks: The bytes of the file of this index.

    Yields:
        The archive in pieces.

    Raises:
        RequestError: What `chunks` raises; what was sent until then is no valid archive.
    """
    done = [index for index, file in enumerate(job.files) if file.status is FileStatus.DONE]
    names = archive_names((job.files[index].name, job.files[index].media_type or "") for index in done)
    outbox = _Outbox()
    with zipfile.ZipFile(cast(IO[bytes], outbox), "w", zipfile.ZIP_STORED) as archive:
        for index, name in zip(done, names, strict=True):
            with archive.open(_entry(name, job, job.files[index].result_bytes or 0), "w") as entry:
                async for chunk in chunks(index):
                    entry.write(chunk)
                    yield outbox.take()
        failures = failures_of(job)
        if failures:
            text = json.dumps({"errors": failures}, ensure_ascii=False, indent=2)
            archive.writestr(_entry(ERRORS_NAME, job, 0), text)
    yield outbox.take()


def failures_of(job: Job) -> list[dict[str, object]]:
    """The failed files, as `errors.json` lists them."""
    return [
        {"index": index, "name": file.name, "error": file.error.model_dump()}
        for index, file in enumerate(job.files)
        if file.error is not None
    ]


def _entry(name: str, job: Job, size: int) -> zipfile.ZipInfo:
    made = datetime.fromtimestamp(job.created, UTC)
    entry = zipfile.ZipInfo(name, made.timetuple()[:6])
    entry.external_attr = 0o644 << 16
    # Known beforehand, so that the writer uses the 64-bit form only where it must.
    entry.file_size = size
    return entry

"""A submission on its way from the socket to the store: never whole in memory, its room reserved before it is used."""

from __future__ import annotations

import math

from starlette.requests import ClientDisconnect, Request

from serving.errors import ClientGoneError
from serving.guard import read_files
from serving.jobs.blobs import CHUNK_BYTES
from serving.jobs.errors import BlobLostError, JobGoneError, JobMissingError
from serving.jobs.job import Job, JobFile, input_name
from serving.jobs.names import harmless
from serving.jobs.queue import JobQueue
from serving.jobs.restoring import JobOptions
from serving.jobs.store import BlobWriter
from serving.jobs.threads import StoreThreads
from serving.settings import Settings

# However large the body: who needs longer splits the job.
LONGEST_READ_S = 540.0
_RESERVE_BYTES = 4 * 2**20


def read_seconds(settings: Settings, declared: int) -> float:
    """How long a body of this size may take to arrive: as slow, byte by byte, as a single picture may be."""
    size = declared or settings.job_max_bytes
    pictures = max(1, math.ceil(size / settings.max_body_bytes))
    return min(max(LONGEST_READ_S, settings.read_timeout), settings.read_timeout * pictures)


async def receive(
    request: Request, owner: str, options: JobOptions, settings: Settings, queue: JobQueue, threads: StoreThreads
) -> Job:
    """Reads the form of a submission into the store.

    Returns:
        The job, ready to be worked on.

    Raises:
        RequestError: It is refused, see `serving.guard.read_files` and `queue`; nothing of it is kept.
    """
    length = request.headers.get("content-length", "")
    declared = int(length) if length.isdecimal() else 0
    timeout_s = read_seconds(settings, declared)
    # A body that is too large by its header is refused by `read_files`, before any of it is read.
    expected = declared if declared <= settings.job_max_bytes else 0
    job = await threads.run(queue.begin, owner, options, receive_s=2 * timeout_s, expected_bytes=expected)
    room = _Room(job.id, queue, threads, expected)
    committed = False
    try:
        received = await read_files(
            request,
            max_files=settings.job_max_files,
            max_file_bytes=settings.max_body_bytes,
            max_total_bytes=settings.job_max_bytes,
            timeout_s=timeout_s,
            open_sink=lambda index, _: _BlobSink(room, index),
        )
        files = tuple(
            JobFile(name=harmless(file.name, index), input_bytes=file.size) for index, file in enumerate(received)
        )
        await room.settle(sum(file.size for file in received))
        job = await threads.run(queue.commit, job.id, files)
        committed = True
    except ClientDisconnect as error:
        raise ClientGoneError("The client hung up while sending.") from error
    except (BlobLostError, JobMissingError) as error:
        raise JobGoneError("The submission took too long to arrive and was dropped. Send it faster.") from error
    finally:
        if not committed:
            await threads.run(queue.abandon, job.id)
    return job


class _Room:
    """The bytes reserved for one submission, in steps ahead of what arrives."""

    def __init__(self, job_id: str, queue: JobQueue, threads: StoreThreads, reserved: int) -> None:
        self.job_id = job_id
        self.queue = queue
        self.threads = threads
        self._reserved = reserved
        self._used = 0

    async def take(self, count: int) -> None:
        """Reserves more before the next `count` bytes are written."""
        self._used += count
        if self._used > self._reserved:
            await self._reserve(max(_RESERVE_BYTES, self._used - self._reserved))

    async def settle(self, used: int) -> None:
        """Gives back what was reserved and not used."""
        await self._reserve(used - self._reserved)

    async def _reserve(self, count: int) -> None:
        await self.threads.run(self.queue.reserve, self.job_id, count)
        self._reserved += count


class _BlobSink:
    """One file of the form; see `serving.guard.Sink`. Collects some chunks before it goes to a thread with them."""

    def __init__(self, room: _Room, index: int) -> None:
        self._room = room
        self._index = index
        self._pending = bytearray()
        self._writer: BlobWriter | None = None

    async def write(self, data: bytes) -> None:
        """Takes the next bytes."""
        self._pending += data
        if len(self._pending) >= CHUNK_BYTES:
            await self._flush()

    async def close(self) -> None:
        """The file is complete."""
        await self._flush()
        assert self._writer is not None
        await self._room.threads.run(self._writer.commit)

    async def abort(self) -> None:
        """The file will never be complete."""
        if self._writer is not None:
            await self._room.threads.run(self._writer.abort)

    async def _flush(self) -> None:
        data, self._pending = bytes(self._pending), bytearray()
        await self._room.take(len(data))
        await self._room.threads.run(self._append, data)

    def _append(self, data: bytes) -> None:
        if self._writer is None:
            self._writer = self._room.queue.store.blobs.writer(self._room.job_id, input_name(self._index))
        self._writer.write(data)

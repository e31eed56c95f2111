"""Blobs as Redis strings, one key each, and a set of their names for each job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from serving.jobs.blobs import CHUNK_BYTES
from serving.jobs.errors import BlobLostError

# The braces keep all keys on one node of a cluster, where transactions over several keys need them.
PREFIX = "{millisight-jobs}:"
_PART = ".part"
# The room of a job exists while its set does, and a set cannot be empty.
_ROOM = "."

Translated = Callable[[], AbstractContextManager[None]]


class RedisBlobs:
    """Blobs in Redis; see `store.Blobs`.

    Args:
        client: A `redis.Redis`.
        translated: Context that turns Redis's errors into ours.
        keep_s: Seconds after which Redis drops what nobody deleted.
    """

    def __init__(self, client: Any, translated: Translated, keep_s: int) -> None:
        self._client = client
        self._translated = translated
        self._keep_s = keep_s

    def create(self, job_id: str) -> None:
        """Makes the set of names."""
        with self._translated():
            self._client.sadd(_names_key(job_id), _ROOM)
            self._client.expire(_names_key(job_id), self._keep_s)

    def writer(self, job_id: str, name: str) -> RedisBlobWriter:
        """Starts a key beside the blob's own."""
        with self._translated():
            if not self._client.exists(_names_key(job_id)):
                raise BlobLostError(f"The files of job {job_id} are gone.")
            # Noted before it is there, so that whoever deletes the job finds it.
            self._client.sadd(_names_key(job_id), name, name + _PART)
        return RedisBlobWriter(self._client, self._translated, _blob_key(job_id, name), self._keep_s)

    def chunks(self, job_id: str, name: str) -> Iterator[bytes]:
        """Reads a key piece by piece."""
        key, start = _blob_key(job_id, name), 0
        with self._translated():
            size = int(self._client.strlen(key))
            if size == 0 and not self._client.exists(key):
                raise BlobLostError(f"File {name} of job {job_id} is gone.")
        while start < size:
            with self._translated():
                chunk: bytes = self._client.getrange(key, start, start + CHUNK_BYTES - 1)
            if not chunk:
                raise BlobLostError(f"File {name} of job {job_id} was deleted while it was read.")
            yield chunk
            start += len(chunk)

    def delete(self, job_id: str, name: str) -> None:
        """Deletes a key."""
        with self._translated():
            self._client.unlink(_blob_key(job_id, name))
            self._client.srem(_names_key(job_id), name, name + _PART)

    def delete_job(self, job_id: str) -> None:
        """Deletes all keys of a job."""
        with self._translated():
            names = [as_text(name) for name in self._client.smembers(_names_key(job_id))]
            self._client.unlink(_names_key(job_id), *(_blob_key(job_id, name) for name in names))

    def exists(self, job_id: str) -> bool:
        """Whether the set of names is there."""
        with self._translated():
            return bool(self._client.exists(_names_key(job_id)))

    def job_ids(self) -> list[str]:
        """Ids of all jobs with a set of names."""
        start = _names_key("")
        with self._translated():
            return sorted(as_text(key).removeprefix(start) for key in self._client.scan_iter(match=start + "*"))


class RedisBlobWriter:
    """A key that gets its name when it is whole; see `store.BlobWriter`."""

    def __init__(self, client: Any, translated: Translated, key: str, keep_s: int) -> None:
        self._client = client
        self._translated = translated
        self._key, self._part = key, key + _PART
        self._keep_s = keep_s
        with translated():
            client.set(self._part, b"", ex=keep_s)

    def write(self, data: bytes) -> None:
        """Appends."""
        with self._translated():
            self._client.append(self._part, data)
            self._client.expire(self._part, self._keep_s)

    def commit(self) -> None:
        """Renames the key."""
        with self._translated():
            if not self._client.exists(self._part):
                raise BlobLostError("The job was deleted while one of its files was written.")
            self._client.rename(self._part, self._key)

    def abort(self) -> None:
        """Deletes what was written."""
        with self._translated():
            self._client.unlink(self._part)


def as_text(value: bytes | str) -> str:
    """Redis answers bytes, its types say str too."""
    return value.decode() if isinstance(value, bytes) else value


def _names_key(job_id: str) -> str:
    return f"{PREFIX}names:{job_id}"


def _blob_key(job_id: str, name: str) -> str:
    return f"{PREFIX}blob:{job_id}:{name}"

"""Blobs as files: `<folder>/<job id>/<name>`. Written beside and renamed, so that nobody sees half a file."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from serving.jobs.errors import BlobLostError, JobsFullError

_TRIES = 5
CHUNK_BYTES = 256 * 1024
_PART = ".part"


class FileBlobs:
    """Blobs in a folder; see `store.Blobs`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, job_id: str) -> None:
        """Makes the job's folder."""
        (self._folder / job_id).mkdir(parents=True, exist_ok=True)

    def writer(self, job_id: str, name: str) -> FileBlobWriter:
        """Opens a file beside its place."""
        try:
            return FileBlobWriter(self._folder / job_id / name)
        except FileNotFoundError as error:
            raise BlobLostError(f"The folder of job {job_id} is gone.") from error

    def chunks(self, job_id: str, name: str) -> Iterator[bytes]:
        """Reads a file piece by piece."""
        try:
            with (self._folder / job_id / name).open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
        except FileNotFoundError as error:
            raise BlobLostError(f"File {name} of job {job_id} is gone.") from error

    def delete(self, job_id: str, name: str) -> None:
        """Unlinks a file."""
        (self._folder / job_id / name).unlink(missing_ok=True)

    def delete_job(self, job_id: str) -> None:
        """Removes the folder with all that is in it.

        Other workers may delete files of it, or rename a last one into it, at the same time: a file that is gone is
        what was wanted, and a folder that is not empty yet is emptied again.

        Raises:
            OSError: It cannot be removed.
        """
        folder = self._folder / job_id
        for left in reversed(range(_TRIES)):
            try:
                for file in list(folder.iterdir()):
                    file.unlink(missing_ok=True)
                folder.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                if left == 0:
                    raise
            else:
                return

    def exists(self, job_id: str) -> bool:
        """Whether the folder is there."""
        return (self._folder / job_id).is_dir()

    def job_ids(self) -> list[str]:
        """Names of all folders."""
        if not self._folder.is_dir():
            return []
        return sorted(path.name for path in self._folder.iterdir() if path.is_dir())


class FileBlobWriter:
    """A file that gets its name when it is whole; see `store.BlobWriter`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + _PART)
        self._file = self._part.open("wb")

    def write(self, data: bytes) -> None:
        """Appends."""
        with _room_on_disk():
            self._file.write(data)

    def commit(self) -> None:
        """Renames the file into its place."""
        with _room_on_disk():
            self._file.close()
        try:
            self._part.replace(self._path)
        except FileNotFoundError as error:
            raise BlobLostError(f"The folder of {self._path.name} is gone.") from error

    def abort(self) -> None:
        """Closes and unlinks what was written."""
        # Closing flushes, which fails again where the disk is full; the bytes are unwanted anyway.
        with contextlib.suppress(OSError):
            self._file.close()
        self._part.unlink(missing_ok=True)


@contextlib.contextmanager
def _room_on_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            text = "The disk that holds the jobs is full. Delete finished jobs, or try again later."
            raise JobsFullError(text, {"Retry-After": "60"}) from error
        raise

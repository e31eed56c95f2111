"""Pictures on their way out: read piece by piece, and from their beginning again for every try."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from millisight.client.errors import InvalidCallError

__all__ = ["Body", "Picture", "Source", "form_body", "open_picture", "raw_body"]

Source = bytes | str | os.PathLike[str] | IO[bytes]
"""A picture file: its bytes, its path, or an open binary file, which is read from where it stands to its end."""

_PIECE = 64 * 1024


@dataclass(frozen=True)
class Picture:
    """A picture file that can be read any number of times.

    Attributes:
        name: What the service is told it is called.
        size: Bytes.
    """

    name: str
    size: int
    _held: bytes | Path | IO[bytes]
    _start: int = 0

    def pieces(self) -> Iterator[bytes]:
        """The file's bytes.

        Raises:
            InvalidCallError: It can no longer be read, or has another size by now.
        """
        if isinstance(self._held, bytes):
            yield self._held
            return
        try:
            if isinstance(self._held, Path):
                with self._held.open("rb") as file:
                    yield from self._exactly(file)
            else:
                self._held.seek(self._start)
                yield from self._exactly(self._held)
        except (OSError, ValueError) as error:  # ValueError: the caller has closed it
            raise InvalidCallError(f"{self.name} cannot be read: {error}.") from error

    def _exactly(self, file: IO[bytes]) -> Iterator[bytes]:
        left = self.size
        while left > 0:
            piece = file.read(min(_PIECE, left))
            if not piece:
                # The length was announced to the service; there is no honest way to go on.
                raise InvalidCallError(f"{self.name} became shorter while it was sent: {left} bytes are missing.")
            left -= len(piece)
            yield piece


def open_picture(source: Source, name: str | None = None) -> Picture:
    """Prepares a picture for sending; a path is opened only while it is read.

    Args:
        source: See `Source`.
        name: Instead of the file's own name.

    Raises:
        InvalidCallError: It cannot be read, or is no source.
    """
    try:
        if isinstance(source, bytes | bytearray | memoryview):
            data = bytes(source)
            return Picture(name or "image", len(data), data)
        if isinstance(source, str | os.PathLike):
            path = Path(source)
            with path.open("rb") as file:
                return Picture(name or path.name, os.fstat(file.fileno()).st_size, path)
        return _open_file(source, name)
    except (OSError, ValueError) as error:
        raise InvalidCallError(f"{name or source!r} cannot be read: {error}.") from error


def _open_file(file: IO[bytes], name: str | None) -> Picture:
    if not hasattr(file, "read") or isinstance(file, io.TextIOBase):
        raise InvalidCallError(f"Got {type(file).__name__}. Give a picture as bytes, a path or a binary file.")
    name = name or Path(str(getattr(file, "name", "") or "image")).name
    if not file.seekable():
        # A pipe gives its bytes once; a second try needs them again.
        data = file.read()
        return Picture(name, len(data), data)
    start = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(start)
    return Picture(name, end - start, file, start)


@dataclass(frozen=True)
class Body:
    """A request's body: a sequence of texts of the form and pictures.

    Attributes:
        content_type: Of the whole.
        parts: In the order in which they are sent.
    """

    content_type: str
    parts: Sequence[bytes | Picture]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(len(part) if isinstance(part, bytes) else part.size for part in self.parts)

    def pieces(self) -> Iterator[bytes]:
        """The bytes, from the beginning; called once for every try."""
        for part in self.parts:
            if isinstance(part, bytes):
                yield part
            else:
                yield from part.pieces()


def raw_body(picture: Picture) -> Body:
    """One picture as it is; the service goes by its first bytes."""
    return Body("application/octet-stream", (picture,))


def form_body(pictures: Sequence[Picture]) -> Body:
    """Many pictures as multipart/form-data, each a file part `image`."""
    boundary = secrets.token_hex(16)
    parts: list[bytes | Picture] = []
    for picture in pictures:
        disposition = f'form-data; name="image"; filename="{_quoted(picture.name)}"'
        head = f"--{boundary}\r\nContent-Disposition: {disposition}\r\nContent-Type: application/octet-stream\r\n\r\n"
        parts += [head.encode(), picture, b"\r\n"]
    parts.append(f"--{boundary}--\r\n".encode())
    return Body(f"multipart/form-data; boundary={boundary}", tuple(parts))


def _quoted(name: str) -> str:
    """A file name inside the quotes of a form, escaped as browsers do."""
    safe = name.encode("utf-8", "replace").decode()
    return safe.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")

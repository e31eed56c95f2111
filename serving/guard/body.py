"""Reading pictures out of a request's body, with the limits held while the bytes arrive.

A client has `timeout_s` for its whole body, and no pause in it may be longer than `STALL_FRACTION` of that: who has
stopped sending is let go earlier than who is slow.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from serving.errors import (
    BodyTooLargeError,
    EmptyImageError,
    MissingImageError,
    ReadTimeoutError,
    UnexpectedPartError,
    UnsupportedMediaTypeError,
)
from serving.guard.budget import Share, share_of
from serving.guard.errors import FileTooLargeError, TooManyFilesError
from serving.guard.multipart import PartBegin, PartEnd, form_events, require_file, shown_name

PART_NAME = "image"
RAW_TYPES = "image/* or application/octet-stream"
STALL_FRACTION = 0.5


class Sink(Protocol):
    """Where one file of a form goes."""

    async def write(self, data: bytes) -> None:
        """Takes the next bytes of the file; the client waits meanwhile."""

    async def close(self) -> None:
        """The file is complete."""

    async def abort(self) -> None:
        """The file will never be complete: what was written is to be thrown away."""


@dataclass(frozen=True)
class ReceivedFile:
    """One file of a form, as it was handed to its sink.

    Attributes:
        name: The client's name for it, to be shown only; may be empty.
        size: Bytes.
    """

    name: str
    size: int


async def read_image_bytes(request: Request, *, max_bytes: int, timeout_s: float) -> bytes:
    """Reads the picture's file bytes from a multipart form (part `image`) or from a raw body.

    The bytes count against the worker's budget for bodies until the request ends.

    Args:
        request: The request, its body not yet touched.
        max_bytes: Limit of the whole body.
        timeout_s: Seconds the client has to send it.

    Raises:
        RequestError: 400, 408, 413, 415 or 503; see `serving.errors` and `serving.guard.errors`.
        starlette.requests.ClientDisconnect: The client hung up while sending.
    """
    content_type, parameters = parse_options_header(request.headers.get("content-type"))
    is_form = content_type == b"multipart/form-data"
    if not is_form and not content_type.startswith(b"image/") and content_type != b"application/octet-stream":
        raise _wrong_type(content_type, f"multipart/form-data with a file part {PART_NAME!r}, or {RAW_TYPES}")
    share = share_of(request)
    _require_acceptable(request, max_bytes, share)
    chunks = _counted(_arriving(request, max_bytes, timeout_s), share)
    data = await (_one_file(chunks, parameters.get(b"boundary", b"")) if is_form else _joined(chunks))
    if not data:
        raise EmptyImageError("The picture has no bytes. Send a PNG, JPEG, WebP, TIFF, BMP or one-frame GIF file.")
    return data


async def read_files(
    request: Request,
    *,
    part: str = PART_NAME,
    max_files: int,
    max_file_bytes: int,
    max_total_bytes: int,
    timeout_s: float,
    open_sink: Callable[[int, str], Sink],
) -> list[ReceivedFile]:
    """Reads the files of a multipart form one after another, each into a sink of its own.

    No file is held in memory: bytes count against the worker's budget for bodies only until their sink has taken them.
    When anything fails, also an empty file or the client hanging up, the open sink is aborted; sinks closed before are
    the caller's to undo.

    Args:
        request: The request, its body not yet touched.
        part: The name that every part must have.
        max_files: Largest number of parts.
        max_file_bytes: Limit of one file.
        max_total_bytes: Limit of the whole body.
        timeout_s: Seconds the client has to send it.
        open_sink: Makes the sink of a file from its index (0, 1, ...) and its name, which is for showing only.

    Returns:
        The files, at least one, in the order of the form.

    Raises:
        RequestError: 400, 408, 413, 415 or 503; see `serving.errors` and `serving.guard.errors`.
        starlette.requests.ClientDisconnect: The client hung up while sending.
    """
    content_type, parameters = parse_options_header(request.headers.get("content-type"))
    if content_type != b"multipart/form-data":
        raise _wrong_type(content_type, f"multipart/form-data with file parts {part!r}")
    share = share_of(request)
    _require_acceptable(request, max_total_bytes, None)
    received: list[ReceivedFile] = []
    sink: Sink | None = None
    name, size = "", 0
    try:
        events = form_events(_arriving(request, max_total_bytes, timeout_s), parameters.get(b"boundary", b""))
        async for event in events:
            if isinstance(event, PartBegin):
                require_file(event, part, first=not received)
                if len(received) == max_files:
                    raise TooManyFilesError(f"The form has more than the {max_files} files allowed. Send several jobs.")
                name, size = shown_name(event.filename), 0
                sink = open_sink(len(received), name)
            elif isinstance(event, PartEnd):
                assert sink is not None
                if size == 0:
                    raise EmptyImageError(f"File {len(received)} of the form ({name!r}) has no bytes. Leave it out.")
                await sink.close()
                sink = None
                received.append(ReceivedFile(name, size))
            else:
                assert sink is not None
                size += len(event)
                if size > max_file_bytes:
                    raise FileTooLargeError(
                        f"File {len(received)} of the form ({name!r}) has more than the {max_file_bytes} bytes allowed."
                    )
                share.take(len(event))
                await sink.write(event)
                share.give_back(len(event))
    finally:
        if sink is not None:
            await sink.abort()
    if not received:
        raise MissingImageError(f"The form has no part. Send at least one file part named {part!r}.")
    return received


def _wrong_type(content_type: bytes, wanted: str) -> UnsupportedMediaTypeError:
    got = repr(content_type.decode("latin-1")[:80]) if content_type else "no Content-Type"
    return UnsupportedMediaTypeError(f"Got {got}. Send {wanted}.")


def _require_acceptable(request: Request, max_bytes: int, share: Share | None) -> None:
    """What can be refused by the header alone is, before a byte is read."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise UnsupportedMediaTypeError(f"Content-Encoding {encoding[:40]!r} is not supported. Send the file as it is.")
    declared = request.headers.get("content-length", "")
    if not declared.isdecimal():
        return
    if int(declared) > max_bytes:
        raise _too_large(max_bytes)
    if share is not None:
        share.require_room(int(declared))


def _too_large(max_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(
        f"The body is larger than the {max_bytes} bytes allowed. Send a smaller or better packed file."
    )


async def _arriving(request: Request, max_bytes: int, timeout_s: float) -> AsyncIterator[bytes]:
    """The body's chunks, within the limits of size, time and pauses."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout_s
    pause_s = timeout_s * STALL_FRACTION
    received = 0
    chunks = request.stream()
    while True:
        try:
            async with asyncio.timeout_at(min(deadline, clock() + pause_s)):
                chunk = await anext(chunks, None)
        except TimeoutError as error:
            raise _late(timeout_s, pause_s, late=clock() >= deadline) from error
        if chunk is None:
            return
        # Also without waiting: a client that always has a byte ready never lets the timeout above fire.
        if clock() >= deadline:
            raise _late(timeout_s, pause_s, late=True)
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(max_bytes)
        yield chunk


def _late(timeout_s: float, pause_s: float, *, late: bool) -> ReadTimeoutError:
    if late:
        return ReadTimeoutError(f"The body did not arrive within {timeout_s:g} s. Send it faster or smaller.")
    return ReadTimeoutError(f"Nothing of the body arrived for {pause_s:g} s. Send it without pauses.")


async def _counted(chunks: AsyncIterator[bytes], share: Share) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        share.take(len(chunk))
        yield chunk


async def _joined(chunks: AsyncIterator[bytes]) -> bytes:
    # getvalue() hands out the buffer itself; joining a list or a bytearray would hold the body twice.
    data = io.BytesIO()
    async for chunk in chunks:
        data.write(chunk)
    return data.getvalue()


async def _one_file(chunks: AsyncIterator[bytes], boundary: bytes) -> bytes:
    data = io.BytesIO()
    parts = 0
    async for event in form_events(chunks, boundary):
        if isinstance(event, PartBegin):
            require_file(event, PART_NAME, first=parts == 0)
            parts += 1
            if parts > 1:
                raise UnexpectedPartError(f"The form has more than one part {PART_NAME!r}. Send one picture a request.")
        elif isinstance(event, bytes):
            data.write(event)
    if parts == 0:
        raise MissingImageError(f"The form has no part. Send exactly one file part named {PART_NAME!r}.")
    return data.getvalue()

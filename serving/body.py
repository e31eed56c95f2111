"""Reading one picture out of a request body, with the limits held while the bytes arrive.

Our own code reads every body, so BentoML's parsers (which follow URLs they find in a body) never see one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from serving.errors import (
    BodyTooLargeError,
    BrokenFormError,
    EmptyImageError,
    MissingImageError,
    NotAFileError,
    ReadTimeoutError,
    UnexpectedPartError,
    UnsupportedMediaTypeError,
)

PART_NAME = b"image"
RAW_TYPES = "image/* or application/octet-stream"
# Room for a file name of some kilobytes; the name itself is ignored.
_HEADER_LIMIT = 16 * 1024


async def read_image_bytes(request: Request, *, max_bytes: int, timeout_s: float) -> bytes:
    """Reads the picture's file bytes from a multipart form (part `image`) or from a raw body.

    Args:
        request: The request, its body not yet touched.
        max_bytes: Limit of the whole body.
        timeout_s: Seconds the client has to send it.

    Raises:
        RequestError: 400, 408, 413 or 415; see `serving.errors`.
        starlette.requests.ClientDisconnect: The client hung up while sending.
    """
    content_type, parameters = parse_options_header(request.headers.get("content-type"))
    is_form = content_type == b"multipart/form-data"
    _require_supported(request, content_type, is_form)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    chunks = _limited(request, max_bytes)
    try:
        async with asyncio.timeout(timeout_s):
            data = await (_read_form(chunks, parameters.get(b"boundary", b"")) if is_form else _read_raw(chunks))
    except TimeoutError as error:
        raise ReadTimeoutError(f"The body did not arrive within {timeout_s:g} s. Send it faster or smaller.") from error
    if not data:
        raise EmptyImageError("The picture has no bytes. Send a PNG, JPEG, WebP, TIFF, BMP or one-frame GIF file.")
    return data


def _require_supported(request: Request, content_type: bytes, is_form: bool) -> None:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise UnsupportedMediaTypeError(f"Content-Encoding {encoding[:40]!r} is not supported. Send the file as it is.")
    if is_form or content_type.startswith(b"image/") or content_type == b"application/octet-stream":
        return
    got = repr(content_type.decode("latin-1")[:80]) if content_type else "no Content-Type"
    raise UnsupportedMediaTypeError(f"Got {got}. Send multipart/form-data with a file part 'image', or {RAW_TYPES}.")


def _too_large(max_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(
        f"The body is larger than the {max_bytes} bytes allowed. Send a smaller or better packed file."
    )


async def _limited(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(max_bytes)
        yield chunk


async def _read_raw(chunks: AsyncIterator[bytes]) -> bytes:
    data = bytearray()
    async for chunk in chunks:
        data += chunk
    return bytes(data)


async def _read_form(chunks: AsyncIterator[bytes], boundary: bytes) -> bytes:
    if not boundary:
        raise BrokenFormError("The Content-Type has no boundary. Let your HTTP library write the multipart header.")
    form = _ImageForm()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": form.begin_part,
                "on_header_field": form.add_to_header_name,
                "on_header_value": form.add_to_header_value,
                "on_header_end": form.end_header,
                "on_headers_finished": form.end_headers,
                "on_part_data": form.add_data,
                "on_end": form.end,
            },
            max_header_size=_HEADER_LIMIT,
        )
        async for chunk in chunks:
            if chunk:
                parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise BrokenFormError(f"The form cannot be read: {error}.") from error
    return form.result()


class _ImageForm:
    """Collects the one part `image` while the form streams by; the first wrong part ends the request."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._parts = 0
        self._complete = False
        self._name, self._value = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}

    def begin_part(self) -> None:
        self._parts += 1
        self._headers = {}

    def add_to_header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def add_to_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def end_header(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def end_headers(self) -> None:
        disposition = self._headers.get(b"content-disposition", b"").decode("latin-1")
        _, options = parse_options_header(disposition)
        name = options.get(b"name", b"")
        if name != PART_NAME:
            shown = name[:80].decode("utf-8", "replace")
            message = f"The form has a part {shown!r}. Send exactly one file part named 'image'."
            raise MissingImageError(message) if self._parts == 1 else UnexpectedPartError(message)
        if self._parts > 1:
            raise UnexpectedPartError("The form has more than one part 'image'. Send one picture a request.")
        part_type, _ = parse_options_header(self._headers.get(b"content-type", b"").decode("latin-1"))
        if b"filename" not in options and not part_type.startswith(b"image/"):
            raise NotAFileError(
                "The part 'image' is text. Send the file itself (with a filename); addresses are not followed."
            )

    def add_data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]

    def end(self) -> None:
        self._complete = True

    def result(self) -> bytes:
        """The file's bytes, once the closing boundary has been seen."""
        if not self._complete:
            raise BrokenFormError("The form ends before its closing boundary: it was cut short on the way.")
        if self._parts == 0:
            raise MissingImageError("The form has no part. Send exactly one file part named 'image'.")
        return bytes(self._data)

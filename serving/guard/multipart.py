"""The one multipart parser: a form as a stream of events, so that no file has to be whole before it is looked at.

Our own code reads every form, so BentoML's parsers (which follow URLs they find in a body) never see one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from serving.errors import BrokenFormError, MissingImageError, NotAFileError, UnexpectedPartError

# Room for a file name of some kilobytes.
_HEADER_LIMIT = 16 * 1024
_SHOWN_BYTES = 255
_CONTROLS = frozenset(range(32)) | frozenset(range(0x7F, 0xA0))
# Turn text around or hide in it; a name that shows them may look like another.
_INVISIBLE = frozenset({*range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF})


@dataclass(frozen=True)
class PartBegin:
    """The header of a part has been read."""

    name: bytes
    filename: bytes | None
    content_type: bytes


@dataclass(frozen=True)
class PartEnd:
    """The last byte of a part has been read."""


Event = PartBegin | bytes | PartEnd


async def form_events(chunks: AsyncIterator[bytes], boundary: bytes) -> AsyncIterator[Event]:
    """Parses a form while it arrives.

    Args:
        chunks: The body.
        boundary: From the Content-Type.

    Yields:
        For every part a `PartBegin`, its bytes in pieces, a `PartEnd`.

    Raises:
        BrokenFormError: No boundary, malformed, or cut short.
    """
    if not boundary:
        raise BrokenFormError("The Content-Type has no boundary. Let your HTTP library write the multipart header.")
    collector = _Collector()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": collector.begin_part,
                "on_header_field": collector.add_to_header_name,
                "on_header_value": collector.add_to_header_value,
                "on_header_end": collector.end_header,
                "on_headers_finished": collector.end_headers,
                "on_part_data": collector.add_data,
                "on_part_end": collector.end_part,
                "on_end": collector.end,
            },
            max_header_size=_HEADER_LIMIT,
        )
        async for chunk in chunks:
            if chunk:
                parser.write(chunk)
            for event in collector.take():
                yield event
        parser.finalize()
    except FormParserError as error:
        raise BrokenFormError(f"The form cannot be read: {error}.") from error
    if not collector.complete:
        raise BrokenFormError("The form ends before its closing boundary: it was cut short on the way.")


class _Collector:
    """Turns the parser's callbacks into events."""

    def __init__(self) -> None:
        self.complete = False
        self._events: list[Event] = []
        self._name, self._value = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}

    def take(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def begin_part(self) -> None:
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
        # Parsed as latin-1, which every byte has; a name in UTF-8 comes out as the bytes that were sent.
        _, options = parse_options_header(self._headers.get(b"content-disposition", b"").decode("latin-1"))
        part_type, _ = parse_options_header(self._headers.get(b"content-type", b"").decode("latin-1"))
        self._events.append(PartBegin(options.get(b"name", b""), options.get(b"filename"), part_type))

    def add_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(data[start:end])

    def end_part(self) -> None:
        self._events.append(PartEnd())

    def end(self) -> None:
        self.complete = True


def require_file(begin: PartBegin, part: str, *, first: bool) -> None:
    """Checks that a part is the file that is asked for.

    Args:
        begin: The part's header.
        part: The name it must have.
        first: Whether it is the first of the form; decides how it is called when it is another.

    Raises:
        MissingImageError: The first part has another name.
        UnexpectedPartError: A later one has.
        NotAFileError: It is a text field.
    """
    if begin.name != part.encode():
        shown = begin.name[:80].decode("utf-8", "replace")
        message = f"The form has a part {shown!r}. Send only file parts named {part!r}."
        raise MissingImageError(message) if first else UnexpectedPartError(message)
    if begin.filename is None and not begin.content_type.startswith(b"image/"):
        raise NotAFileError(
            f"The part {part!r} is text. Send the file itself (with a filename); addresses are not followed."
        )


def shown_name(filename: bytes | None) -> str:
    """A client's file name as it may be shown: no folders, no control characters, at most 255 bytes of UTF-8.

    It is for people alone: no file is ever opened under it. Empty when nothing is left.
    """
    text = (filename or b"").decode("utf-8", "replace").replace("\\", "/").rpartition("/")[2]
    text = "".join(sign for sign in text if ord(sign) not in _CONTROLS and ord(sign) not in _INVISIBLE).strip()
    if text in (".", ".."):
        return ""
    return text.encode()[:_SHOWN_BYTES].decode("utf-8", "ignore")

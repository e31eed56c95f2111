"""Bodies are the same bytes at every try, whatever the picture came from."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import pytest
from python_multipart.multipart import MultipartParser, parse_options_header

from millisight.client import InvalidCallError
from millisight.client.bodies import Body, Source, form_body, open_picture, raw_body

DATA = bytes(range(256)) * 700  # more than one piece


def fill(pipe: int) -> None:
    with os.fdopen(pipe, "wb") as file:
        file.write(DATA)


def sources(folder: Path) -> list[Source]:
    path = folder / "picture.png"
    path.write_bytes(DATA)
    half_read = io.BytesIO(b"before" + DATA)
    half_read.seek(6)
    reading, writing = os.pipe()
    threading.Thread(target=fill, args=(writing,)).start()
    return [DATA, bytearray(DATA), path, str(path), half_read, path.open("rb"), os.fdopen(reading, "rb")]


def test_every_try_sends_the_same_whole_file(tmp_path: Path) -> None:
    for source in sources(tmp_path):
        body = raw_body(open_picture(source))
        assert body.size == len(DATA), source
        first = b"".join(body.pieces())
        next(iter(body.pieces()))  # a try that broke off
        assert first == b"".join(body.pieces()) == DATA, source
        if isinstance(source, io.IOBase):
            source.close()


def test_a_closed_a_missing_and_a_text_file_are_refused(tmp_path: Path) -> None:
    closed = io.BytesIO(DATA)
    picture = open_picture(closed)
    closed.close()
    with pytest.raises(InvalidCallError, match="closed"):
        list(picture.pieces())
    with pytest.raises(InvalidCallError, match="cannot be read"):
        open_picture(tmp_path / "none.png")
    with pytest.raises(InvalidCallError, match="cannot be read"):
        open_picture(tmp_path)
    with pytest.raises(InvalidCallError, match="StringIO"):
        open_picture(io.StringIO("text"))  # type: ignore[arg-type]
    with pytest.raises(InvalidCallError, match="int"):
        open_picture(7)  # type: ignore[arg-type]


def test_a_file_that_shrinks_while_it_is_sent_is_no_shorter_picture(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    path.write_bytes(DATA)
    picture = open_picture(path)
    path.write_bytes(DATA[:-1])
    with pytest.raises(InvalidCallError, match="1 bytes are missing"):
        list(picture.pieces())
    path.write_bytes(DATA + b"more")  # what was announced is what is sent
    assert b"".join(picture.pieces()) == DATA


def parse(body: Body) -> list[tuple[str, bytes]]:
    """(file name, bytes) of every part `image`, by the parser that the service uses."""
    parts: list[tuple[bytearray, bytearray]] = []
    boundary = parse_options_header(body.content_type)[1][b"boundary"]
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": lambda: parts.append((bytearray(), bytearray())),
            "on_header_value": lambda data, start, end: parts[-1][0].extend(data[start:end] + b"\n"),
            "on_part_data": lambda data, start, end: parts[-1][1].extend(data[start:end]),
        },
    )
    for piece in body.pieces():
        parser.write(piece)
    parser.finalize()
    found = []
    for head, data in parts:
        options = parse_options_header(bytes(head.split(b"\n")[0]).decode("latin-1"))[1]
        assert options[b"name"] == b"image"
        found.append((options[b"filename"].decode(), bytes(data)))
    return found


def test_a_form_holds_the_files_under_their_names_and_its_length_is_true(tmp_path: Path) -> None:
    path = tmp_path / "näme.png"
    path.write_bytes(DATA)
    pictures = [open_picture(path), open_picture(b"", "sub/empty.png"), open_picture(DATA, 'a"b\r\nX: y.png')]
    body = form_body(pictures)
    assert parse(body) == [("näme.png", DATA), ("sub/empty.png", b""), ("a%22b%0D%0AX: y.png", DATA)]
    assert len(b"".join(body.pieces())) == body.size
    assert b"".join(body.pieces()) == b"".join(body.pieces())

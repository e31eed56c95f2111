from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import BrokenFormError
from serving.guard.multipart import Event, PartBegin, PartEnd, form_events, shown_name


def events(body: bytes, step: int = 10**6, boundary: bytes = b"XX") -> list[Event]:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), step):
            yield body[start : start + step]

    async def collect() -> list[Event]:
        return [event async for event in form_events(chunks(), boundary)]

    return asyncio.run(collect())


HEAD = b'--XX\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'


@given(st.binary(max_size=300).filter(lambda data: b"--XX" not in data), st.integers(1, 400))
def test_events_come_in_order_however_the_body_is_cut(data: bytes, step: int) -> None:
    first, *middle, last = events(HEAD + data + b"\r\n--XX--\r\n", step)
    assert first == PartBegin(b"image", b"a.png", b"image/png")
    assert last == PartEnd()
    assert b"".join(event for event in middle if isinstance(event, bytes)) == data


@given(st.binary(max_size=500), st.integers(1, 100))
def test_any_bytes_are_a_form_or_a_broken_one(data: bytes, step: int) -> None:
    for body in (data, HEAD + data, b"--XX\r\n" + data):
        with contextlib.suppress(BrokenFormError):
            events(body, step)


def test_a_form_without_boundary_is_broken() -> None:
    with pytest.raises(BrokenFormError, match="boundary"):
        events(HEAD, boundary=b"")


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (None, ""),
        (b"a.png", "a.png"),
        (b"../../etc/passwd", "passwd"),
        (b"C:\\pictures\\a.png", "a.png"),
        (b"..", ""),
        (b"/", ""),
        (b"a\0b\r\nc\x1b[31m.png", "abc[31m.png"),
        ("a\u202egnp.exe\u200b".encode(), "agnp.exe"),
        ("Bild ü.png".encode(), "Bild ü.png"),
        (b"\xff.png", "\ufffd.png"),
        (b"x" * 8192, "x" * 255),
        (("ü" * 200).encode(), "ü" * 127),
    ],
)
def test_a_name_is_made_fit_to_be_shown(sent: bytes | None, shown: str) -> None:
    assert shown_name(sent) == shown


@given(st.binary(max_size=600))
def test_a_shown_name_is_always_harmless(sent: bytes) -> None:
    name = shown_name(sent)
    assert len(name.encode()) <= 255
    assert not set(name) & set("/\\\0\r\n\x7f")
    assert name not in (".", "..")

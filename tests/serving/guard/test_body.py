"""Bodies as they arrive: sizes, times, the worker's budget; many files one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request

from serving.errors import RequestError, SettingsError
from serving.guard import ReceivedFile, check_guard, read_files, read_image_bytes
from serving.guard.budget import BodyBudgetMiddleware, ByteBudget, Share
from serving.guard.errors import OverloadedError
from serving.settings import Settings

FORM = "multipart/form-data; boundary=XX"
END = b"--XX--\r\n"
Chunks = Iterable[bytes | float | None]


def part(name: str, data: bytes, filename: str | None = "x.png") -> bytes:
    shown = f'; filename="{filename}"' if filename is not None else ""
    head = f'--XX\r\nContent-Disposition: form-data; name="{name}"{shown}\r\nContent-Type: image/png\r\n\r\n'
    return head.encode() + data + b"\r\n"


def request_of(chunks: Chunks, content_type: str, share: Share, **headers: str) -> Request:
    """A request whose body arrives as told: bytes are a chunk, a number is a pause, None is a client that leaves."""
    waiting = list(chunks)

    async def receive() -> dict[str, Any]:
        while waiting and isinstance(waiting[0], float):
            await asyncio.sleep(waiting.pop(0))
        chunk = waiting.pop(0) if waiting else b""
        if chunk is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "state": {"body_share": share}}
    return Request(scope | {"headers": [(b"content-type", content_type.encode()), *raw]}, receive)


def read(chunks: Chunks, content_type: str = "image/png", budget: ByteBudget | None = None, **headers: str) -> bytes:
    share = Share(budget or ByteBudget(10**6))
    request = request_of(chunks, content_type, share, **headers)
    return asyncio.run(read_image_bytes(request, max_bytes=1000, timeout_s=0.4))


def refused(work: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        work()
    return caught.value.status, caught.value.code


def test_a_raw_body_and_a_form_give_the_same_bytes() -> None:
    data = bytes(range(256))
    assert read([data[:100], data[100:]]) == data
    whole = part("image", data) + END
    assert read([whole[i : i + 1] for i in range(len(whole))], FORM) == data


def test_sizes_are_held_while_streaming() -> None:
    assert len(read([b"x" * 1000])) == 1000
    assert refused(lambda: read([b"x" * 600, b"x" * 600])) == (413, "body_too_large")
    assert refused(lambda: read([60.0], content_length="1001")) == (413, "body_too_large")


def test_time_is_held() -> None:
    assert read([b"a", 0.15, b"b", 0.15, b"c"]) == b"abc"
    assert refused(lambda: read([b"a", 60.0])) == (408, "read_timeout")  # no progress
    assert refused(lambda: read([b"a", 0.1] * 100)) == (408, "read_timeout")  # progress, too slow
    with pytest.raises(RequestError, match="without pauses"):
        read([b"a", 60.0])
    with pytest.raises(RequestError, match="faster or smaller"):
        read([b"a", 0.1] * 100)


def test_a_body_counts_against_the_budget_as_it_arrives() -> None:
    budget = ByteBudget(1000)
    slow = Share(budget)
    slow.take(600)  # what another request has sent so far
    assert refused(lambda: read([60.0], budget=budget, content_length="401")) == (503, "overloaded")
    assert read([b"x" * 400], budget=budget, content_length="400") == b"x" * 400
    assert refused(lambda: read([b"x"], budget=budget)) == (503, "overloaded")  # nobody gave the 400 back
    slow.give_back()
    assert read([b"x" * 600], budget=budget) == b"x" * 600
    error = OverloadedError("")
    assert error.closes


def test_a_request_gives_back_what_it_holds_whatever_its_end() -> None:
    budget = ByteBudget(1000)

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        scope["state"]["body_share"].take(700)
        assert budget.held == 700
        if scope["fails"] is not None:
            raise scope["fails"]

    async def visit(fails: BaseException | None) -> None:
        await BodyBudgetMiddleware(app, budget)({"type": "http", "fails": fails}, None, None)  # type: ignore[arg-type]

    for end in (None, ValueError(), asyncio.CancelledError()):
        try:
            asyncio.run(visit(end))
        except (ValueError, asyncio.CancelledError):
            assert end is not None
        assert budget.held == 0


def test_a_body_that_could_never_be_held_ends_the_start() -> None:
    check_guard(Settings(max_body_bytes=2048, body_bytes_total=2048))
    with pytest.raises(SettingsError, match="MILLISIGHT_BODY_BYTES_TOTAL"):
        check_guard(Settings(max_body_bytes=2049, body_bytes_total=2048))


def test_no_more_is_given_back_than_was_taken() -> None:
    share = Share(ByteBudget(10))
    share.take(3)
    with pytest.raises(ValueError, match="3 are held"):
        share.give_back(4)


class Recorder:
    """Sinks that remember everything, and can fail."""

    def __init__(self, fails: bool = False) -> None:
        self.log: list[str] = []
        self.files: list[bytearray] = []
        self.names: list[str] = []
        self.fails = fails

    def __call__(self, index: int, name: str) -> Recorder:
        assert index == len(self.files)
        self.files.append(bytearray())
        self.names.append(name)
        return self

    async def write(self, data: bytes) -> None:
        await asyncio.sleep(0)
        if self.fails:
            raise OSError("disk full")
        self.files[-1] += data

    async def close(self) -> None:
        self.log.append("close")

    async def abort(self) -> None:
        self.log.append("abort")


def files(chunks: Chunks, sinks: Recorder, content_type: str = FORM, **limits: int) -> list[ReceivedFile]:
    budget = ByteBudget(10**6)
    share = Share(budget)
    allowed = {"max_files": 3, "max_file_bytes": 500, "max_total_bytes": 4000} | limits
    request = request_of(chunks, content_type, share)
    work: Awaitable[list[ReceivedFile]] = read_files(request, timeout_s=0.4, open_sink=sinks, **allowed)
    try:
        return asyncio.run(work)  # type: ignore[arg-type]
    finally:
        share.give_back()
        assert budget.held == 0


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=3), st.integers(1, 500))
def test_many_files_arrive_whole_however_they_are_cut(contents: list[bytes], step: int) -> None:
    sinks = Recorder()
    body = b"".join(part("image", data, f"{index}.png") for index, data in enumerate(contents)) + END
    received = files([body[start : start + step] for start in range(0, len(body), step)], sinks)
    assert [bytes(data) for data in sinks.files] == contents
    assert received == [ReceivedFile(f"{index}.png", len(data)) for index, data in enumerate(contents)]
    assert sinks.log == ["close"] * len(contents)


ONE = part("image", b"abc")


@pytest.mark.parametrize(
    ("body", "answer", "log"),
    [
        ([END], (400, "missing_image"), []),
        ([ONE * 4 + END], (413, "too_many_files"), ["close"] * 3),
        ([part("image", b"x" * 501) + END], (413, "file_too_large"), ["abort"]),
        ([ONE + part("image", b"") + END], (400, "empty"), ["close", "abort"]),
        ([part("other", b"abc") + END], (400, "missing_image"), []),
        ([ONE + part("other", b"abc") + END], (400, "unexpected_part"), ["close"]),
        ([b'--XX\r\nContent-Disposition: form-data; name="image"\r\n\r\nhttp://x\r\n' + END], (400, "not_a_file"), []),
        ([ONE + part("image", b"abc")[:-4]], (400, "broken_form"), ["close", "abort"]),
        ([b"nonsense"], (400, "broken_form"), []),
        ([ONE, ONE[:-4], 60.0], (408, "read_timeout"), ["close", "abort"]),
        ([part("image", b"x" * 400) * 3, b"x" * 4000], (413, "body_too_large"), ["close", "close", "abort"]),
    ],
)
def test_a_wrong_form_of_files_is_refused_and_its_open_file_thrown_away(
    body: Chunks, answer: tuple[int, str], log: list[str]
) -> None:
    sinks = Recorder()
    assert refused(lambda: files(body, sinks)) == answer
    assert sinks.log == log


def test_no_form_is_no_set_of_files() -> None:
    assert refused(lambda: files([ONE + END], Recorder(), "image/png")) == (415, "unsupported_media_type")


def test_a_client_that_leaves_and_a_disk_that_is_full_throw_the_open_file_away() -> None:
    sinks = Recorder()
    with pytest.raises(ClientDisconnect):
        files([ONE, ONE[:-4], None], sinks)
    assert sinks.log == ["close", "abort"]
    sinks = Recorder(fails=True)
    with pytest.raises(OSError, match="disk full"):
        files([ONE + END], sinks)
    assert sinks.log == ["abort"]

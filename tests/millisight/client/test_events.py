"""Server-sent events: any cut of the stream gives the same events; streams that break are opened again."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millisight.client import BrokenAnswerError, RetryPolicy, TimedOutError, UnreachableError
from millisight.client.events import EventParser, Follower

STREAM = (
    ": hello\n\nevent: progress\ndata: {\"a\":\ndata: 1}\n\nid: 7\nretry: 10\ndata:no space\n\n"
    "event: nothing to say\n\nevent: progress\r\ndata: ä\r\n\r\nevent: end\rdata: x\r\r\n"
).encode()  # fmt: skip
EVENTS = [("progress", '{"a":\n1}'), ("message", "no space"), ("progress", "ä"), ("end", "x")]


def events(pieces: list[bytes]) -> list[tuple[str, str]]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_a_stream_cut_anywhere_has_the_same_events(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    assert events([STREAM[start:end] for start, end in pairwise(edges)]) == EVENTS


def test_every_byte_alone_and_the_planted_fault_of_a_lost_byte() -> None:
    assert events([STREAM[index : index + 1] for index in range(len(STREAM))]) == EVENTS
    assert events([STREAM[:40], STREAM[41:]]) != EVENTS


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_no_bytes_are_an_error(pieces: list[bytes]) -> None:
    events(pieces)


def test_an_event_without_end_is_refused() -> None:
    parser = EventParser()
    for _ in range(15):
        parser.feed(b"data: " + b"x" * 2**20 + b"\n")
    with pytest.raises(BrokenAnswerError, match="more than"):
        parser.feed(b"x" * 2**21)


def progress(done: int, status: str = "running") -> bytes:
    content = {"id": "j", "status": status, "total": 3, "done": done, "progress": done / 3}
    return f"event: progress\ndata: {json.dumps(content)}\n\n".encode()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def follower(limit_s: float | None = None, clock: Clock | None = None) -> Follower:
    return Follower("j", RetryPolicy(attempts=3, base_s=1, jitter=0), 60, limit_s, clock or Clock())


def test_only_news_is_told_and_the_end_is_the_end() -> None:
    follows = follower()
    assert [state.done for state in follows.feed(progress(0) + progress(0) + progress(1))] == [0, 1]
    assert follows.feed(b": still here\n\n") == []
    assert not follows.finished
    assert [state.status for state in follows.feed(progress(3, "done") + b"event: end\ndata: {}\n\n")] == ["done"]
    assert follows.finished


def test_the_end_may_bring_the_last_state() -> None:
    follows = follower()
    assert [state.status for state in follows.feed(progress(3, "done").replace(b"progress\n", b"end\n", 1))] == ["done"]
    assert follows.finished


def test_streams_that_break_with_news_go_on_for_ever_and_without_news_do_not() -> None:
    follows = follower()
    for done in range(3):
        follows.feed(progress(done))
        assert follows.pause_s(None) == 1
    assert follows.pause_s(None) == 2
    with pytest.raises(UnreachableError, match="3 times in a row"):
        follows.pause_s(None)


def test_the_limit_holds_while_the_service_only_keeps_the_line_open() -> None:
    clock = Clock()
    follows = follower(10, clock)
    assert follows.next_timeout_s() == 10
    clock.now = 8.5
    assert follows.feed(b": still here\n\n") == []
    assert follows.pause_s(None) == 1
    clock.now = 10.0
    with pytest.raises(TimedOutError, match="within 10 s"):
        follows.feed(b": still here\n\n")
    with pytest.raises(TimedOutError):
        follows.next_timeout_s()
    with pytest.raises(TimedOutError):
        follows.pause_s(None)


def test_hostile_streams_are_named() -> None:
    with pytest.raises(BrokenAnswerError, match="text/html"):
        follower().begin({"content-type": "text/html"})
    with pytest.raises(BrokenAnswerError, match="JSON"):
        follower().feed(b"event: progress\ndata: <html>\n\n")
    with pytest.raises(BrokenAnswerError, match="total"):
        follower().feed(b'event: progress\ndata: {"id": "j", "status": "running"}\n\n')

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from serving.guard import rates
from serving.guard.rates import RateLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_passes_then_one_at_a_time() -> None:
    clock = Clock()
    limiter = RateLimiter(clock=clock)
    taken = [limiter.take("ann", 60, 5) for _ in range(7)]
    assert [one.granted for one in taken] == [True] * 5 + [False] * 2
    assert [one.remaining for one in taken] == [4, 3, 2, 1, 0, 0, 0]
    assert taken[0].headers == {"RateLimit-Policy": '"key";q=5;w=5', "RateLimit": '"key";r=4;t=1'}
    assert taken[-1].headers["Retry-After"] == "1"
    clock.now += 0.99
    assert not limiter.take("ann", 60, 5).granted
    clock.now += 0.01
    assert limiter.take("ann", 60, 5).granted
    assert not limiter.take("ann", 60, 5).granted
    clock.now += 1000
    assert [limiter.take("ann", 60, 5).granted for _ in range(6)] == [True] * 5 + [False]


def test_keys_do_not_share_a_bucket() -> None:
    limiter = RateLimiter(clock=Clock())
    assert limiter.take("ann", 1, 1).granted
    assert not limiter.take("ann", 1, 1).granted
    assert limiter.take("bob", 1, 1).granted


def test_each_worker_grants_its_share() -> None:
    clock = Clock()
    limiter = RateLimiter(workers=4, clock=clock)
    assert [limiter.take("ann", 60, 8).granted for _ in range(3)] == [True, True, False]
    clock.now += 3.9
    assert not limiter.take("ann", 60, 8).granted
    clock.now += 0.1
    assert limiter.take("ann", 60, 8).granted


def test_a_smaller_rate_holds_at_once() -> None:
    limiter = RateLimiter(clock=Clock())
    assert limiter.take("ann", 600, None).remaining == 599
    assert limiter.take("ann", 2, None).remaining == 1


@given(st.floats(0.1, 6000), st.integers(1, 100) | st.none(), st.integers(1, 8), st.integers(0, 200))
def test_retry_after_is_true(rate: float, burst: int | None, workers: int, requests: int) -> None:
    clock = Clock()
    limiter = RateLimiter(workers, clock)
    for _ in range(requests):
        allowance = limiter.take("ann", rate, burst)
        clock.now += 0.001
        if not allowance.granted:
            clock.now += int(allowance.headers["Retry-After"])
            assert int(allowance.headers["Retry-After"]) >= 1
            assert limiter.take("ann", rate, burst).granted


@given(st.floats(1, 6000), st.integers(1, 100), st.lists(st.floats(0, 10), max_size=100))
def test_never_more_than_the_bucket_and_what_was_added(rate: float, burst: int, pauses: list[float]) -> None:
    clock = Clock()
    limiter = RateLimiter(clock=clock)
    granted = 0
    for pause in pauses:
        clock.now += pause
        granted += limiter.take("ann", rate, burst).granted
    assert granted <= burst + clock.now * rate / 60 + 1e-6


def test_memory_is_bounded() -> None:
    limiter = RateLimiter(clock=Clock())
    for number in range(rates._LARGEST + 100):
        limiter.take(str(number), 60, None)
    assert len(limiter._buckets) == rates._LARGEST


def test_headers_are_structured_fields() -> None:
    limiter = RateLimiter(clock=Clock())
    for _ in range(3):
        headers = limiter.take("ann", 0.7, 2).headers
        assert re.fullmatch(r'"key";q=\d+;w=\d+', headers["RateLimit-Policy"])
        assert re.fullmatch(r'"key";r=\d+;t=\d+', headers["RateLimit"])

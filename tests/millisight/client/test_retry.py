"""RetryPolicy and the exchange, with a clock of their own: no wait of these tests is real."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millisight.client import InvalidCallError, OverloadedError, RefusedError, RetryPolicy, UnreachableError
from millisight.client.calls import Call
from millisight.client.exchange import ErrorAnswer, Outcome, Send, Wait, exchange
from millisight.client.retry import retry_after_s

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)

seconds = st.floats(0, 1000)
policies = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 8),
    total_s=seconds,
    base_s=st.floats(0, 10),
    cap_s=st.floats(0, 100),
    jitter=st.floats(0, 5),
)


class Impatient(RetryPolicy):
    """The planted fault: comes back before it was told to."""

    def wait_s(self, failures: int, retry_after: float | None, left_s: float, draw: float) -> float | None:
        wait = super().wait_s(failures, retry_after, left_s, draw)
        return None if wait is None else wait * 0.9


class Endless(RetryPolicy):
    """The planted fault: forgets the total."""

    def wait_s(self, failures: int, retry_after: float | None, left_s: float, draw: float) -> float | None:
        return super().wait_s(failures, retry_after, max(left_s, 1e9), draw)


def overload(policy: RetryPolicy, afters: list[float | None], deadline_s: float | None, draw: float) -> None:
    """A service that is always busy: every wait is at least what it asked for, and none goes beyond the limits."""
    now, tries = 0.0, 0
    call = Call("POST", "/v1/derain", deadline_s=deadline_s)
    limit = min(policy.total_s, policy.total_s if deadline_s is None else deadline_s)
    steps = exchange(call, policy, address="x", timeout_s=1, clock=lambda: now, draw=lambda: draw)
    step: Send | Wait = next(steps)
    try:
        while True:
            if isinstance(step, Send):
                after = afters[min(tries, len(afters) - 1)]
                tries += 1
                now += 0.001
                headers = httpx.Headers({} if after is None else {"Retry-After": str(int(after))})
                step = steps.send(ErrorAnswer(429, headers, b""))
            else:
                assert after is None or step.seconds >= int(after)
                now += step.seconds
                assert now < limit
                step = next(steps)
    except OverloadedError as error:
        told = error.attempts
    assert tries == told <= policy.attempts


@given(
    policies, st.lists(st.none() | st.integers(0, 100).map(float), min_size=1), st.none() | st.floats(0.1, 500),
    st.floats(0, 1, exclude_max=True),
)  # fmt: skip
def test_waits_are_never_shorter_than_asked_for_nor_longer_than_allowed(
    policy: RetryPolicy, afters: list[float | None], deadline_s: float | None, draw: float
) -> None:
    overload(policy, afters, deadline_s, draw)


@pytest.mark.parametrize("fault", [Impatient(total_s=100), Endless(total_s=5)])
def test_the_property_sees_a_client_that_is_impatient_or_endless(fault: RetryPolicy) -> None:
    with pytest.raises(AssertionError):
        overload(fault, [3.0], None, 0.0)


@given(policies, st.integers(1, 10), st.none() | seconds, seconds, st.floats(0, 1, exclude_max=True))
@example(RetryPolicy(attempts=3000), 2000, None, 100.0, 0.5)
def test_wait_s(policy: RetryPolicy, failures: int, after: float | None, left_s: float, draw: float) -> None:
    wait = policy.wait_s(failures, after, left_s, draw)
    if wait is not None:
        assert (after or 0) <= wait < left_s
        assert failures < policy.attempts
        longest = policy.cap_s if after is None else after
        assert wait <= longest + policy.jitter * max(longest, policy.base_s) + 1e-9


def test_without_an_answer_to_go_by_waits_double_up_to_the_cap() -> None:
    policy = RetryPolicy(attempts=9, base_s=1, cap_s=5, jitter=0)
    assert [policy.wait_s(failures, None, 100, 0.5) for failures in range(1, 6)] == [1, 2, 4, 5, 5]


@pytest.mark.parametrize(
    "fault", [{"attempts": 0}, {"total_s": -1}, {"jitter": float("nan")}, {"base_s": float("inf")}, {"cap_s": -0.1}]
)
def test_a_policy_that_cannot_be_is_refused(fault: dict[str, float]) -> None:
    with pytest.raises(InvalidCallError, match=next(iter(fault))):
        RetryPolicy(**fault)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": "-7"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "9" * 400}, 999_999_999),
        ({"Retry-After": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, 90),
        ({"Retry-After": format_datetime(NOW - timedelta(days=9), usegmt=True)}, 0),
        # The service's own clock counts: here it is a day ahead of ours.
        (
            {
                "Retry-After": format_datetime(NOW + timedelta(days=1, seconds=5), usegmt=True),
                "Date": format_datetime(NOW + timedelta(days=1), usegmt=True),
            },
            5,
        ),
    ],
)
def test_retry_after_in_seconds_and_as_a_date(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after_s(httpx.Headers(headers), NOW) == expected


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,4} [A-Z][a-z]{2} \d{1,12} \d\d:\d\d:\d\d( [+A-Z0-9]{1,6})?"))
@example("Mon, 01 Jan 999999999999 00:00:00 GMT")
def test_no_retry_after_is_an_error(text: str) -> None:
    found = retry_after_s({"retry-after": text, "date": text}, NOW)
    assert found is None or found >= 0


def drive(call: Call, answer: Callable[[Send], Outcome], policy: RetryPolicy | None = None) -> list[Send]:
    """The tries of a call; each second of waiting passes at once, each try takes one."""
    now = 0.0
    sent: list[Send] = []
    steps = exchange(
        call, policy or RetryPolicy(attempts=3), address="http://x", timeout_s=50, clock=lambda: now, draw=lambda: 0.0
    )
    outcome: Outcome = None
    try:
        while True:
            step = steps.send(outcome)
            outcome = None
            if isinstance(step, Send):
                sent.append(step)
                now += 1
                outcome = answer(step)
            else:
                now += step.seconds
    except StopIteration:
        return sent
    except (RefusedError, UnreachableError) as error:
        error.add_note(f"{len(sent)} tries")
        raise


def tries(call: Call, outcome: Outcome) -> int:
    with pytest.raises((RefusedError, UnreachableError)) as raised:
        drive(call, lambda _: outcome)
    return int(raised.value.__notes__[0].split()[0])


RESTORE = Call("POST", "/v1/derain")
SUBMIT = Call("POST", "/v1/jobs", repeatable=False)


def status(code: int) -> ErrorAnswer:
    return ErrorAnswer(code, httpx.Headers(), b"")


@pytest.mark.parametrize("code", [429, 503])
def test_what_was_not_taken_in_is_tried_again_even_a_submission(code: int) -> None:
    assert tries(RESTORE, status(code)) == 3
    assert tries(SUBMIT, status(code)) == 3


@pytest.mark.parametrize("code", [307, 400, 401, 404, 408, 409, 410, 413, 422, 500, 502, 504])
def test_everything_else_the_service_says_is_final(code: int) -> None:
    assert tries(RESTORE, status(code)) == 1


GONE = httpx.RemoteProtocolError("Server disconnected without sending a response.")


@pytest.mark.parametrize(
    ("error", "restoring", "submitting"),
    [
        (httpx.ConnectError("refused"), 3, 3),
        (httpx.ConnectTimeout("slow"), 3, 3),
        (GONE, 3, 1),
        (httpx.ReadError("reset"), 3, 1),
        (httpx.WriteError("reset"), 3, 1),
        (httpx.RemoteProtocolError("illegal status line"), 1, 1),
        (httpx.ReadTimeout("silence"), 1, 1),
        (httpx.WriteTimeout("silence"), 1, 1),
    ],
)
def test_a_connection_that_breaks_is_tried_again_where_nothing_can_happen_twice(
    error: httpx.TransportError, restoring: int, submitting: int
) -> None:
    assert tries(RESTORE, error) == restoring
    assert tries(SUBMIT, error) == submitting


def test_each_try_tells_the_service_what_is_left_of_the_deadline() -> None:
    answers = iter([status(503), status(503), httpx.Response(200)])
    sent = drive(Call("POST", "/v1/derain", deadline_s=10), lambda _: next(answers), RetryPolicy(base_s=1, jitter=0))
    assert [step.headers["X-Deadline-Ms"] for step in sent] == ["10000", "8000", "5000"]
    assert [step.timeout_s for step in sent] == [11, 9, 6]


def test_a_call_that_cannot_meet_its_deadline_ends_at_once_and_says_why() -> None:
    busy = ErrorAnswer(
        429, httpx.Headers({"Retry-After": "30"}), b'{"error": {"code": "queue_full", "message": "Full."}}'
    )
    with pytest.raises(OverloadedError) as raised:
        drive(Call("POST", "/v1/derain", deadline_s=10), lambda _: busy)
    assert raised.value.attempts == 1
    assert raised.value.retry_after == 30
    assert "asks for 30 s" in str(raised.value)
    assert "9.0 s are left" in str(raised.value)
    assert raised.value.code == "queue_full"

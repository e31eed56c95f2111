"""One call from its first try to its answer: what to send, how long to wait, when to give up.

The rules are a generator that does no input or output: it says `Send` or `Wait`, is told the outcome, and returns the
answer. The synchronous and the asynchronous client are two short loops around this one generator.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass

import httpx

from millisight.client.answers import refusal
from millisight.client.calls import Call
from millisight.client.errors import (
    BrokenAnswerError,
    MillisightClientError,
    OverloadedError,
    RefusedError,
    TimedOutError,
    UnreachableError,
)
from millisight.client.retry import RetryPolicy

__all__ = ["ERROR_BYTES", "ErrorAnswer", "Exchange", "Outcome", "Send", "Wait", "cut_short", "exchange"]

ERROR_BYTES = 64 * 1024
"""How much of an error's body is read."""

# The service answers 504 at the deadline itself; this is for the way back.
_GRACE_S = 1.0
# Both mean "not taken in, come back". 408, 502 and 504 say that time went into it, or nobody knows what became of it.
_TRY_AGAIN = frozenset({429, 503})


@dataclass(frozen=True)
class Send:
    """Do one try.

    Attributes:
        call: What is sent.
        headers: Of this try.
        timeout_s: Longest silence of the service.
    """

    call: Call
    headers: Mapping[str, str]
    timeout_s: float


@dataclass(frozen=True)
class Wait:
    """Sleep."""

    seconds: float


@dataclass(frozen=True)
class ErrorAnswer:
    """An answer other than success, with the beginning of its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Outcome = httpx.Response | ErrorAnswer | httpx.TransportError | None
"""What became of a step: a successful answer whose body is unread, an error, no answer, or nothing (of a wait)."""

Exchange = Generator[Send | Wait, Outcome, httpx.Response]


def exchange(
    call: Call,
    policy: RetryPolicy,
    *,
    address: str,
    timeout_s: float,
    clock: Callable[[], float] = time.monotonic,
    draw: Callable[[], float] = random.random,
) -> Exchange:
    """The steps of one call; returns the successful answer, its body unread.

    Args:
        call: What to ask.
        policy: How patiently.
        address: Of the service, for messages.
        timeout_s: Longest silence of the service within one try.
        clock: Seconds.
        draw: Random numbers in [0, 1).

    Raises:
        RefusedError: The service refused, or is overloaded for longer than the caller can wait.
        UnreachableError: There was no answer.
    """
    start = clock()
    deadline = start + (math.inf if call.deadline_s is None else call.deadline_s)
    failures = 0
    while True:
        left = deadline - clock()
        if left <= 0:
            raise _late(call, address)
        outcome = yield Send(call, _headers(call, left), min(timeout_s, left + _GRACE_S))
        if isinstance(outcome, httpx.Response):
            return outcome
        failures += 1
        error, again = _judge(call, outcome, address, deadline - clock())
        left = min(start + policy.total_s, deadline) - clock()
        after = error.retry_after if isinstance(error, RefusedError) else None
        wait = policy.wait_s(failures, after, left, draw()) if again else None
        if wait is None:
            raise _final(error, failures, again, policy, left)
        yield Wait(wait)


def cut_short(error: httpx.RequestError) -> MillisightClientError:
    """The error of an answer whose body did not arrive whole. It is not asked for again: part of it was there."""
    if isinstance(error, httpx.TimeoutException):
        return TimedOutError("The answer began, but the rest of it did not arrive in time.")
    return BrokenAnswerError(f"The answer began, but was cut on its way: {error}.")


def _headers(call: Call, left_s: float) -> dict[str, str]:
    # identity: pictures do not get smaller, and a proxy that packs a stream of events holds them back.
    headers = {"Accept": call.accept, "Accept-Encoding": "identity"}
    if call.body is not None:
        headers |= {"Content-Type": call.body.content_type, "Content-Length": str(call.body.size)}
    if call.deadline_s is not None:
        headers["X-Deadline-Ms"] = str(max(1, int(left_s * 1000)))
    return headers


def _judge(call: Call, outcome: Outcome, address: str, left_s: float) -> tuple[MillisightClientError, bool]:
    """The error that an outcome means, and whether trying again is safe and has a point."""
    if isinstance(outcome, ErrorAnswer):
        return refusal(outcome.status, outcome.headers, outcome.body), outcome.status in _TRY_AGAIN
    assert isinstance(outcome, httpx.TransportError)
    if isinstance(outcome, httpx.ConnectError | httpx.ConnectTimeout):
        why = str(outcome) or "no connection in time"
        return UnreachableError(f"{address} cannot be reached ({why}). Is the service running there?"), True
    if isinstance(outcome, httpx.TimeoutException):
        return (_late(call, address) if left_s <= 0 else _silent(call, address)), False
    error = UnreachableError(f"{address} broke the connection before an answer to {call.name}: {outcome}.")
    return error, call.repeatable and _before_the_answer(outcome)


def _before_the_answer(error: httpx.TransportError) -> bool:
    """Whether the connection ended before the head of an answer was there."""
    # httpx has one class for this and for an answer that is no HTTP; only its words tell them apart.
    gone = isinstance(error, httpx.RemoteProtocolError) and "disconnected" in str(error)
    return gone or isinstance(error, httpx.NetworkError)


def _late(call: Call, address: str) -> TimedOutError:
    seconds = call.deadline_s or 0.0
    return TimedOutError(f"{address} did not answer {call.name} within the deadline of {seconds:g} s.")


def _silent(call: Call, address: str) -> TimedOutError:
    return TimedOutError(f"{address} did not answer {call.name} within the client's timeout. Give a longer `timeout`.")


def _final(
    error: MillisightClientError, failures: int, again: bool, policy: RetryPolicy, left_s: float
) -> MillisightClientError:
    if not (again and isinstance(error, RefusedError)):
        return error
    if failures >= policy.attempts:
        return OverloadedError(error, failures, "that is all this client's RetryPolicy allows.")
    asked = "" if error.retry_after is None else f" (the service asks for {error.retry_after:g} s)"
    why = f"{max(0.0, left_s):.1f} s are left, too little to wait and try again{asked}."
    return OverloadedError(error, failures, why)

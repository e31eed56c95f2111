"""When a call is tried again, and after how long. Pure: the clock and the dice belong to the caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from millisight.client.errors import InvalidCallError

__all__ = ["RetryPolicy", "retry_after_s"]


@dataclass(frozen=True)
class RetryPolicy:
    """How patient a client is.

    Attributes:
        attempts: Tries in all; 1 means that nothing is tried again.
        total_s: Seconds from the first try within which the last one must start.
        base_s: Wait after the first failure for which the service names no time; doubled after each further one.
        cap_s: Longest of these waits.
        jitter: Every wait is made longer by a random share of itself up to this one (of `base_s` if that is more), so
            that clients that were refused together do not come back together. Never shorter.
    """

    attempts: int = 5
    total_s: float = 60.0
    base_s: float = 0.25
    cap_s: float = 8.0
    jitter: float = 0.25

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise InvalidCallError(f"attempts is {self.attempts}. Give 1 (no second try) or more.")
        for name in ("total_s", "base_s", "cap_s", "jitter"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise InvalidCallError(f"{name} is {value}. Give a number from 0 on.")

    def wait_s(self, failures: int, retry_after: float | None, left_s: float, draw: float) -> float | None:
        """How long to wait before the next try.

        Args:
            failures: Tries that failed, at least 1.
            retry_after: Seconds the service asked to wait; None if it named none.
            left_s: Seconds until the next try would be too late.
            draw: A random number in [0, 1).

        Returns:
            Seconds: at least `retry_after`, less than `left_s`. None if there shall be no further try.
        """
        # The exponent is bounded: 2.0**1024 is an error, and every cap is reached long before.
        backoff = min(self.cap_s, self.base_s * 2.0 ** min(failures - 1, 60))
        floor = backoff if retry_after is None else max(0.0, retry_after)
        if failures >= self.attempts or floor >= left_s:
            return None
        # Jitter takes at most half of the time that is left over, so that the next try has some.
        return floor + min((left_s - floor) / 2, draw * self.jitter * max(floor, self.base_s))


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that a Retry-After header asks to wait, from 0 on; None without a readable one.

    A date is counted from the answer's own Date, so that it holds on a machine whose clock is wrong.

    Args:
        headers: Of the answer, in lower case or of any case in a mapping that does not care.
        now: Used for a date in an answer without Date; the machine's clock by default.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    until = _date(text)
    if until is None:
        return None
    start = _date(headers.get("date", "")) or now or datetime.now(UTC)
    return max(0.0, (until - start).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # OverflowError: a year of many digits
        return None
    # HTTP dates are GMT; one without a zone is read as such.
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)

"""Requests per key and minute: one token bucket a key.

The headers are those of draft-ietf-httpapi-ratelimit-headers-11 (May 2026), "RateLimit header fields for HTTP":
`RateLimit-Policy: "key";q=60;w=60` says that 60 requests may be made in 60 seconds (the bucket and the time that fills
it), `RateLimit: "key";r=59;t=1` that 59 may be made now and that the next is added in 1 second.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

# Names come from the key file; a bound all the same, as the file may change for ever.
_LARGEST = 10_000


@dataclass(frozen=True)
class Allowance:
    """What a key may do now.

    Attributes:
        granted: This request may pass.
        quota: Requests in `window_s` seconds.
        window_s: Seconds.
        remaining: Requests that may follow at once.
        next_s: Whole seconds until one more is added; 0 when the bucket is full.
    """

    granted: bool
    quota: int
    window_s: int
    remaining: int
    next_s: int

    @property
    def headers(self) -> dict[str, str]:
        """For every answer; with Retry-After when this request may not pass."""
        headers = {
            "RateLimit-Policy": f'"key";q={self.quota};w={self.window_s}',
            "RateLimit": f'"key";r={self.remaining};t={self.next_s}',
        }
        return headers if self.granted else headers | {"Retry-After": str(self.next_s)}


@dataclass
class _Bucket:
    tokens: float
    at: float


class RateLimiter:
    """The buckets of one worker. Used on the event loop only, so it needs no lock.

    Workers do not talk to each other: each grants its share, rate and burst divided by the workers. The kernel gives
    connections to workers as it likes, so a client on one connection meets one worker's share of its rate.
    """

    def __init__(self, workers: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self._workers = workers
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, name: str, rate_per_minute: float, burst: int | None) -> Allowance:
        """Takes one request out of a key's bucket, if there is one.

        Args:
            name: The key's.
            rate_per_minute: Requests a minute, over all workers.
            burst: Requests at once after a pause, over all workers; None: those of a minute.
        """
        now = self._clock()
        per_second = rate_per_minute / 60 / self._workers
        size = max(1.0, math.floor((burst or rate_per_minute) / self._workers))
        bucket = self._buckets.setdefault(name, _Bucket(size, now))
        self._buckets.move_to_end(name)
        if len(self._buckets) > _LARGEST:
            self._buckets.popitem(last=False)
        bucket.tokens = min(size, bucket.tokens + (now - bucket.at) * per_second)
        bucket.at = now
        granted = bucket.tokens >= 1
        if granted:
            bucket.tokens -= 1
        remaining = math.floor(bucket.tokens)
        next_s = math.ceil((remaining + 1 - bucket.tokens) / per_second) if bucket.tokens < size else 0
        return Allowance(granted, int(size), math.ceil(size / per_second), remaining, next_s)

"""Why a request is not taken, said before any of its work is done."""

from __future__ import annotations

import math

from serving.errors import RequestError


class QueueFullError(RequestError):
    """As many requests as this worker takes are admitted and not answered."""

    status, code, reason = 429, "queue_full", "queue_full"


class DeadlineUnattainableError(RequestError):
    """By its predicted time the request would be late, or make an admitted one late."""

    status, code, reason = 503, "deadline_unattainable", "deadline"


def retry_after(seconds: float) -> dict[str, str]:
    """The header that says when to try again: whole seconds, at least 1."""
    return {"Retry-After": str(max(1, math.ceil(seconds)))}

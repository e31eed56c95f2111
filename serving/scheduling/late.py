"""The answer to a request whose time is up."""

from __future__ import annotations

from serving.errors import DeadlineExceededError


def late_error() -> DeadlineExceededError:
    """The error of a request that is not done at its deadline."""
    return DeadlineExceededError(
        "Not done by its deadline. Send a smaller picture, allow more time with X-Deadline-Ms, or try again later."
    )

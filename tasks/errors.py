"""The one error of this room."""

from __future__ import annotations

from runtime.errors import MillisightError

__all__ = ["TaskError"]


class TaskError(MillisightError):
    """A task, its images or its parameters are not usable; the message says what is allowed instead."""

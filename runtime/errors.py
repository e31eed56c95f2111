"""Every error a user of millisight may meet.

    MillisightError
    ├── TargetError   a target that is unknown, malformed or not available on this machine
    ├── BundleError   a bundle that is missing, damaged, foreign or of an unread schema version
    ├── EngineError   a model the engine refuses, or an answer it should not have given
    │   └── NonFiniteOutputError   an answer with NaN or infinity in it
    └── ImageError    a picture that cannot be read, processed or written; carries an HTTP status

    FallbackWarning   not an error: the work is done, but not with what was recorded as the best

Messages say what was got, what is allowed and what to do next. The command line prints `str(error)` and exits with 1;
the service maps them to an HTTP answer. Other rooms derive their own errors from `MillisightError`.
"""

__all__ = [
    "BundleError",
    "EngineError",
    "FallbackWarning",
    "ImageError",
    "MillisightError",
    "NonFiniteOutputError",
    "TargetError",
]


class MillisightError(Exception):
    """Base class of every error meant for a user; `str(error)` is the whole message."""


class TargetError(MillisightError):
    """The target does not exist, or this machine lacks what it needs."""


class BundleError(MillisightError):
    """A bundle folder is missing, damaged, foreign, or written for another version."""


class EngineError(MillisightError):
    """The engine refused the model or the batch, or its output is not usable."""


class NonFiniteOutputError(EngineError):
    """The model gave values that are not numbers, or infinite: its weights or its precision are at fault."""


class ImageError(MillisightError):
    """A picture was refused.

    Attributes:
        code: Short machine-readable reason, for example `"corrupt"` or `"too_many_pixels"`.
        status: The HTTP status that says the same (400, 413, 415, 422 or 500).
    """

    def __init__(self, message: str, *, code: str, status: int) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class FallbackWarning(UserWarning):
    """Something else runs than what was recorded as the best: what is missing, what runs instead, what mends it."""

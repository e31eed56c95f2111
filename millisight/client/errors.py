"""What a call to the service can end with, besides its result.

    MillisightClientError
    ├── InvalidCallError         the call cannot be sent as it is: a file that cannot be read, a deadline below 1 ms
    ├── UnreachableError         no answer: nothing listens there, or the connection broke before one
    │   └── TimedOutError        no answer within the timeout or the deadline
    ├── BrokenAnswerError        an answer that this service would not give, or one that was cut on its way
    └── RefusedError             the service answered with an error; its status, code and request id are kept
        ├── OverloadedError      429 or 503, and no further try fits into what the caller allows
        └── JobGoneError         404 or 410: the job was never there, has expired or was deleted

They do not derive from `runtime.MillisightError`: importing `runtime` brings numpy and Pillow along, and this package
is for machines that have httpx and pydantic alone. The command line translates.
"""

from __future__ import annotations


class MillisightClientError(Exception):
    """Base class of everything this package raises on purpose; `str(error)` is the whole message."""


class InvalidCallError(MillisightClientError):
    """The call cannot be sent, or its result not be kept, as the caller asked for it."""


class UnreachableError(MillisightClientError):
    """There was no answer at all."""


class TimedOutError(UnreachableError):
    """There was no answer in time."""


class BrokenAnswerError(MillisightClientError):
    """The answer is none of this service's, or it is not whole."""


class RefusedError(MillisightClientError):
    """The service (or something before it) answered with an error.

    Attributes:
        status: HTTP status.
        code: The service's own word for it, such as `corrupt`; `http_<status>` if the answer was not the service's.
        message: What is wrong, in the service's words.
        request_id: Under which the server's log has it; empty if the answer had none.
        retry_after: Seconds the service asked to wait; None if it did not.
    """

    def __init__(
        self, status: int, code: str, message: str, request_id: str = "", retry_after: float | None = None
    ) -> None:
        named = f"; request {request_id}" if request_id else ""
        super().__init__(f"{message} ({status} {code}{named})")
        self.status = status
        self.code = code
        self.message = message
        self.request_id = request_id
        self.retry_after = retry_after


class OverloadedError(RefusedError):
    """The service is too busy, and the tries or the time that the caller allows are used up.

    Attributes:
        attempts: How often it was tried.
    """

    def __init__(self, refused: RefusedError, attempts: int, why: str) -> None:
        tried = "once" if attempts == 1 else f"{attempts} times"
        message = f"{refused.message} Tried {tried}; {why}"
        super().__init__(refused.status, refused.code, message, refused.request_id, refused.retry_after)
        self.attempts = attempts


class JobGoneError(RefusedError):
    """The job is unknown, has expired or was deleted: its pictures have to be submitted again."""

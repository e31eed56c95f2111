"""What can go wrong, and the HTTP answer each case gets.

ServingError
├── SettingsError                      a MILLISIGHT_* variable is wrong, or no bundle is found: no start
└── RequestError                       one request is refused; status, code and reason sit on the class
    ├── BadRequestError                400
    │   ├── UnknownOptionError         400  a query option this route does not have, or one given twice
    │   ├── EmptyImageError            400  no bytes where the picture should be
    │   ├── MissingImageError          400  a form without the part `image`
    │   ├── NotAFileError              400  the part `image` is a text field
    │   ├── UnexpectedPartError        400  any part besides the one `image`
    │   └── BrokenFormError            400  multipart without boundary, cut short, or malformed
    ├── NotFoundError                  404  no such path
    │   └── ModelNotFoundError         404  no loaded bundle fits the task, scale or name
    ├── MethodNotAllowedError          405  with an Allow header
    ├── NotAcceptableError             406  no picture format in Accept that we write
    ├── ReadTimeoutError               408  the body did not arrive in time
    ├── BodyTooLargeError              413  more bytes than the limit
    ├── ResultTooLargeError            413  the restored picture would have too many pixels
    ├── UnsupportedMediaTypeError      415  the body's declared type is not a picture or a form
    ├── BadValueError                  422  a known option with a value out of range
    ├── ClientGoneError                499  the client hung up; seen in metrics only
    ├── InternalError                  500  a defect on our side
    │   └── ModelOutputInvalidError    500  a network answered with NaN or infinity
    ├── NotReadyError                  503  models are still loading
    └── DeadlineExceededError          504  the request's time is up

`runtime.ImageError` (a picture that cannot be read) carries its own status and code and is answered the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from runtime.errors import EngineError, ImageError, MillisightError


class ServingError(MillisightError):
    """Base of everything this room raises on purpose."""


class SettingsError(ServingError):
    """The server cannot start as it is configured."""


class RequestError(ServingError):
    """One request is refused.

    Attributes:
        status: HTTP status.
        code: Stable word a program may compare.
        reason: Label of `restore_rejected_total`, from a fixed set.
        closes: True when the connection must be closed because the body was left unread.
        headers: Extra response headers.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    reason: ClassVar[str] = "internal"
    closes: ClassVar[bool] = False

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.headers = dict(headers or {})


class BadRequestError(RequestError):
    """The request is malformed."""

    status, code, reason = 400, "bad_request", "bad_parameter"


class UnknownOptionError(BadRequestError):
    """A query option this route does not have, or one given twice."""

    code = "unknown_option"


class EmptyImageError(BadRequestError):
    """No bytes where the picture should be."""

    code, reason = "empty", "corrupt"


class MissingImageError(BadRequestError):
    """A form without the part `image`."""

    code = "missing_image"


class NotAFileError(BadRequestError):
    """The part `image` is a text field; its text is never followed as an address."""

    code = "not_a_file"


class UnexpectedPartError(BadRequestError):
    """Any part besides the one `image`."""

    code = "unexpected_part"


class BrokenFormError(BadRequestError):
    """A multipart body that is cut short, malformed or without boundary."""

    code, reason = "broken_form", "corrupt"


class NotFoundError(RequestError):
    """No such path."""

    status, code, reason = 404, "not_found", "bad_parameter"


class ModelNotFoundError(NotFoundError):
    """No loaded bundle fits the task, scale or name asked for."""

    code = "model_not_found"


class MethodNotAllowedError(RequestError):
    """The path exists, the method does not."""

    status, code, reason = 405, "method_not_allowed", "bad_parameter"


class NotAcceptableError(RequestError):
    """The client accepts no format that we write."""

    status, code, reason = 406, "not_acceptable", "media_type"


class ReadTimeoutError(RequestError):
    """The body did not arrive in time."""

    status, code, reason, closes = 408, "read_timeout", "deadline", True


class BodyTooLargeError(RequestError):
    """The body has more bytes than the limit."""

    status, code, reason, closes = 413, "body_too_large", "too_large", True


class ResultTooLargeError(RequestError):
    """The restored picture would have more pixels than the limit."""

    status, code, reason = 413, "result_too_large", "too_many_pixels"


class UnsupportedMediaTypeError(RequestError):
    """The body's declared type is neither a picture nor a form."""

    status, code, reason = 415, "unsupported_media_type", "media_type"


class BadValueError(RequestError):
    """A known option with a value out of range."""

    status, code, reason = 422, "bad_value", "bad_parameter"


class ClientGoneError(RequestError):
    """The client hung up before its answer was ready."""

    status, code, reason = 499, "client_gone", "client_gone"


class InternalError(RequestError):
    """A defect on our side; the server's log has the details under the request id."""


class ModelOutputInvalidError(InternalError):
    """A network answered with NaN or infinity."""

    code, reason = "model_output_invalid", "model_output"


class NotReadyError(RequestError):
    """Models are still loading."""

    status, code, reason = 503, "not_ready", "not_ready"


class DeadlineExceededError(RequestError):
    """The request's time is up; its work stops at the next tile."""

    status, code, reason = 504, "deadline_exceeded", "deadline"


_IMAGE_REASONS = {500: "model_output", 413: "too_many_pixels", 415: "media_type", 400: "corrupt", 422: "corrupt"}


@dataclass(frozen=True)
class Refusal:
    """An exception as the client and the metrics see it."""

    status: int
    code: str
    message: str
    reason: str
    closes: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


def refusal_of(error: Exception) -> Refusal:
    """Translates any exception into the answer to give; what we did not expect says nothing of its inside."""
    if isinstance(error, RequestError):
        return Refusal(error.status, error.code, str(error), error.reason, error.closes, error.headers)
    if isinstance(error, ImageError):
        return Refusal(error.status, error.code, str(error), _IMAGE_REASONS.get(error.status, "corrupt"))
    if isinstance(error, EngineError):
        return Refusal(500, ModelOutputInvalidError.code, str(error), ModelOutputInvalidError.reason)
    text = "The server met a defect of its own. Its log has the details under this request id."
    return Refusal(InternalError.status, InternalError.code, text, InternalError.reason)

"""What the guard refuses, and the HTTP answer each case gets.

RequestError                           serving.errors
├── BadRequestError                    400
│   ├── ConflictingKeysError           400  two headers name different keys
│   └── CorsRefusedError               400  a preflight for an origin, method or header that is not allowed
├── MissingKeyError                    401  this server asks for a key
├── WrongKeyError                      403  the key is not in the key file
├── NotAllowedError                    403  the key's role does not reach this far
├── BodyTooLargeError                  413
│   ├── FileTooLargeError              413  one file of a form is larger than the limit
│   └── TooManyFilesError              413  more file parts than one form may have
├── RateLimitedError                   429  the key's requests of this minute are used up
└── OverloadedError                    503  the bodies of other requests fill the memory set aside for them
"""

from __future__ import annotations

from serving.errors import BadRequestError, BodyTooLargeError, RequestError


class ConflictingKeysError(BadRequestError):
    """Two headers name different keys."""

    code, reason = "conflicting_keys", "unauthorised"


class CorsRefusedError(BadRequestError):
    """A preflight for an origin, method or header that is not allowed."""

    code = "cors_refused"


class MissingKeyError(RequestError):
    """This server asks for a key and got none."""

    status, code, reason = 401, "missing_key", "unauthorised"


class WrongKeyError(RequestError):
    """The key is not in the key file."""

    status, code, reason = 403, "wrong_key", "unauthorised"


class NotAllowedError(RequestError):
    """The key's role does not reach this far."""

    status, code, reason = 403, "not_allowed", "unauthorised"


class FileTooLargeError(BodyTooLargeError):
    """One file of a form is larger than the limit."""

    code = "file_too_large"


class TooManyFilesError(BodyTooLargeError):
    """More file parts than one form may have."""

    code = "too_many_files"


class RateLimitedError(RequestError):
    """The key's requests of this minute are used up."""

    status, code, reason = 429, "rate_limited", "rate_limited"


class OverloadedError(RequestError):
    """The bodies of other requests fill the memory set aside for them."""

    status, code, reason, closes = 503, "overloaded", "overloaded", True

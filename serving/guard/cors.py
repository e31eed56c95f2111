"""CORS: off unless origins are listed; Starlette's middleware, with our errors and without credentials.

Keys travel in headers that a page sets itself, and there are no cookies, so `Access-Control-Allow-Credentials` is never
sent and `*` is safe to allow.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.errors import SettingsError
from serving.guard.answers import error_response
from serving.guard.errors import CorsRefusedError

EVERYONE = "*"
METHODS = ("GET", "HEAD", "POST", "DELETE")
REQUEST_HEADERS = ("Authorization", "X-API-Key", "X-Deadline-Ms", "X-Request-Id", "Last-Event-ID")
# What a page may read besides the few that every page may.
ANSWER_HEADERS = (
    "X-Model",
    "X-Target",
    "X-Request-Id",
    "Server-Timing",
    "Retry-After",
    "RateLimit",
    "RateLimit-Policy",
    "WWW-Authenticate",
    "Location",
    "Content-Disposition",
)
_ORIGIN = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?")
_PREFLIGHT_S = 600


def require_origins(origins: Sequence[str]) -> None:
    """Checks the listed origins.

    Raises:
        SettingsError: One is no origin as browsers send it, or `*` stands beside others.
    """
    if EVERYONE in origins:
        if len(origins) > 1:
            raise SettingsError("MILLISIGHT_CORS_ORIGINS: '*' allows every origin; list it alone or not at all.")
        return
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise SettingsError(
                f"MILLISIGHT_CORS_ORIGINS: {origin!r} is no origin. Write scheme, host and port as browsers send them, "
                "without a path or slash at the end, such as https://app.example:8443; or '*' for every origin."
            )


class CorsMiddleware(CORSMiddleware):
    """Answers preflights and adds the CORS headers to every answer."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        require_origins(origins)
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            allow_credentials=False,
            expose_headers=ANSWER_HEADERS,
            max_age=_PREFLIGHT_S,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """Starlette's answer, its refusals as JSON."""
        response = super().preflight_response(request_headers)
        if response.status_code == 200:
            return response
        message = (
            f"{bytes(response.body).decode()}. Origins are listed in MILLISIGHT_CORS_ORIGINS; "
            f"methods: {', '.join(METHODS)}; headers: Content-Type, {', '.join(REQUEST_HEADERS)}."
        )
        kept = {
            name: value for name, value in response.headers.items() if name not in ("content-length", "content-type")
        }
        return _Refusal(CorsRefusedError(message, kept))


class _Refusal(Response):
    """Written once the request is known, whose id is part of every error."""

    def __init__(self, error: CorsRefusedError) -> None:
        super().__init__(status_code=error.status)
        self._error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await error_response(Request(scope, receive), self._error)(scope, receive, send)

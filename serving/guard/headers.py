"""Security headers of every answer. A route that needs another value sets it itself; what is set is left alone."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def security_headers(*, open_to_all: bool) -> dict[str, str]:
    """The headers and their values.

    Args:
        open_to_all: CORS allows every origin. A page of a listed origin reads answers in CORS mode, to which
            Cross-Origin-Resource-Policy does not apply, so a list does not open it.
    """
    return {
        "X-Content-Type-Options": "nosniff",
        # Answers are data: nothing in them may run or load, and nobody may frame them.
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "cross-origin" if open_to_all else "same-origin",
        # Pictures belong to who sent them, and an error of now is not one of later.
        "Cache-Control": "no-store",
    }


class SecurityHeadersMiddleware:
    """Adds headers that an answer does not have yet."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]) -> None:
        self._app = app
        self._headers = dict(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)

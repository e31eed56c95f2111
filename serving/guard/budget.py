"""The memory that all request bodies of a worker may take together.

A body counts with the bytes that have arrived, not with what its header promises: a slow sender holds only what it has
sent. What a request holds is given back when it ends, whatever its end.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.guard.errors import OverloadedError

_STATE = "body_share"
# Nobody can know when the others end; a short time, because bodies are read in seconds.
RETRY_AFTER_S = 1


class ByteBudget:
    """Bytes of bodies in one worker. Used on the event loop only, so it needs no lock."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.held = 0

    def require_room(self, size: int) -> None:
        """Refuses a body that does not fit now; nothing is taken.

        Raises:
            OverloadedError: Fewer than `size` bytes are free.
        """
        if self.held + size > self.total:
            raise OverloadedError(
                f"Other requests hold {self.held} of the {self.total} bytes for request bodies, and this one needs "
                f"{size}. Try again in {RETRY_AFTER_S} s.",
                {"Retry-After": str(RETRY_AFTER_S)},
            )


class Share:
    """What one request holds of the budget."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._held = 0

    def require_room(self, size: int) -> None:
        """Refuses, before it is read, a body whose declared size does not fit.

        Raises:
            OverloadedError: Fewer than `size` bytes are free.
        """
        self._budget.require_room(size)

    def take(self, size: int) -> None:
        """Takes bytes that have arrived.

        Raises:
            OverloadedError: They do not fit.
        """
        self._budget.require_room(size)
        self._budget.held += size
        self._held += size

    def give_back(self, size: int | None = None) -> None:
        """Gives bytes back that are no longer in memory; all of them by default."""
        size = self._held if size is None else size
        if not 0 <= size <= self._held:
            raise ValueError(f"{size} bytes cannot be given back: {self._held} are held.")
        self._held -= size
        self._budget.held -= size


class BodyBudgetMiddleware:
    """Gives every request a share and takes it back when the request has ended."""

    def __init__(self, app: ASGIApp, budget: ByteBudget) -> None:
        self._app = app
        self._budget = budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        share = scope.setdefault("state", {})[_STATE] = Share(self._budget)
        try:
            await self._app(scope, receive, send)
        finally:
            share.give_back()


def share_of(request: Request) -> Share:
    """The share of a request.

    Raises:
        RuntimeError: The route is not behind the guard.
    """
    share = getattr(request.state, _STATE, None)
    if not isinstance(share, Share):
        raise RuntimeError("BodyBudgetMiddleware does not stand before this route.")
    return share

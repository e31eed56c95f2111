"""What stands between the socket and the routes; every request passes all of it, from the top down.

| layer | does |
| --- | --- |
| counting | counts the request by its route, method and status |
| connections | ends connections that never send a whole request |
| writing | cuts off clients that do not read their answer |
| identity | gives the request its id, and the log a line |
| headers | security headers on every answer |
| cors | answers preflights; headers for listed origins on every answer, also on errors (off by default) |
| budget | gives back the memory of the request's body when the request has ended |
| answers | turns what is raised below into JSON errors |
| access | keys, rates and roles |

Routes read bodies with `read_image_bytes` or `read_files`, and ask `client_of` or `require_admin` who is there.
"""

from __future__ import annotations

from starlette.middleware import Middleware

from serving.errors import SettingsError
from serving.guard.access import AccessMiddleware, require_admin
from serving.guard.answers import Count, ErrorMiddleware, error_handlers, error_response
from serving.guard.body import ReceivedFile, Sink, read_files, read_image_bytes
from serving.guard.budget import BodyBudgetMiddleware, ByteBudget
from serving.guard.connections import ConnectionsMiddleware
from serving.guard.cors import EVERYONE, CorsMiddleware, require_origins
from serving.guard.counting import CountingMiddleware, CountRequest
from serving.guard.headers import SecurityHeadersMiddleware, security_headers
from serving.guard.identity import ANONYMOUS, REQUEST_ID, Client, RequestIdMiddleware, client_of
from serving.guard.keys import KeyRing
from serving.guard.rates import RateLimiter
from serving.guard.writing import WriteTimeoutMiddleware
from serving.settings import Settings

__all__ = [
    "ANONYMOUS",
    "REQUEST_ID",
    "ByteBudget",
    "Client",
    "ReceivedFile",
    "Sink",
    "check_guard",
    "client_of",
    "error_handlers",
    "error_response",
    "guard_middleware",
    "read_files",
    "read_image_bytes",
    "require_admin",
]


def check_guard(settings: Settings) -> None:
    """Tries what the guard needs, for the process that starts the workers.

    Raises:
        SettingsError: The key file or a CORS origin cannot be used, or the largest body can never be held.
    """
    if settings.max_body_bytes > settings.body_bytes_total:
        raise SettingsError(
            f"MILLISIGHT_MAX_BODY_BYTES={settings.max_body_bytes} is more than all bodies together may take "
            f"(MILLISIGHT_BODY_BYTES_TOTAL={settings.body_bytes_total}). Raise the second or lower the first."
        )
    require_origins(settings.cors_origins)
    if settings.api_keys is not None:
        KeyRing(settings.api_keys)


def guard_middleware(
    settings: Settings,
    count: Count,
    budget: ByteBudget | None = None,
    count_request: CountRequest | None = None,
) -> list[Middleware]:
    """All layers, for `Starlette(middleware=...)`; `error_handlers` belongs beside them.

    Args:
        settings: Keys, origins, times and sizes.
        count: Told the reason of every refusal that no route sees, from a fixed set of words.
        budget: Of the worker; made from the settings by default. Its `held` and `total` are worth a metric.
        count_request: Told route, method and status of every request; nobody by default.

    Raises:
        SettingsError: As `check_guard`.
    """
    check_guard(settings)
    origins = settings.cors_origins
    keys = None if settings.api_keys is None else KeyRing(settings.api_keys)
    layers = [] if count_request is None else [Middleware(CountingMiddleware, count=count_request)]
    layers += [
        Middleware(ConnectionsMiddleware, timeout_s=settings.read_timeout, count=count),
        Middleware(WriteTimeoutMiddleware, timeout_s=settings.write_timeout, count=count),
        Middleware(RequestIdMiddleware),
        Middleware(SecurityHeadersMiddleware, headers=security_headers(open_to_all=EVERYONE in origins)),
    ]
    if origins:
        layers.append(Middleware(CorsMiddleware, origins=origins))
    return [
        *layers,
        Middleware(BodyBudgetMiddleware, budget=budget or ByteBudget(settings.body_bytes_total)),
        Middleware(ErrorMiddleware, count=count),
        Middleware(AccessMiddleware, keys=keys, limiter=RateLimiter(settings.workers)),
    ]

"""Who may pass: the key of a request, its rate, and what its role allows."""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.guard.answers import BENTOML_PATHS
from serving.guard.errors import ConflictingKeysError, MissingKeyError, NotAllowedError, RateLimitedError, WrongKeyError
from serving.guard.identity import ANONYMOUS, Client, client_of
from serving.guard.keys import ApiKey, KeyRing
from serving.guard.rates import RateLimiter

KEY_HEADER = "X-API-Key"
ADMIN = "admin"
# They tell nothing of any client's pictures. Who wants /metrics private keeps it off the outer network.
PUBLIC_PATHS = frozenset({"/", "/metrics", "/docs.json"}) | BENTOML_PATHS

_SEND = f"'Authorization: Bearer <key>' or '{KEY_HEADER}: <key>'"


class AccessMiddleware:
    """Asks for a key where there is a key file, and holds each key to its rate.

    Without a key file everybody is `ANONYMOUS`, which may restore and nothing else.
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: KeyRing | None,
        limiter: RateLimiter,
        public_paths: Collection[str] = PUBLIC_PATHS,
    ) -> None:
        self._app = app
        self._keys = keys
        self._limiter = limiter
        self._public = frozenset(public_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI connection.

        Raises:
            ConflictingKeysError: Two headers name different keys.
            MissingKeyError: There is none.
            WrongKeyError: There is one that is not in the file.
            RateLimitedError: The key's requests are used up.
        """
        if scope["type"] != "http" or self._keys is None or scope["path"] in self._public:
            await self._app(scope, receive, send)
            return
        key = _known(self._keys, presented_key(Headers(scope=scope)))
        scope["state"]["client"] = Client(key.name, key.role == ADMIN)
        if key.rate_per_minute is None:
            await self._app(scope, receive, send)
            return
        allowance = self._limiter.take(key.name, key.rate_per_minute, key.burst)
        if not allowance.granted:
            raise RateLimitedError(
                f"The key {key.name!r} may make {allowance.quota} requests in {allowance.window_s} s here, and has. "
                f"Try again in {allowance.next_s} s.",
                allowance.headers,
            )

        async def send_with_allowance(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(allowance.headers)
            await send(message)

        await self._app(scope, receive, send_with_allowance)


def _known(keys: KeyRing, presented: str | None) -> ApiKey:
    if presented is None:
        raise MissingKeyError(
            f"This server asks for an API key. Send {_SEND}.", {"WWW-Authenticate": 'Bearer realm="millisight"'}
        )
    entry = keys.find(presented)
    if entry is None:
        raise WrongKeyError("The API key is not known here. Keys are made with `millisight keys create`.")
    return entry


def presented_key(headers: Headers) -> str | None:
    """The key that a request brings, if any.

    Raises:
        ConflictingKeysError: Its headers name different keys.
    """
    given = [value.strip() for value in headers.getlist(KEY_HEADER)]
    for value in headers.getlist("Authorization"):
        scheme, _, token = value.strip().partition(" ")
        if scheme.lower() == "bearer":
            given.append(token.strip())
    keys = {key for key in given if key}
    if len(keys) > 1:
        raise ConflictingKeysError("The request's headers name different API keys. Send one.")
    return keys.pop() if keys else None


def require_admin(request: Request) -> Client:
    """Lets only clients with an admin key pass.

    Raises:
        NotAllowedError: The client is another.
    """
    client = client_of(request)
    if client.admin:
        return client
    if client == ANONYMOUS:
        message = (
            "This route needs an admin key, and this server has no key file. Make a key with "
            "`millisight keys create NAME --role admin --file FILE` and start the server with MILLISIGHT_API_KEYS=FILE."
        )
    else:
        message = (
            f"This route needs an admin key, and the role of {client.name!r} is 'restore'. Make another with "
            "`millisight keys create NAME --role admin`."
        )
    raise NotAllowedError(message)

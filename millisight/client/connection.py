"""Where the service is and how it is spoken to: what both clients check once and keep."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx

from millisight.client.calls import Call
from millisight.client.errors import InvalidCallError
from millisight.client.exchange import Exchange, Send, exchange
from millisight.client.retry import RetryPolicy

__all__ = ["TIMEOUT_S", "Connection"]

TIMEOUT_S = 90.0
"""More than the service's own default deadline of 60 s: its answer says more than our timeout would."""


@dataclass(frozen=True)
class Connection:
    """A service's address and the manners of one client.

    Attributes:
        base_url: Such as `http://127.0.0.1:3000`, with or without a path.
        api_key: Sent with every call, to this address only.
        timeout: Longest silence of the service, in seconds.
        retry: How patiently calls are tried again.
        trust_env: Whether proxies and certificates named in the environment are used.
    """

    base_url: str
    api_key: str | None = field(default=None, repr=False)
    timeout: float = TIMEOUT_S
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    trust_env: bool = True

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.base_url)
        except (httpx.InvalidURL, TypeError) as error:
            raise InvalidCallError(f"base_url {self.base_url!r} is no address: {error}.") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise InvalidCallError(f"base_url is {self.base_url!r}. Give an address such as http://127.0.0.1:3000.")
        if url.userinfo or url.query or url.fragment:
            raise InvalidCallError("base_url must have no user, query or fragment. Give a key as api_key.")
        if not 0 < self.timeout < float("inf"):
            raise InvalidCallError(f"timeout is {self.timeout}. Give seconds above 0.")
        # The message must not repeat the key.
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable() and self.api_key):
            raise InvalidCallError("api_key is empty, or has characters that a header cannot hold.")

    def options(self) -> dict[str, Any]:
        """For `httpx.Client` and `httpx.AsyncClient`."""
        headers = {"User-Agent": "millisight-client"}
        if self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key}"
        # Redirects are not followed: the key would go to an address that nobody named.
        return {
            "base_url": self.base_url,
            "headers": headers,
            "trust_env": self.trust_env,
            "follow_redirects": False,
            "timeout": self.timeout,
        }

    def exchange(self, call: Call, *, timeout_s: float | None = None, retry: RetryPolicy | None = None) -> Exchange:
        """The steps of one call."""
        return exchange(
            call, retry or self.retry, address=self.base_url, timeout_s=min(self.timeout, timeout_s or self.timeout)
        )

    def request(self, step: Send) -> dict[str, Any]:
        """For `build_request` of either client; the body is added by the client, in its own kind of iterator."""
        call = step.call
        return {
            "method": call.method,
            "url": call.path,
            "params": dict(call.query),
            "headers": dict(step.headers),
            "timeout": step.timeout_s,
        }

"""Requests that a service may get from anywhere: known routes with made-up values, and paths that nobody has."""

from __future__ import annotations

import http.client
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote_from_bytes, urlsplit

from tests.servers import Server

# Methods that uvicorn's parser lets through; the last ones are no common ones.
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "PROPFIND", "MKCOL", "REPORT")
_HEADERS = ("User-Agent", "X-Request-Id", "Authorization", "X-API-Key", "Accept", "X-Deadline-Ms", "X-Model", "Origin")


@dataclass(frozen=True)
class Stranger:
    """One request.

    Attributes:
        kind: What is made up in it.
    """

    kind: str
    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def strangers(seed: int) -> Iterator[Stranger]:
    """Requests without end: every kind comes up with every method, and the values never repeat."""
    dice = random.Random(seed)
    while True:
        for method in METHODS:
            for kind, path in _PATHS.items():
                headers = {name: _word(dice, 30) for name in dice.sample(_HEADERS, 3)}
                yield Stranger(kind, method, f"{path(dice)}?{_word(dice)}={_word(dice)}", b"", headers)
        for kind, option in (("model", "model"), ("option", _word(dice))):
            yield Stranger(kind, "POST", f"/v1/derain?{option}={_word(dice)}", b"no picture")
        for header in ("X-Deadline-Ms", "Content-Type"):
            yield Stranger(header, "POST", "/v1/derain", b"no picture", {header: _word(dice)})


_PATHS: dict[str, Callable[[random.Random], str]] = {
    "path": lambda dice: "".join(f"/{_word(dice)}" for _ in range(dice.randint(1, 6))),
    "below a task": lambda dice: f"/v1/derain/{_word(dice)}",
    "model name": lambda dice: f"/v1/models/{_word(dice)}",
    "model action": lambda dice: f"/v1/models/{_word(dice)}/unload",
    "job": lambda dice: f"/v1/jobs/{_word(dice)}",
    "job's file": lambda dice: f"/v1/jobs/{_word(dice)}/files/{_word(dice)}",
    "metrics": lambda dice: f"/metrics/{_word(dice)}",
}


def _word(dice: random.Random, longest: int = 40) -> str:
    """Bytes of any kind, quoted; never two words that mean something to the service, such as '.' or '..'."""
    return "x" + quote_from_bytes(dice.randbytes(dice.randint(1, longest)), safe="")


def send(server: Server, requests: list[Stranger]) -> list[int]:
    """Sends requests over one connection, opened again where the server closes it; returns the statuses."""
    place = urlsplit(server.url)
    connection = http.client.HTTPConnection(place.netloc, timeout=30)
    statuses = []
    for request in requests:
        connection.request(request.method, request.path, request.body, request.headers)
        with connection.getresponse() as answer:
            answer.read()
            statuses.append(answer.status)
    connection.close()
    return statuses

"""Pieces that several paths share; refusals are read off the classes that the code raises."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Literal

from serving.errors import BadRequestError, ClientGoneError, NotFoundError, RequestError

Part = dict[str, Any]
Scope = Literal["restoration", "models", "jobs"]

# Where the errors of a package can come from; those of other modules belong to what takes a picture.
_PACKAGES: dict[str, tuple[Scope, ...]] = {
    "serving.guard.keys": ("restoration", "models", "jobs"),
    "serving.guard": ("restoration", "models", "jobs"),
    "serving.models": ("restoration", "models"),
    "serving.jobs": ("jobs",),
}
# The first is never received; the others are bases, or answers to paths that are not in the document.
_UNSEEN = (ClientGoneError, RequestError, BadRequestError, NotFoundError)


def refusals(scope: Scope) -> list[type[RequestError]]:
    """Every refusal that a route of this scope can answer with, by status and code."""
    found = {kind for kind in _descendants(RequestError) if kind not in _UNSEEN and scope in _scopes(kind)}
    return sorted(found, key=lambda kind: (kind.status, kind.code))


def errors_of(scope: Scope, only: Collection[int] | None = None) -> Part:
    """Answers for the refusals of a scope, by status.

    Args:
        scope: Whose refusals.
        only: Statuses that the route can give; all by default.
    """
    by_status: dict[int, list[str]] = {}
    for kind in refusals(scope):
        if only is None or kind.status in only:
            by_status.setdefault(kind.status, []).append(kind.code)
    return {
        str(status): json_answer(f"Refused: {', '.join(dict.fromkeys(codes))}.", {"$ref": "#/components/schemas/Error"})
        for status, codes in by_status.items()
    }


def json_answer(description: str, schema: Part) -> Part:
    """An answer in JSON."""
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def reading(name: str, summary: str, media_type: str, schema: Part | None = None) -> Part:
    """An operation that only reads."""
    content = {media_type: {"schema": schema or {"type": "string"}}}
    return {"operationId": name, "summary": summary, "responses": {"200": {"description": summary, "content": content}}}


def query(name: str, schema: Part, description: str) -> Part:
    """A query option that may be left out."""
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def header_parameter(name: str, schema: Part, description: str) -> Part:
    """A request header that may be left out."""
    return query(name, schema, description) | {"in": "header"}


def path_parameter(name: str, schema: Part, description: str) -> Part:
    """A part of the path."""
    return query(name, schema, description) | {"in": "path", "required": True}


def header(description: str) -> Part:
    """A header of an answer."""
    return {"schema": {"type": "string"}, "description": description}


REQUEST_ID_PARAMETER = header_parameter(
    "X-Request-Id",
    {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    "Repeated in the answer; made up when missing.",
)


def _descendants(base: type[RequestError]) -> Iterator[type[RequestError]]:
    for child in base.__subclasses__():
        yield child
        yield from _descendants(child)


def _scopes(kind: type[RequestError]) -> tuple[Scope, ...]:
    for package, scopes in _PACKAGES.items():
        if kind.__module__.startswith(package):
            return scopes
    return ("restoration", "models", "jobs") if kind.status in (400, 404, 405, 422) else ("restoration",)

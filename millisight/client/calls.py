"""What is asked of the service: every request the client can make, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

from millisight.client.bodies import Body, Source, form_body, open_picture, raw_body
from millisight.client.errors import InvalidCallError

__all__ = ["MAX_DEADLINE_MS", "Call", "Format", "Metadata", "Named", "Task"]

Task = Literal["derain", "denoise", "super-resolution"]
Format = Literal["png", "jpeg", "webp", "tiff"]
Metadata = Literal["strip", "keep"]
Named = Source | tuple[str, Source]
"""A picture file, or its name and the file."""

MAX_DEADLINE_MS = 3_600_000


@dataclass(frozen=True)
class Call:
    """One request, free of any address.

    Attributes:
        method: HTTP method.
        path: Below the service's address.
        query: Options; what the caller left open is not there.
        body: What is sent.
        accept: Media types the answer may have.
        deadline_s: Seconds from now to the answer, all tries together; None leaves it to the service.
        repeatable: Whether sending it twice does what sending it once does. If not, it is tried again only when it
            certainly was not carried out.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    accept: str = "application/json"
    deadline_s: float | None = None
    repeatable: bool = True

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.method} {self.path}"


def restoring(
    image: Source,
    task: str,
    *,
    scale: int | None,
    model: str | None,
    format: str | None,  # noqa: A002 - the option's own name
    quality: int | None,
    metadata: str | None,
    deadline_ms: int | None,
) -> Call:
    """One picture, answered at once.

    Raises:
        InvalidCallError: The picture cannot be read, or the deadline is none.
    """
    if deadline_ms is not None and not 1 <= deadline_ms <= MAX_DEADLINE_MS:
        raise InvalidCallError(f"deadline_ms is {deadline_ms}. Allowed: 1 to {MAX_DEADLINE_MS}.")
    return Call(
        "POST",
        f"/v1/{quote(task, safe='')}",
        _query(scale=scale, model=model, format=format, quality=quality, metadata=metadata),
        raw_body(open_picture(image)),
        accept="image/*",
        deadline_s=None if deadline_ms is None else deadline_ms / 1000,
    )


def submitting(
    images: Sequence[Named],
    task: str,
    *,
    scale: int | None,
    model: str | None,
    format: str | None,  # noqa: A002 - the option's own name
    quality: int | None,
    metadata: str | None,
) -> Call:
    """Many pictures as one job.

    Raises:
        InvalidCallError: There is none, or one cannot be read.
    """
    if not images:
        raise InvalidCallError("A job needs at least one picture.")
    pictures = [
        open_picture(image[1], image[0]) if isinstance(image, tuple) else open_picture(image) for image in images
    ]
    query = _query(task=task, scale=scale, model=model, format=format, quality=quality, metadata=metadata)
    return Call("POST", "/v1/jobs", query, form_body(pictures), repeatable=False)


def job(id_: str, part: str = "", method: str = "GET", accept: str = "application/json") -> Call:
    """Something about one job."""
    return Call(method, f"/v1/jobs/{quote(id_, safe='')}{part}", accept=accept)


def model(name: str, verb: Literal["load", "unload"]) -> Call:
    """Load or unload one bundle."""
    return Call("POST", f"/v1/models/{quote(name, safe='')}/{verb}")


MODELS = Call("GET", "/v1/models")
READY = Call("GET", "/readyz", accept="*/*")
RELOAD = Call("POST", "/v1/models/reload")


def _query(**options: str | int | None) -> dict[str, str]:
    return {name: str(value) for name, value in options.items() if value is not None}

"""What jobs ask of the rest of the service: restore one file, by the same code path that single requests use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from starlette.datastructures import QueryParams

Progress = Callable[[int, int], None]
ParseOptions = Callable[[QueryParams, str], object]


@dataclass(frozen=True)
class JobOptions:
    """What to do with every file of a job.

    Attributes:
        task: One of `serving.options.TASKS`.
        pairs: The other query options as they were sent, accepted by `ParseOptions` at the submission.
    """

    task: str
    pairs: tuple[tuple[str, str], ...] = ()

    @property
    def query(self) -> QueryParams:
        """The options as a route would get them."""
        return QueryParams(list(self.pairs))


@dataclass(frozen=True)
class RestoredFile:
    """A picture file ready to send; `model` is the name of the one that made it."""

    data: bytes
    media_type: str
    model: str


class Restore(Protocol):
    """Restores one file.

    It calls `progress(tiles_done, tiles)` as tiles get done, from any thread. Cancelling it ends its work within one
    tile. It raises a MillisightError for what is wrong with this file; one that is answered with 429 or 503 and has a
    Retry-After header means that now is a bad time, and the file is tried again later.
    """

    async def __call__(self, data: bytes, options: JobOptions, progress: Progress) -> RestoredFile:
        """Restores the file `data`."""
        ...

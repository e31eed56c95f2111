"""What the service answers, as typed values. Fields that this version does not know are kept, never an error."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict, Field

from millisight.client.errors import InvalidCallError

__all__ = [
    "FINAL",
    "JobFile",
    "JobPicture",
    "JobStatus",
    "Latency",
    "ModelInfo",
    "OrderReport",
    "Problem",
    "Quality",
    "Restored",
    "Speed",
    "Step",
    "Timing",
    "WorkerReport",
    "whole_file",
]

FINAL = frozenset({"done", "cancelled"})
"""States of a job that has ended."""

_SUFFIXES = {
    "image/png": (".png",),
    "image/jpeg": (".jpg", ".jpeg"),
    "image/webp": (".webp",),
    "image/tiff": (".tif", ".tiff"),
}


@dataclass(frozen=True)
class Timing:
    """Where the service's time went, in milliseconds; None for what the answer does not name.

    Attributes:
        read: Receiving the body.
        queue: Waiting for others.
        decode: From the file to pixels.
        inference: In the network.
        encode: From pixels to the file.
        predicted: What the service had expected for the whole when it took the request in.
    """

    read: float | None = None
    queue: float | None = None
    decode: float | None = None
    inference: float | None = None
    encode: float | None = None
    predicted: float | None = None


@dataclass(frozen=True)
class Restored:
    """A restored picture, as the file that the service sent.

    Attributes:
        data: The file's bytes.
        media_type: Such as `image/png`.
        model: The bundle that answered.
        target: Where it ran; empty if the service does not say.
        request_id: Under which the server's log has the request.
        timing: Where the time went.
    """

    data: bytes
    media_type: str
    model: str
    target: str
    request_id: str
    timing: Timing

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the file, all of it or nothing.

        Args:
            path: Where; a file that is there is replaced.

        Raises:
            InvalidCallError: The path's ending belongs to another picture format, or it cannot be written.
        """
        return _save(path, self.media_type, self.data)


@dataclass(frozen=True)
class JobPicture:
    """A restored picture of a job, as the file that the service sent.

    Attributes:
        index: Its place in the submission, from 0.
        data: The file's bytes.
        media_type: Such as `image/png`.
    """

    index: int
    data: bytes
    media_type: str

    def save(self, path: str | os.PathLike[str]) -> Path:
        """As `Restored.save`."""
        return _save(path, self.media_type, self.data)


def _save(path: str | os.PathLike[str], media_type: str, data: bytes) -> Path:
    path = Path(path)
    others = [ending for kind, endings in _SUFFIXES.items() if kind != media_type for ending in endings]
    if path.suffix.lower() in others:
        own = " or ".join(_SUFFIXES.get(media_type, ("another",)))
        raise InvalidCallError(
            f"{path} would hold {media_type}. End it with {own}, or ask the service for another `format`."
        )
    with whole_file(path) as file:
        file.write(data)
    return path


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file beside its place and move it there at the end, so that nobody ever sees half of it.

    Raises:
        InvalidCallError: It cannot be written.
    """
    beside = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        with beside.open("x+b") as file:
            yield file
        beside.replace(path)
    except OSError as error:
        raise InvalidCallError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        beside.unlink(missing_ok=True)


class _Answer(BaseModel):
    """A part of an answer: fixed; what a newer service adds is in `model_extra`."""

    # `model_` is pydantic's own prefix by default, and a word of this trade.
    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())


class Latency(_Answer):
    """What one picture of a size takes on one target; see `runtime.LatencyRecord`."""

    target: str
    height: int
    width: int
    budget_ms: float | None = None
    predicted_ms: float | None = None
    predicted_error_ms: float | None = None
    measured_ms: float | None = None
    device: str = ""
    date: str = ""


class Speed(_Answer):
    """A timing of one target where the bundle was made; see `runtime.SpeedRecord`."""

    target: str
    height: int
    width: int
    ms: float
    batch: int = 1
    device: str = ""


class Quality(_Answer):
    """What the network gained on a set of pictures, in dB; see `runtime.QualityRecord`."""

    step: str
    dataset: str
    metric: str
    degraded_db: float
    restored_db: float
    images: int


class Step(_Answer):
    """What one step from the weights to an engine did, and the dB that it lost."""

    name: str
    status: str
    why: str = ""
    db_lost: float | None = None


class ModelInfo(_Answer):
    """One loaded bundle.

    Attributes:
        name: To ask for it by `model=`.
        task: derain, denoise or super-resolution.
        scale: Output side over input side.
        target: Where it runs.
        target_reason: Why there.
        default: Whether it answers requests for its task and scale that name no model and leave time enough.
        state: loading or ready.
        family: Shared by bundles of one run.
        roles: Of fast, balanced and best, those that it has in its family.
        db: Decibels of what is served.
        expected_ms: Milliseconds that a tile takes, as the service's machine is now.
        lineage: Hashes of what it was made from.
        latency: Promised and measured milliseconds.
        speed: Timings of all targets where it was made.
        quality: Gains in dB.
        steps: From the weights to the engines.
    """

    name: str
    task: str
    scale: int
    target: str
    default: bool = False
    state: str = ""
    family: str = ""
    roles: tuple[str, ...] = ()
    db: float | None = None
    expected_ms: float | None = None
    target_reason: str = ""
    default_target: str | None = None
    default_reason: str | None = None
    method: str = ""
    parameters: int | None = None
    created: str = ""
    lineage: dict[str, str | None] = Field(default_factory=dict)
    latency: tuple[Latency, ...] = ()
    speed: tuple[Speed, ...] = ()
    quality: tuple[Quality, ...] = ()
    steps: tuple[Step, ...] = ()


class WorkerReport(_Answer):
    """What one worker did with an order.

    Attributes:
        pid: Its process.
        state: waiting, done or failed.
    """

    pid: int
    state: str


class OrderReport(_Answer):
    """What the service's workers did with an administrator's order.

    Attributes:
        complete: Whether all have carried it out, well or not; the others will.
        workers: One entry each.
    """

    complete: bool
    workers: tuple[WorkerReport, ...] = ()


class Problem(_Answer):
    """Why something failed: a word for programs and a sentence for people."""

    code: str
    message: str


class JobFile(_Answer):
    """One picture of a job.

    Attributes:
        index: Its place in the submission, from 0.
        name: As it was submitted.
        status: queued, running, done or failed.
        model: The bundle that restored it.
        bytes: Size of the restored file.
        error: Why it failed.
    """

    index: int
    name: str
    status: str
    model: str | None = None
    bytes: int | None = None
    error: Problem | None = None


class JobStatus(_Answer):
    """A job as it stands.

    Attributes:
        id: Of the job.
        task: derain, denoise or super-resolution.
        status: queued, running, done (every file is done or failed) or cancelled.
        total: Files submitted.
        done: Files restored.
        failed: Files that could not be.
        progress: Share of the work that is over, 0 to 1.
        created: When it was submitted.
        expires: When the service deletes it.
        files: One entry a file; may be empty in the answer to the submission.
    """

    id: str
    status: str
    total: int
    task: str = ""
    done: int = 0
    failed: int = 0
    progress: float = Field(default=0.0, ge=0, le=1)
    created: datetime | None = None
    expires: datetime | None = None
    files: tuple[JobFile, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in FINAL

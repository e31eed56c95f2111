"""The gate: does a step compute what its reference computes, on the same images? Knows nothing of how either runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tasks.batches import ValidationPair
from tasks.errors import TaskError
from tasks.evaluate import Quality, Restore
from tasks.task import Task

__all__ = ["BOUNDS", "Bound", "Parity", "compare", "remember", "verdict"]


@dataclass(frozen=True)
class Bound:
    """What a step may change.

    Attributes:
        max_difference: Largest absolute difference allowed of any pixel, in [0, 1]; None for no bound on single pixels.
        db_lost: dB of the task that may be lost.
        action: What becomes of a step beyond its bounds: `failed`, it is wrong; `dropped`, it is sound and costs too
            much quality.
    """

    max_difference: float | None
    db_lost: float
    action: Literal["failed", "dropped"]


BOUNDS: Mapping[str, Bound] = MappingProxyType(
    {
        "fp32": Bound(1 / 255, 0.001, "failed"),
        # Rounding to eleven bits adds up over the layers; small random networks are off by up to 0.4 grey levels.
        "fp16": Bound(2 / 255, 0.02, "failed"),
        # Eight bits move single pixels by several grey levels where the picture does not suffer.
        "int8": Bound(None, 0.1, "dropped"),
    }
)
"""Precision a graph computes in to what it may change. Values that are not finite pass none of them."""


@dataclass(frozen=True)
class Parity:
    """What a step did to the images.

    Attributes:
        max_difference: Largest absolute difference of any pixel from the reference, in [0, 1]; infinite if a value is
            not finite.
        mean_difference: Mean absolute difference; likewise.
        before: Quality of the reference.
        after: Quality of the candidate on the same images.
        reference_db: PSNR of the candidate against the reference in dB, over all values of all images, peak 1, not
            rounded to 8 bits; None if they are equal, minus infinity if a value is not finite.
    """

    max_difference: float
    mean_difference: float
    before: Quality
    after: Quality
    reference_db: float | None = None

    @property
    def db_lost(self) -> float:
        """Of the task, in dB; positive where the candidate is worse."""
        before, after = self.before.restored_db, self.after.restored_db
        return 0.0 if before == after else before - after  # both are infinite where both images are the clean one


def compare(reference: Restore, candidate: Restore, task: Task, pairs: Sequence[ValidationPair]) -> Parity:
    """Run both on every pair and score both; nothing is judged here.

    Args:
        reference: float32 (3, h, w) -> float32 (3, scale*h, scale*w) in [0, 1].
        candidate: likewise.
        task: Gives the metric.
        pairs: At least one.

    Raises:
        TaskError: There are no pairs, or the two give images of different sizes.
    """
    if not pairs:
        raise TaskError("nothing can be compared without images: give at least one pair")
    worst, absolute, squared, values = 0.0, 0.0, 0.0, 0
    baseline, before, after = [], [], []
    for pair in pairs:
        ours, theirs = reference(pair.degraded), candidate(pair.degraded)
        if ours.shape != theirs.shape:
            raise TaskError(f"{pair.name}: the reference gives an image of {ours.shape}, the candidate {theirs.shape}")
        difference = _difference(ours, theirs)
        worst = max(worst, float(difference.max()))
        absolute += float(difference.sum())
        squared += float((difference**2).sum())
        values += difference.size
        baseline.append(task.psnr(task.baseline(pair.degraded), pair.clean))
        before.append(task.psnr(ours, pair.clean))
        after.append(task.psnr(theirs, pair.clean))
    degraded = float(np.mean(baseline))
    return Parity(
        worst,
        absolute / values,
        Quality(degraded, float(np.mean(before)), len(pairs)),
        Quality(degraded, float(np.mean(after)), len(pairs)),
        None if squared == 0.0 else -10.0 * float(np.log10(squared / values)),
    )


def verdict(parity: Parity, precision: str) -> str:
    """Why a step does not hold its bounds, in words; empty if it does.

    Args:
        parity: What `compare` found.
        precision: What the candidate's graph computes in, one of `BOUNDS`.

    Raises:
        TaskError: There are no bounds for the precision.
    """
    if precision not in BOUNDS:
        raise TaskError(f"there are no bounds for precision {precision!r}, only for {', '.join(BOUNDS)}")
    bound = BOUNDS[precision]
    if not np.isfinite(parity.max_difference):
        return "its output has values that are not finite"
    faults = []
    # Written so that a NaN passes no bound.
    if bound.max_difference is not None and not parity.max_difference <= bound.max_difference:
        faults.append(f"a pixel is off by {parity.max_difference:.6f} (allowed {bound.max_difference:.6f})")
    if not parity.db_lost <= bound.db_lost:
        faults.append(f"{parity.db_lost:.4f} dB are lost (allowed {bound.db_lost:g})")
    return ", ".join(faults)


def remember(restore: Restore) -> Restore:
    """The same function, which answers at once for an array that it has seen: one reference, many candidates."""
    seen: dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}

    def remembered(image: NDArray[np.float32]) -> NDArray[np.float32]:
        if id(image) not in seen:
            seen[id(image)] = (image, restore(image))  # holding the image keeps its id from being given to another
        return seen[id(image)][1]

    return remembered


def finite(value: float | None) -> float | None:
    """What a record or JSON can hold, which know no infinity: the value, or None where there is no such number."""
    return value if value is not None and np.isfinite(value) else None


def _difference(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Absolute differences; infinite everywhere if one is not a number, which would slip through a maximum."""
    difference = np.abs(ours.astype(np.float64) - theirs)
    return difference if np.isfinite(difference).all() else np.full(difference.shape, np.inf)

"""Training batches that depend on nothing but (seed, step), and fixed validation pairs.

Statelessness is what lets a run be interrupted at any step and resumed to the same result, and lets several machines
share one stream by taking different steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tasks.errors import TaskError
from tasks.sources import Sample
from tasks.task import Task

__all__ = ["BatchStream", "ValidationPair", "validation_pair", "validation_pairs"]


@dataclass(frozen=True)
class BatchStream:
    """An endless stream of (degraded, clean) batches.

    Every patch comes from a random sample at a random place, mirrored and turned. Samples that carry a degraded
    version are cropped in both at the same place; the others are degraded on the fly. Both kinds may be mixed.

    With ``versions``, every background is shown once at each severity of the task, under one crop and one orientation:
    the multi-to-one batches of MANAS (Cai et al., TCSVT 2023), where one street stands in light, medium and heavy rain.

    Attributes:
        task: what is degraded, and how.
        samples: pictures to crop from; those smaller than a patch are left out.
        patch: side of the degraded patch in pixels; the clean one is ``scale`` times larger.
        batch: backgrounds per batch; each is `num_versions` patches.
        seed: every value of every batch follows from it and the step.
        versions: degrade each background once per severity, instead of once at a random one.

    Raises:
        TaskError: no sample is large enough, a pair's sizes do not fit the task's scale, or several versions are asked
            of a sample that brings its only one.
    """

    task: Task
    samples: tuple[Sample, ...] = field(repr=False)
    patch: int
    batch: int
    seed: int
    versions: bool = False
    usable: tuple[Sample, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.patch < 1 or self.batch < 1 or self.seed < 0:
            raise TaskError(
                f"patch and batch must be at least 1 and seed at least 0, got {self.patch}, {self.batch}, {self.seed}"
            )
        side = self.patch * self.task.scale
        for sample in self.samples:
            _check_pair(self.task, sample)
            if sample.degraded is not None and self.num_versions > 1:
                raise TaskError(
                    f"{sample.name} brings a degraded picture of its own, but versions=True needs {self.num_versions} "
                    f"of each ({', '.join(self.task.severities)}); use clean pictures alone, or versions=False"
                )
        usable = tuple(sample for sample in self.samples if min(sample.clean.shape[:2]) >= side)
        if not usable:
            raise TaskError(
                f"none of {len(self.samples)} pictures is at least {side}x{side} pixels, which patches of "
                f"{self.patch} at scale {self.task.scale} need; use larger pictures or smaller patches"
            )
        object.__setattr__(self, "usable", usable)

    @property
    def num_versions(self) -> int:
        """Patches per background: one, or with ``versions`` one per severity of the task."""
        return len(self.task.severities) if self.versions else 1

    def batch_at(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The batch of one step.

        Args:
            step: at least 0; any order, any number of times.

        Returns:
            degraded float32 (n, 3, patch, patch) and clean float32 (n, 3, patch * scale, patch * scale) with
            n = batch * num_versions, clean in [0, 1], degraded too except for unclipped noise. Version v of background
            b is at b * num_versions + v, in the order of the task's severities; its clean patch is repeated there.

        Raises:
            TaskError: the step is negative.
        """
        if step < 0:
            raise TaskError(f"steps are counted from 0, got {step}")
        rng = np.random.default_rng([self.seed, step])
        task, versions = self.task, self.num_versions
        degraders = task.version_degraders(self.seed) if self.versions else (task.degrader(self.seed),)
        scale, side = task.scale, self.patch * task.scale
        clean = np.empty((self.batch * versions, 3, side, side), dtype=np.float32)
        degraded = np.empty((self.batch * versions, 3, self.patch, self.patch), dtype=np.float32)
        for first in range(0, len(clean), versions):
            sample = self.usable[rng.integers(len(self.usable))]
            height, width = (length // scale for length in sample.clean.shape[:2])
            top = int(rng.integers(height - self.patch + 1))
            left = int(rng.integers(width - self.patch + 1))
            may_turn = sample.degraded is None or task.degradation.rotates
            turn = (bool(rng.integers(2)), bool(rng.integers(2)), bool(rng.integers(2)) and may_turn)
            background = _oriented(_crop(sample.clean, top * scale, left * scale, side, side), turn)
            clean[first : first + versions] = background
            if sample.degraded is None:
                for version, degrade in enumerate(degraders):
                    degraded[first + version] = degrade(background, rng)
            else:
                degraded[first] = _oriented(_crop(sample.degraded, top, left, self.patch, self.patch), turn)
        return degraded, clean


@dataclass(frozen=True, eq=False)
class ValidationPair:
    """One image to validate on.

    Attributes:
        name: the sample's name and, where the task degraded it, the severity: ``"photo/coffee.png@sigma25"``.
        degraded: float32 (3, h, w).
        clean: float32 (3, h * scale, w * scale) in [0, 1].
    """

    name: str
    degraded: NDArray[np.float32]
    clean: NDArray[np.float32]


def validation_pairs(
    task: Task, samples: Sequence[Sample], limit: int, crop: int | None = None
) -> list[ValidationPair]:
    """Fixed pairs to validate on: the same arguments always give the same pairs.

    As many different images as possible come first, with severities in turn; only then are images repeated at
    severities they have not had.

    Args:
        task: what is degraded, and how.
        samples: pictures, in order of preference.
        limit: at most so many pairs.
        crop: take the middle ``crop`` x ``crop`` pixels of the degraded side, or what there is of them; None for whole
            images (cut to a multiple of the scale).

    Raises:
        TaskError: there are no samples, a number is below 1, or a pair's sizes do not fit the task's scale.
    """
    if not samples or limit < 1 or (crop is not None and crop < 1):
        raise TaskError(f"need samples, limit >= 1 and crop >= 1; got {len(samples)} samples, {limit}, {crop}")
    pairs: list[ValidationPair] = []
    for turn in range(len(task.severities)):
        for index, sample in enumerate(samples):
            if len(pairs) == limit:
                return pairs
            if sample.degraded is None:
                severity = task.severities[(index + turn) % len(task.severities)]
                pairs.append(validation_pair(task, sample, severity, crop))
            elif turn == 0:
                pairs.append(validation_pair(task, sample, None, crop))
    return pairs


def validation_pair(task: Task, sample: Sample, severity: str | None, crop: int | None = None) -> ValidationPair:
    """One picture as a fixed pair.

    Args:
        task: what is degraded, and how.
        sample: the picture.
        severity: one of the task's; None takes the sample's own degraded version.
        crop: as for `validation_pairs`.

    Raises:
        TaskError: sizes do not fit the task's scale, or the severity is unknown.
    """
    _check_pair(task, sample)
    scale = task.scale
    height, width = (length // scale for length in sample.clean.shape[:2])
    if min(height, width) < 1:
        raise TaskError(f"{sample.name} is smaller than the scale {scale}; leave it out")
    rows, columns = (height, width) if crop is None else (min(crop, height), min(crop, width))
    top, left = (height - rows) // 2, (width - columns) // 2
    clean = _chw(_crop(sample.clean, top * scale, left * scale, rows * scale, columns * scale))
    if severity is not None:
        degraded = task.evaluate_degradation(clean, sample.name, severity)
        return ValidationPair(f"{sample.name}@{severity}", degraded, clean)
    assert sample.degraded is not None  # the caller asks for a severity otherwise
    return ValidationPair(sample.name, _chw(_crop(sample.degraded, top, left, rows, columns)), clean)


def _check_pair(task: Task, sample: Sample) -> None:
    """A stored pair must show the same view at sizes that fit the scale."""
    if sample.degraded is None:
        return
    expected = tuple(length // task.scale for length in sample.clean.shape[:2])
    if sample.degraded.shape[:2] != expected:
        raise TaskError(
            f"{sample.name}: the degraded picture is {sample.degraded.shape[:2]}, but {task.name} at scale "
            f"{task.scale} needs {expected} for a clean one of {sample.clean.shape[:2]}"
        )


def _crop(picture: NDArray[np.uint8], top: int, left: int, height: int, width: int) -> NDArray[np.uint8]:
    return picture[top : top + height, left : left + width]


def _chw(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 (H, W, 3) -> float32 (3, H, W) in [0, 1], contiguous."""
    planes = np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float32)
    planes /= np.float32(255.0)
    return planes


def _oriented(picture: NDArray[np.uint8], turn: tuple[bool, bool, bool]) -> NDArray[np.float32]:
    """One of the eight orientations of a square crop, as float32 (3, H, W)."""
    flip_rows, flip_columns, transpose = turn
    if flip_rows:
        picture = picture[::-1]
    if flip_columns:
        picture = picture[:, ::-1]
    if transpose:
        picture = picture.transpose(1, 0, 2)
    return _chw(picture)

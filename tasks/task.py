"""What each task is: its degradation, its scale, how it is scored and what doing nothing would score."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tasks.degradation import Degradation, Degrade, Downscale, Noise, Rain
from tasks.errors import TaskError
from tasks.metrics import MetricChannel, psnr, ssim
from tasks.resize import imresize

__all__ = ["TASKS", "Task", "TaskName", "get_task"]

TaskName = Literal["derain", "denoise", "super-resolution"]


@dataclass(frozen=True)
class Task:
    """A restoration task.

    Attributes:
        name: as in manifests and URLs.
        scale: output side over input side.
        metric_channel: what the field scores: ``"y"`` for deraining and super-resolution, ``"rgb"`` for denoising.
        border: pixels cut before scoring.
        degradation: how clean images become inputs.
    """

    name: TaskName
    scale: int
    metric_channel: MetricChannel
    border: int
    degradation: Degradation

    def degrade(self, clean: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """Degrade one clean image at a random severity.

        Args:
            clean: float32 (3, H, W) in [0, 1]; sides divisible by the scale.
            rng: source of everything random.

        Returns:
            float32 (3, H / scale, W / scale); in [0, 1] except for unclipped noise.
        """
        return self.degradation.degrade(clean, rng)

    def degrader(self, seed: int) -> Degrade:
        """`degrade` prepared for many patches: what can be drawn once is drawn from the seed."""
        return self.degradation.prepare(seed)

    def version_degraders(self, seed: int) -> tuple[Degrade, ...]:
        """One function per entry of `severities`, in that order; prepared for many patches as `degrader` is."""
        return self.degradation.prepare_versions(seed)

    @property
    def severities(self) -> tuple[str, ...]:
        """Fixed severities of validation: rain intensities, noise sigmas, or the one way of shrinking."""
        return self.degradation.severities

    def evaluate_degradation(self, clean: NDArray[np.float32], name: str, severity: str) -> NDArray[np.float32]:
        """Degrade one clean image for validation: the same image, name and severity always give the same result.

        Args:
            clean: float32 (3, H, W) in [0, 1]; sides divisible by the scale.
            name: the image's name, which seeds the degradation.
            severity: one of `severities`.

        Raises:
            TaskError: the severity is unknown.
        """
        if severity not in self.severities:
            raise TaskError(f"unknown severity {severity!r} of {self.name}; there are {', '.join(self.severities)}")
        digest = hashlib.sha256(f"{self.name}\n{severity}\n{name}".encode()).digest()
        return self.degradation.degrade_at(clean, np.random.default_rng(list(digest)), severity)

    def baseline(self, degraded: NDArray[np.float32]) -> NDArray[np.float32]:
        """What no network would give: the input itself, or its bicubic enlargement; clipped to [0, 1].

        Args:
            degraded: float32 (..., h, w).

        Returns:
            float32 (..., h * scale, w * scale).
        """
        enlarged = degraded if self.scale == 1 else imresize(degraded, float(self.scale))
        return np.clip(enlarged, 0.0, 1.0)

    def psnr(self, restored: NDArray[np.float32], clean: NDArray[np.float32]) -> float:
        """PSNR in dB in this task's convention, (3, H, W) each."""
        return psnr(restored, clean, channel=self.metric_channel, border=self.border)

    def ssim(self, restored: NDArray[np.float32], clean: NDArray[np.float32]) -> float:
        """SSIM in this task's convention, (3, H, W) each."""
        return ssim(restored, clean, channel=self.metric_channel, border=self.border)


TASKS: tuple[Task, ...] = (
    Task("derain", scale=1, metric_channel="y", border=0, degradation=Rain()),
    Task("denoise", scale=1, metric_channel="rgb", border=0, degradation=Noise()),
    Task("super-resolution", scale=2, metric_channel="y", border=2, degradation=Downscale(2)),
    Task("super-resolution", scale=4, metric_channel="y", border=4, degradation=Downscale(4)),
)
"""Every task and scale; a new one is one line here and, if need be, a class in `tasks.degradation`."""


def get_task(name: str, scale: int | None = None) -> Task:
    """Look a task up by name, and by scale where it has several.

    Raises:
        TaskError: there is no such task or scale, or several scales and none was named.
    """
    named = [task for task in TASKS if task.name == name]
    if not named:
        known = ", ".join(dict.fromkeys(task.name for task in TASKS))
        raise TaskError(f"unknown task {name!r}; there are {known}")
    fitting = [task for task in named if scale is None or task.scale == scale]
    if len(fitting) == 1:
        return fitting[0]
    scales = ", ".join(str(task.scale) for task in named)
    if scale is None:
        raise TaskError(f"{name} needs a scale: {scales}")
    raise TaskError(f"{name} has no scale {scale}; there is {scales}")

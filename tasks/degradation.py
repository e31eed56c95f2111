"""The three degradations: what is done to a clean image in training, and at fixed severities in validation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tasks.errors import TaskError
from tasks.noise import add_noise
from tasks.rain import RAIN_PRESETS, add_rain, rain_bank
from tasks.resize import imresize

__all__ = ["Degradation", "Degrade", "Downscale", "Noise", "Rain"]

Degrade = Callable[[NDArray[np.float32], np.random.Generator], NDArray[np.float32]]
"""Clean float32 (3, H, W) in [0, 1] and a source of randomness -> degraded float32 (3, H / scale, W / scale)."""


@dataclass(frozen=True)
class Rain:
    """Rain of an intensity drawn evenly from ``intensities`` (keys of `RAIN_PRESETS`), which are also the severities.

    Rotated training pairs would show rain falling sideways, so stored pairs are only mirrored.
    """

    intensities: tuple[str, ...] = ("light", "medium", "heavy")
    rotates: ClassVar[bool] = False

    def __post_init__(self) -> None:
        unknown = [name for name in self.intensities if name not in RAIN_PRESETS]
        if unknown or not self.intensities:
            raise TaskError(f"unknown rain intensities {unknown}; choose from {', '.join(RAIN_PRESETS)}")

    @property
    def severities(self) -> tuple[str, ...]:
        """Names of the fixed severities used in validation."""
        return self.intensities

    def degrade(self, clean: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """Newly drawn rain of the image's own size."""
        return add_rain(clean, rng, RAIN_PRESETS[self.intensities[rng.integers(len(self.intensities))]])

    def prepare(self, seed: int) -> Degrade:
        """The same for many patches: streaks come from a bank drawn once from the seed."""
        versions = self.prepare_versions(seed)

        def degrade(clean: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
            return versions[rng.integers(len(versions))](clean, rng)

        return degrade

    def prepare_versions(self, seed: int) -> tuple[Degrade, ...]:
        """One function per severity, for many patches: streaks come from banks drawn once from the seed."""
        banks = [rain_bank(RAIN_PRESETS[name], seed) for name in self.intensities]
        return tuple(partial(add_rain, parameters=bank.parameters, bank=bank) for bank in banks)

    def degrade_at(self, clean: NDArray[np.float32], rng: np.random.Generator, severity: str) -> NDArray[np.float32]:
        """Rain of one named severity."""
        return add_rain(clean, rng, RAIN_PRESETS[severity])


@dataclass(frozen=True)
class Noise:
    """White Gaussian noise.

    Attributes:
        sigma: range of the standard deviation in training, 0..255 scale, drawn uniformly per image.
        sigmas: standard deviations used in validation.
        clip: clip noisy images to [0, 1]. Published colour denoising numbers mostly do not.
    """

    sigma: tuple[float, float] = (5.0, 55.0)
    sigmas: tuple[float, ...] = (15.0, 25.0, 50.0)
    clip: bool = False
    rotates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        low, high = self.sigma
        if not 0.0 <= low <= high or not self.sigmas or min(self.sigmas) < 0.0:
            raise TaskError(
                f"noise needs 0 <= low <= high and at least one sigma >= 0, got {self.sigma}, {self.sigmas}"
            )

    @property
    def severities(self) -> tuple[str, ...]:
        """Names of the fixed severities used in validation: ``sigma15`` and so on."""
        return tuple(f"sigma{sigma:g}" for sigma in self.sigmas)

    def degrade(self, clean: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """Noise of a strength drawn from the range."""
        return add_noise(clean, rng, float(rng.uniform(*self.sigma)), clip=self.clip)

    def prepare(self, seed: int) -> Degrade:  # noqa: ARG002 - nothing to draw once
        """The same function: there is nothing to prepare."""
        return self.degrade

    def prepare_versions(self, seed: int) -> tuple[Degrade, ...]:  # noqa: ARG002 - nothing to draw once
        """One function per severity."""
        return tuple(partial(add_noise, sigma_255=sigma, clip=self.clip) for sigma in self.sigmas)

    def degrade_at(self, clean: NDArray[np.float32], rng: np.random.Generator, severity: str) -> NDArray[np.float32]:
        """Noise of one named severity."""
        return add_noise(clean, rng, self.sigmas[self.severities.index(severity)], clip=self.clip)


@dataclass(frozen=True)
class Downscale:
    """Bicubic shrinking by ``scale``, as MATLAB does it; nothing is random, there is one severity."""

    scale: int
    rotates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.scale < 2:
            raise TaskError(f"downscaling needs a scale of at least 2, got {self.scale}")

    @property
    def severities(self) -> tuple[str, ...]:
        """The one way of shrinking."""
        return ("bicubic",)

    def degrade(self, clean: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:  # noqa: ARG002
        """Shrunk image, clipped to [0, 1] as a stored picture would be."""
        height, width = clean.shape[-2:]
        if height % self.scale or width % self.scale:
            raise TaskError(f"an image of {height}x{width} does not shrink evenly by {self.scale}; crop it first")
        return np.clip(imresize(clean, 1.0 / self.scale), 0.0, 1.0)

    def prepare(self, seed: int) -> Degrade:  # noqa: ARG002 - nothing to draw once
        """The same function: there is nothing to prepare."""
        return self.degrade

    def prepare_versions(self, seed: int) -> tuple[Degrade, ...]:  # noqa: ARG002 - nothing to draw once
        """The one way of shrinking."""
        return (self.degrade,)

    def degrade_at(self, clean: NDArray[np.float32], rng: np.random.Generator, severity: str) -> NDArray[np.float32]:  # noqa: ARG002
        """The same function: there is one severity."""
        return self.degrade(clean, rng)


Degradation = Rain | Noise | Downscale

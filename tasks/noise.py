"""White Gaussian noise, the degradation of the denoising task."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.errors import TaskError

__all__ = ["add_noise"]


def add_noise(
    clean: NDArray[np.float32], rng: np.random.Generator, sigma_255: float, *, clip: bool = False
) -> NDArray[np.float32]:
    """Add independent Gaussian noise to every value.

    Args:
        clean: float32, any shape, range [0, 1].
        rng: source of the noise.
        sigma_255: standard deviation on the 0..255 scale, as the field states it.
        clip: clip the result to [0, 1], as a stored noisy picture would be. Off by default: most published colour
            denoising numbers use unclipped noise, and the two are not comparable.

    Returns:
        float32 of the shape of ``clean``; outside [0, 1] in places unless clipped.

    Raises:
        TaskError: the sigma is negative or not finite.
    """
    if not (np.isfinite(sigma_255) and sigma_255 >= 0):
        raise TaskError(f"sigma must be a finite number of at least 0 on the 0..255 scale, got {sigma_255}")
    noisy = rng.standard_normal(clean.shape, dtype=np.float32)
    noisy *= np.float32(sigma_255 / 255.0)
    noisy += clean
    return np.clip(noisy, 0.0, 1.0, out=noisy) if clip else noisy

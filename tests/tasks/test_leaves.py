from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import TaskError, dead_leaves


@settings(deadline=None, max_examples=15)
@given(size=st.integers(16, 120), seed=st.integers(0, 9999))
def test_any_size_and_repeatable(size: int, seed: int) -> None:
    image = dead_leaves(np.random.default_rng(seed), size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, dead_leaves(np.random.default_rng(seed), size))


def test_seeds_give_different_images() -> None:
    first, second = (dead_leaves(np.random.default_rng(seed), 64) for seed in (0, 1))
    assert np.abs(first.astype(int) - second).mean() > 10


def spectral_slope(image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> float:
    """Exponent of the amplitude spectrum: photographs have about -1, white noise 0."""
    grey = image.mean(axis=2)
    window = np.hanning(len(grey))
    amplitude = np.abs(np.fft.rfft2((grey - grey.mean()) * window[:, None] * window[None, :]))
    frequency = np.hypot(np.fft.fftfreq(len(grey))[:, None], np.fft.rfftfreq(len(grey))[None, :])
    band = (frequency > 0.03) & (frequency < 0.35)
    return float(np.polyfit(np.log(frequency[band]), np.log(amplitude[band] + 1e-9), 1)[0])


def test_statistics_are_those_of_photographs() -> None:
    slopes = [spectral_slope(dead_leaves(np.random.default_rng(seed), 160)) for seed in range(6)]
    assert -1.8 < np.mean(slopes) < -0.8
    noise = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    assert spectral_slope(noise) > -0.3


def test_too_small() -> None:
    with pytest.raises(TaskError, match="at least 16"):
        dead_leaves(np.random.default_rng(0), 15)

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import TaskError, add_noise


@settings(deadline=None, max_examples=20)
@given(sigma=st.floats(1, 80), seed=st.integers(0, 999))
def test_standard_deviation_and_mean(sigma: float, seed: int) -> None:
    clean = np.full((3, 100, 100), 0.5, np.float32)
    noise = (add_noise(clean, np.random.default_rng(seed), sigma) - clean) * 255
    # 30 000 values: the standard error is 0.41 % of sigma for the deviation, 0.58 % for the mean.
    assert noise.std() == pytest.approx(sigma, rel=0.025)
    assert abs(noise.mean()) < 0.035 * sigma
    assert noise.dtype == np.float32


def test_unclipped_by_default() -> None:
    clean = np.zeros((3, 40, 40), np.float32)
    noisy = add_noise(clean, np.random.default_rng(0), 25)
    assert noisy.min() < 0
    clipped = add_noise(clean, np.random.default_rng(0), 25, clip=True)
    np.testing.assert_array_equal(clipped, np.clip(noisy, 0, 1))
    # Clipping is why the two kinds of score cannot be compared.
    assert clipped.std() < 0.7 * noisy.std()


def test_zero_sigma_changes_nothing_and_the_input_is_kept() -> None:
    clean = np.random.default_rng(1).random((3, 8, 8), dtype=np.float32)
    before = clean.copy()
    np.testing.assert_array_equal(add_noise(clean, np.random.default_rng(0), 0), clean)
    add_noise(clean, np.random.default_rng(0), 50, clip=True)
    np.testing.assert_array_equal(clean, before)


@pytest.mark.parametrize("sigma", [-1.0, float("nan"), float("inf")])
def test_unusable_sigma(sigma: float) -> None:
    with pytest.raises(TaskError, match=r"0\.\.255"):
        add_noise(np.zeros((3, 4, 4), np.float32), np.random.default_rng(0), sigma)

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from tasks import TaskError, psnr, ssim
from tasks.metrics import MetricChannel


def noisy_pair(seed: int, height: int = 40, width: int = 52) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A smooth colour image and a noisy copy, partly outside [0, 1]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / np.float32(max(height, width))
    image = np.stack([x, y, 0.5 + 0.5 * np.sin(9 * (x + y))]).astype(np.float32)
    return image, image + rng.normal(0, 0.07, image.shape).astype(np.float32)


def reference_planes(image: NDArray[np.float32], channel: str, border: int) -> NDArray[np.float64]:
    """8-bit (H, W, C) as scikit-image takes it, by its own colour conversion."""
    eight_bit = np.floor(np.clip(image.astype(np.float64), 0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0)
    planes = rgb2ycbcr(eight_bit)[..., :1] if channel == "y" else eight_bit.astype(np.float64)
    return planes[border : planes.shape[0] - border, border : planes.shape[1] - border]


@pytest.mark.parametrize("channel", ["rgb", "y"])
@pytest.mark.parametrize("border", [0, 2, 5])
@pytest.mark.parametrize("seed", [0, 1])
def test_agrees_with_scikit_image(channel: MetricChannel, border: int, seed: int) -> None:
    a, b = noisy_pair(seed)
    first, second = reference_planes(a, channel, border), reference_planes(b, channel, border)
    expected_psnr = peak_signal_noise_ratio(first, second, data_range=255)  # type: ignore[no-untyped-call]
    expected_ssim = structural_similarity(  # type: ignore[no-untyped-call]
        first, second, data_range=255, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert psnr(a, b, channel=channel, border=border) == pytest.approx(expected_psnr, abs=1e-9)
    assert ssim(a, b, channel=channel, border=border) == pytest.approx(expected_ssim, abs=1e-9)


def test_wrong_border_or_channel_would_be_noticed() -> None:
    a, b = noisy_pair(2)
    b[:, 0] = 0.0  # a spoilt edge, as resizing leaves one
    values = {psnr(a, b, channel=c, border=n) for c in ("rgb", "y") for n in (0, 2, 4)}
    values |= {ssim(a, b, channel=c, border=n) for c in ("rgb", "y") for n in (0, 2, 4)}
    assert len({round(value, 6) for value in values}) == 12


def test_known_value() -> None:
    black = np.zeros((3, 16, 16), dtype=np.float32)
    grey = np.full_like(black, 10 / 255)
    assert psnr(black, grey, channel="rgb", border=0) == pytest.approx(10 * math.log10(255**2 / 100))
    # Studio swing squeezes 255 steps into 219.
    assert psnr(black, grey, channel="y", border=0) == pytest.approx(10 * math.log10(255**2 / (10 * 219 / 255) ** 2))


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), channel=st.sampled_from(["rgb", "y"]))
def test_equal_symmetric_and_rounded(seed: int, channel: MetricChannel) -> None:
    a, b = noisy_pair(seed, 24, 24)
    assert psnr(a, a, channel=channel, border=0) == math.inf
    assert ssim(a, a, channel=channel, border=0) == pytest.approx(1.0)
    assert psnr(a, b, channel=channel, border=1) == psnr(b, a, channel=channel, border=1)
    stored = (np.floor(np.clip(b.astype(np.float64), 0, 1) * 255 + 0.5) / 255).astype(np.float32)
    assert psnr(a, b, channel=channel, border=0) == psnr(a, stored, channel=channel, border=0)


@pytest.mark.parametrize(
    ("shape_a", "shape_b", "channel", "border", "message"),
    [
        ((3, 20, 20), (3, 20, 21), "rgb", 0, "one shape"),
        ((1, 20, 20), (1, 20, 20), "y", 0, r"\(3, H, W\)"),
        ((3, 20, 20), (3, 20, 20), "y", 10, "leaves nothing"),
        ((3, 20, 20), (3, 20, 20), "y", -1, "leaves nothing"),
        ((3, 20, 20), (3, 20, 20), "luma", 0, "there are rgb, y"),
        ((3, 20, 20), (3, 1, 1), "rgb", 0, "one shape"),
    ],
)
def test_unusable_arguments(
    shape_a: tuple[int, ...], shape_b: tuple[int, ...], channel: MetricChannel, border: int, message: str
) -> None:
    a, b = np.zeros(shape_a, np.float32), np.zeros(shape_b, np.float32)
    for metric in (psnr, ssim):
        with pytest.raises(TaskError, match=message):
            metric(a, b, channel=channel, border=border)


def test_ssim_needs_a_window() -> None:
    small = np.zeros((3, 12, 12), np.float32)
    with pytest.raises(TaskError, match="11x11"):
        ssim(small, small, channel="y", border=1)

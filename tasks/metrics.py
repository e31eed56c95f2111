"""PSNR and SSIM in the conventions of the restoration literature.

Both round the images to 8 bits first (what is compared is what would be stored), then crop a border, then compare
either all three channels or the luma Y of BT.601 studio swing (MATLAB ``rgb2ycbcr``, kept in floating point).
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tasks.errors import TaskError

__all__ = ["MetricChannel", "luma", "psnr", "ssim"]

MetricChannel = Literal["rgb", "y"]

_SSIM_WINDOW = 11
_SSIM_SIGMA = 1.5


def luma(rgb_255: NDArray[np.float64]) -> NDArray[np.float64]:
    """BT.601 studio-swing luma, 16..235, of RGB on the 0..255 scale: (3, H, W) -> (H, W)."""
    red, green, blue = rgb_255
    return np.asarray(16.0 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255.0)


def psnr(a: NDArray[np.float32], b: NDArray[np.float32], *, channel: MetricChannel, border: int) -> float:
    """Peak signal-to-noise ratio in dB, peak 255; infinite for equal images.

    Args:
        a: float (3, H, W), RGB; clipped to [0, 1] and rounded to 8 bits.
        b: the same shape.
        channel: ``"rgb"`` (colour denoising) or ``"y"`` (super-resolution, deraining).
        border: pixels cut from every side before comparing: the scale for super-resolution, otherwise 0.

    Raises:
        TaskError: shapes differ, are not (3, H, W), or the border leaves nothing; unknown channel.
    """
    first, second = _planes(a, channel, border), _planes(b, channel, border)
    _same_shape(a, b)
    error = float(np.mean((first - second) ** 2))
    return float("inf") if error == 0.0 else 10.0 * float(np.log10(255.0**2 / error))


def ssim(a: NDArray[np.float32], b: NDArray[np.float32], *, channel: MetricChannel, border: int) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian 11x11 window, sigma 1.5, valid region, mean over channels.

    Arguments and errors as for `psnr`; the cropped image must also hold one 11x11 window.
    """
    first, second = _planes(a, channel, border), _planes(b, channel, border)
    _same_shape(a, b)
    if min(first.shape[-2:]) < _SSIM_WINDOW:
        raise TaskError(f"SSIM needs at least {_SSIM_WINDOW}x{_SSIM_WINDOW} pixels, got {first.shape[-2:]}")
    c1, c2 = (0.01 * 255.0) ** 2, (0.03 * 255.0) ** 2
    mean_a, mean_b = _window(first), _window(second)
    var_a = _window(first * first) - mean_a * mean_a
    var_b = _window(second * second) - mean_b * mean_b
    covariance = _window(first * second) - mean_a * mean_b
    numerator = (2.0 * mean_a * mean_b + c1) * (2.0 * covariance + c2)
    denominator = (mean_a * mean_a + mean_b * mean_b + c1) * (var_a + var_b + c2)
    return float(np.mean(numerator / denominator))


def _planes(image: NDArray[np.float32], channel: MetricChannel, border: int) -> NDArray[np.float64]:
    """(3, H, W) in [0, 1] -> (C, h, w) on the 0..255 scale, 8-bit rounded, border cut; C = 1 for luma."""
    if channel not in get_args(MetricChannel):
        raise TaskError(f"unknown metric channel {channel!r}; there are {', '.join(get_args(MetricChannel))}")
    if image.ndim != 3 or image.shape[0] != 3:
        raise TaskError(f"metrics compare RGB images of shape (3, H, W), got {image.shape}")
    height, width = image.shape[1:]
    if border < 0 or min(height, width) <= 2 * border:
        raise TaskError(f"a border of {border} pixels leaves nothing of an image of {height}x{width}")
    rounded = np.floor(np.clip(image.astype(np.float64), 0.0, 1.0) * 255.0 + 0.5)
    rounded = rounded[:, border : height - border, border : width - border]
    return luma(rounded)[None] if channel == "y" else rounded


def _same_shape(a: NDArray[np.float32], b: NDArray[np.float32]) -> None:
    if a.shape != b.shape:
        raise TaskError(f"metrics compare images of one shape, got {a.shape} and {b.shape}")


def _window(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian-weighted local mean over the valid region: (C, H, W) -> (C, H-10, W-10), separable."""
    offsets = np.arange(_SSIM_WINDOW) - _SSIM_WINDOW // 2
    weights = np.exp(-(offsets**2) / (2.0 * _SSIM_SIGMA**2))
    weights /= weights.sum()
    height, width = planes.shape[-2] - _SSIM_WINDOW + 1, planes.shape[-1] - _SSIM_WINDOW + 1
    rows = np.zeros((*planes.shape[:-2], height, planes.shape[-1]))
    for shift, weight in enumerate(weights):
        rows += weight * planes[..., shift : shift + height, :]
    result = np.zeros((*planes.shape[:-2], height, width))
    for shift, weight in enumerate(weights):
        result += weight * rows[..., :, shift : shift + width]
    return result

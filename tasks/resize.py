"""Bicubic resizing as MATLAB's ``imresize`` does it: the degradation and the baseline of super-resolution.

Published super-resolution numbers are measured on images shrunk by that function. It differs from the bicubic of
Pillow and OpenCV in its boundary (symmetric mirror) and its antialiasing (the kernel is widened when shrinking), and
the differences are worth tenths of a dB.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tasks.errors import TaskError

__all__ = ["imresize"]

_KERNEL_WIDTH = 4.0


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel with a = -0.5 (Keys 1981), zero outside [-2, 2]."""
    ax = np.abs(x)
    near = 1.5 * ax**3 - 2.5 * ax**2 + 1.0
    far = -0.5 * ax**3 + 2.5 * ax**2 - 4.0 * ax + 2.0
    return np.where(ax <= 1.0, near, np.where(ax <= 2.0, far, 0.0))


# Pure function of its arguments: a batch of equal patches asks for the same matrix over and over.
@lru_cache(maxsize=16)
def _resize_matrix(size: int, out: int, scale: float, antialias: bool) -> NDArray[np.float32]:
    """Matrix (out, size) that resizes one axis; every row sums to one."""
    stretch = scale if antialias and scale < 1.0 else 1.0
    width = _KERNEL_WIDTH / stretch
    centre = (np.arange(out) + 0.5) / scale - 0.5
    left = np.floor(centre - width / 2.0).astype(np.int64)
    taps = left[:, None] + np.arange(math.ceil(width) + 2)[None, :]
    weights = _cubic((centre[:, None] - taps) * stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = np.mod(taps, 2 * size)
    mirrored = np.where(mirrored >= size, 2 * size - 1 - mirrored, mirrored)
    matrix = np.zeros((out, size), dtype=np.float64)
    np.add.at(matrix, (np.arange(out)[:, None], mirrored), weights)
    result = matrix.astype(np.float32)
    result.setflags(write=False)
    return result


def imresize(
    image: NDArray[np.float32], scale: float | tuple[int, int], *, antialias: bool = True
) -> NDArray[np.float32]:
    """Resize the last two axes by bicubic interpolation, as MATLAB's ``imresize(image, scale, 'bicubic')``.

    The weights are dense matrices, which suits patches and evaluation images (a few megapixels), not gigapixel scans.

    Args:
        image: float32 (..., H, W), any range; values are neither clipped nor rounded.
        scale: one factor for both axes (output sides are rounded up, as MATLAB does), or the output (height, width).
        antialias: widen the kernel when shrinking. Growing is not affected.

    Returns:
        float32 (..., H', W').

    Raises:
        TaskError: the scale is not positive, an output side is below 1, or the image has fewer than two axes.
    """
    if image.ndim < 2 or 0 in image.shape:
        raise TaskError(f"imresize needs a non-empty image with at least two axes (..., H, W), got shape {image.shape}")
    height, width = int(image.shape[-2]), int(image.shape[-1])
    if isinstance(scale, tuple):
        if min(scale) < 1:
            raise TaskError(f"imresize needs an output size of at least (1, 1), got {scale}")
        out_height, out_width = scale
        scale_height, scale_width = out_height / height, out_width / width
    else:
        if not (math.isfinite(scale) and scale > 0):
            raise TaskError(f"imresize needs a positive finite scale, got {scale}")
        # 0.1 * 30 is 3.0000000000000004 in binary: without the guard the output would be 4 pixels.
        out_height, out_width = math.ceil(height * scale - 1e-9), math.ceil(width * scale - 1e-9)
        scale_height = scale_width = float(scale)
    rows = _resize_matrix(height, out_height, scale_height, antialias)
    columns = _resize_matrix(width, out_width, scale_width, antialias)
    image = np.asarray(image, dtype=np.float32)
    if scale_height <= scale_width:  # the axis that shrinks more goes first: fewer products
        return np.asarray(np.matmul(np.matmul(rows, image), columns.T))
    return np.asarray(np.matmul(rows, np.matmul(image, columns.T)))

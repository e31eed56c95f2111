"""Structural similarity that gradients flow through."""

import torch
import torch.nn.functional as F
from torch import Tensor

from training.errors import TrainingError

WINDOW = 11
SIGMA = 1.5
# Constants of Wang et al. (2004), section III-B, for a data range of 1.
_C1, _C2 = 0.01**2, 0.03**2


def ssim(restored: Tensor, clean: Tensor) -> Tensor:
    """Mean SSIM of a batch (Wang et al., 2004): Gaussian 11x11 window of sigma 1.5, valid region, each channel alone.

    The window is that of `tasks.metrics.ssim`, which differs in rounding to 8 bits first. Call it outside autocast: the
    local variances are small differences of large numbers, which half precision loses.

    Args:
        restored: (N, C, H, W), range about [0, 1].
        clean: The same shape.

    Returns:
        A scalar, at most 1.

    Raises:
        TrainingError: The patches are smaller than the window.
    """
    height, width = restored.shape[-2:]
    if min(height, width) < WINDOW:
        raise TrainingError(
            f"SSIM needs patches of at least {WINDOW}x{WINDOW} pixels, got {height}x{width}; "
            "train on larger patches or with another loss"
        )
    maps = torch.stack([restored, clean, restored * restored, clean * clean, restored * clean])
    mean_a, mean_b, square_a, square_b, product = _local_means(maps)
    variances = (square_a - mean_a * mean_a) + (square_b - mean_b * mean_b)
    covariance = product - mean_a * mean_b
    numerator = (2.0 * mean_a * mean_b + _C1) * (2.0 * covariance + _C2)
    denominator = (mean_a * mean_a + mean_b * mean_b + _C1) * (variances + _C2)
    similarity: Tensor = numerator / denominator
    return similarity.mean()


def _local_means(maps: Tensor) -> Tensor:
    """Gaussian-weighted means over the valid region, rows then columns: (..., H, W) -> (..., H - 10, W - 10)."""
    offsets = torch.arange(WINDOW, device=maps.device, dtype=maps.dtype) - WINDOW // 2
    weights = torch.exp(-(offsets**2) / (2.0 * SIGMA**2))
    weights /= weights.sum()
    planes = maps.reshape(-1, 1, *maps.shape[-2:])
    means: Tensor = F.conv2d(F.conv2d(planes, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))
    return means.view(*maps.shape[:-2], *means.shape[-2:])

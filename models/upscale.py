"""Bicubic enlargement as one small convolution, so that it exports and runs as fast as any layer."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _cubic(t: float) -> float:
    """Keys' cubic kernel with a = -0.5, the one of MATLAB's imresize."""
    t = abs(t)
    if t <= 1:
        return 1.5 * t**3 - 2.5 * t**2 + 1
    if t < 2:
        return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return 0.0


def phase_kernels(scale: int) -> Tensor:
    """(scale, 5) taps at input offsets -2..2 for each of the `scale` output phases; every row sums to one."""
    rows = []
    for phase in range(scale):
        centre = (phase + 0.5) / scale - 0.5
        taps = [_cubic(offset - centre) for offset in range(-2, 3)]
        rows.append([tap / sum(taps) for tap in taps])
    return torch.tensor(rows)


class BicubicPhases(nn.Module):
    """(N, C, H, W) -> (N, C * scale^2, H, W): after PixelShuffle(scale) the bicubic enlargement by `scale`.

    The kernel is fixed (a buffer, not a parameter). Borders are replicated.
    """

    def __init__(self, channels: int, scale: int) -> None:
        super().__init__()
        self.channels = channels
        rows = phase_kernels(scale)
        kernel = torch.einsum("ai,bj->abij", rows, rows).reshape(scale * scale, 1, 5, 5)
        # One channel at a time: group c holds the scale^2 phases of channel c, which is PixelShuffle's order.
        self.register_buffer("kernel", kernel.repeat(channels, 1, 1, 1), persistent=False)
        self.kernel: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Filter each colour into its phases."""
        return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), self.kernel, groups=self.channels)

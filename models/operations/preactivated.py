"""Activation, convolution, normalisation: the candidates of the cells of HiNAS.

Zhang et al., "Memory-Efficient Hierarchical Neural Architecture Search for Image Denoising", CVPR 2020, and its
extension to other restorations: every operation of a cell starts with LeakyReLU(0.2) and ends in batch normalisation.
The released code normalises without learned scale and shift while it searches and with them afterwards. One definition
serves both here, so both have them.

All keep height and width. No convolution has a bias, because a normalisation follows it. None is cuttable: the shift of
the normalisation turns a channel of zeros into something else.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from models.operations.operation import Operation

SLOPE = 0.2
"""Of the leaky ReLU, for negative values."""


class ActivatedConvolution(nn.Module):
    """LeakyReLU, dense `kernel x kernel` convolution, BN: (N, in, H, W) -> (N, out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        padding = dilation * (kernel - 1) // 2
        self.convolution = nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """The input is not written to: other edges read it too."""
        mixed: Tensor = self.norm(self.convolution(F.leaky_relu(x, SLOPE)))
        return mixed


class ActivatedSeparable(nn.Module):
    """Twice LeakyReLU, depthwise `kernel x kernel`, pointwise, BN: (N, in, H, W) -> (N, out, H, W).

    The number of channels changes in the second pointwise convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.first = SeparableHalf(in_channels, in_channels, kernel)
        self.second = SeparableHalf(in_channels, out_channels, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """Both halves."""
        return _activated(self.second, _activated(self.first, x))


class SeparableHalf(nn.Module):
    """Depthwise `kernel x kernel`, pointwise, BN: (N, in, H, W) -> (N, out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, kernel, padding=(kernel - 1) // 2, groups=in_channels, bias=False
        )
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Filter each channel, mix channels, normalise."""
        mixed: Tensor = self.norm(self.pointwise(self.depthwise(x)))
        return mixed


class PointwiseNorm(nn.Module):
    """1x1 convolution, BN: (N, in, H, W) -> (N, out, H, W). No activation: whatever follows starts with its own."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Mix channels, normalise."""
        mixed: Tensor = self.norm(self.pointwise(x))
        return mixed


def _activated(layer: nn.Module, x: Tensor) -> Tensor:
    output: Tensor = layer(F.leaky_relu(x, SLOPE))
    return output


OPERATIONS = (
    Operation(
        "act_conv3x3",
        "convolution",
        lambda i, o: ActivatedConvolution(i, o, 3),
        "LeakyReLU, dense 3x3 convolution, BN",
        cuttable=False,
    ),
    Operation(
        "act_separable3x3",
        "convolution",
        lambda i, o: ActivatedSeparable(i, o, 3),
        "twice LeakyReLU, depthwise 3x3, pointwise, BN",
        cuttable=False,
    ),
    Operation(
        "act_separable5x5",
        "convolution",
        lambda i, o: ActivatedSeparable(i, o, 5),
        "twice LeakyReLU, depthwise 5x5, pointwise, BN",
        cuttable=False,
    ),
    Operation(
        "act_dilated3x3",
        "convolution",
        lambda i, o: ActivatedConvolution(i, o, 3, dilation=2),
        "LeakyReLU, dense 3x3 convolution with dilation 2, BN",
        cuttable=False,
    ),
    Operation(
        "act_dilated5x5",
        "convolution",
        lambda i, o: ActivatedConvolution(i, o, 5, dilation=2),
        "LeakyReLU, dense 5x5 convolution with dilation 2, BN",
        cuttable=False,
    ),
    Operation("pointwise_bn", "convolution", PointwiseNorm, "1x1 convolution, BN", cuttable=False),
)

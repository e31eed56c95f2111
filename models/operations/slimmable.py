"""Layers whose channels can be cut on either side: the candidates of the trilevel space.

The set and the shapes are those of AutoGAN-Distiller (Fu et al., ICML 2020), which the trilevel super-resolution
search takes over with batch normalisation switched off. Every one of them keeps height and width, ends in a ReLU, has
no biases and maps (N, in, H, W) -> (N, out, H, W).

Two things differ from the released code, both so that a narrowed supernet computes what the derived network will:
the hidden channels of the depthwise block follow a searched width in (there, the supernet keeps the hidden channels of
the widest layer), and the 1x1 shortcut is always there (there, the derived network loses it where in equals out).
"""

import torch.nn.functional as F
from torch import Tensor, nn

from models.operations.operation import Operation

EXPANSION = 4
"""Hidden channels of the depthwise block for each channel in."""


class SlimConvolution(nn.Module):
    """`kernel x kernel` convolution and ReLU. With kernel 1 it is what the paper calls a skip: not free, but cheap."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Filter; nothing below zero leaves."""
        return F.relu(self.conv(x))


class SlimResidual(nn.Module):
    """Two 3x3 convolutions beside a 1x1 shortcut, then ReLU. As many hidden channels as channels out."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        # In a tuple, because the mask belongs to the cell: as a submodule it would be saved and moved twice.
        self._leaving: tuple[nn.Module, ...] = ()

    def follow(self, entering: nn.Module | None, leaving: nn.Module | None) -> None:  # noqa: ARG002 - a protocol
        """Mask the hidden channels as the channels out are masked; see `InnerWidths`."""
        self._leaving = () if leaving is None else (leaving,)

    def forward(self, x: Tensor) -> Tensor:
        """Sum of both branches; nothing below zero leaves."""
        hidden = F.relu(self.conv1(x))
        for mask in self._leaving:
            hidden = mask(hidden)
        return F.relu(self.conv2(hidden) + self.shortcut(x))


class SlimDepthwise(nn.Module):
    """1x1 to four times the channels in, depthwise 3x3, 1x1, beside a 1x1 shortcut, then ReLU.

    Hidden channels `4c .. 4c+3` belong to channel c in: a layer of w channels in has the leading 4w of them.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        hidden = EXPANSION * in_channels
        self.expand = nn.Conv2d(in_channels, hidden, 1, bias=False)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False)
        self.project = nn.Conv2d(hidden, out_channels, 1, bias=False)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self._entering: tuple[nn.Module, ...] = ()

    def follow(self, entering: nn.Module | None, leaving: nn.Module | None) -> None:  # noqa: ARG002 - a protocol
        """Mask the hidden channels as the channels in are masked; see `InnerWidths`."""
        self._entering = () if entering is None else (entering,)

    def forward(self, x: Tensor) -> Tensor:
        """Sum of both branches; nothing below zero leaves."""
        # Every hidden channel is fed by all channels in, so those beyond the width are alive until they are masked.
        hidden = F.relu(self.depthwise(F.relu(self.expand(x))))
        for mask in self._entering:
            count, _, height, width = hidden.shape
            # The four of one channel one below the other: the mask of the channels in fits.
            stacked = mask(hidden.reshape(count, -1, EXPANSION * height, width))
            hidden = stacked.reshape(count, -1, height, width)
        return F.relu(self.project(hidden) + self.shortcut(x))


OPERATIONS = (
    Operation("slim_skip", "convolution", lambda i, o: SlimConvolution(i, o, 1), "1x1 convolution, ReLU"),
    Operation("slim_conv3x3", "convolution", lambda i, o: SlimConvolution(i, o, 3), "3x3 convolution, ReLU"),
    Operation("slim_residual", "convolution", SlimResidual, "two 3x3 convolutions beside a 1x1 shortcut, ReLU"),
    Operation("slim_depthwise", "convolution", SlimDepthwise, "1x1 x4, depthwise 3x3, 1x1 beside a 1x1 shortcut, ReLU"),
)

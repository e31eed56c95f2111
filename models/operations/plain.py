"""Layers without normalisation: the candidates of the U-shaped space.

All keep height and width. Restoration networks train without normalisation, and a supernet without batch statistics has
none to pollute.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.operations.operation import Operation, SeesEverything


class Convolution(nn.Conv2d):
    """Dense `kernel x kernel` convolution with "same" padding: (N, in, H, W) -> (N, out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, dilation: int = 1) -> None:
        padding = dilation * (kernel - 1) // 2
        super().__init__(in_channels, out_channels, kernel, padding=padding, dilation=dilation)


class SeparableConvolution(nn.Module):
    """Depthwise `kernel x kernel`, then pointwise: (N, in, H, W) -> (N, out, H, W).

    The depthwise half has no bias: an input channel that is exactly zero must stay zero, so that masking a width
    in the supernet equals cutting it in the derived network.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, kernel, padding=(kernel - 1) // 2, groups=in_channels, bias=False
        )
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Filter each channel, then mix channels."""
        mixed: Tensor = self.pointwise(self.depthwise(x))
        return mixed


class Identity(nn.Identity):
    """No attention: returns its input."""


class SqueezeExcitation(SeesEverything, nn.Module):
    """Channel gate from the global mean (Hu et al., CVPR 2018): reduction 16, at least 4 hidden channels.

    The mean runs over the whole input, so a network with this gate has no finite receptive field.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(4, channels // reduction)
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.excite = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scale each channel by its gate in (0, 1)."""
        pooled = F.adaptive_avg_pool2d(x, 1)
        return x * torch.sigmoid(self.excite(F.relu(self.squeeze(pooled))))


OPERATIONS = (
    Operation("conv3x3", "convolution", lambda i, o: Convolution(i, o, 3), "dense 3x3 convolution"),
    Operation("conv5x5", "convolution", lambda i, o: Convolution(i, o, 5), "dense 5x5 convolution"),
    Operation("separable3x3", "convolution", lambda i, o: SeparableConvolution(i, o, 3), "depthwise 3x3 + pointwise"),
    Operation("separable5x5", "convolution", lambda i, o: SeparableConvolution(i, o, 5), "depthwise 5x5 + pointwise"),
    Operation("dilated3x3", "convolution", lambda i, o: Convolution(i, o, 3, dilation=2), "dense 3x3, dilation 2"),
    Operation("identity", "attention", lambda _i, _o: Identity(), "no attention", free=True),
    Operation("squeeze_excitation", "attention", lambda i, _o: SqueezeExcitation(i), "channel gate, global mean"),
)

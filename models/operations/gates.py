"""Gates: the attention candidates of MANAS, each of which scales its input by factors in (0, 1).

Cai et al., "Multi-scale Attentive Image De-raining Networks via Neural Architecture Search", TCSVT 2023, with the
layers of the released code: batch normalisation in front of a gate's sigmoid has no weights of its own (CBAM's has),
and squeezing has no bias (CBAM's has). All map (N, C, H, W) -> (N, C, H, W).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.operations.operation import Operation, SeesEverything

REDUCTION = 4
LEAST_HIDDEN = 4
"""Hidden units of a squeeze, at least: as many as the narrowest candidate of the published sizes has (16 channels). A
single unit that a ReLU puts to sleep would stop the gate from learning."""


def hidden_units(channels: int) -> int:
    """Units in the middle of a candidate's channel gate."""
    return max(LEAST_HIDDEN, channels // REDUCTION)


class ElementGate(nn.Module):
    """A factor for every element of the input: `x * sigmoid(factors(x))`.

    Args:
        factors: (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(self, factors: nn.Module) -> None:
        super().__init__()
        self.factors = factors

    def forward(self, x: Tensor) -> Tensor:
        """Scale each element."""
        return x * torch.sigmoid(self.factors(x))


class SpatialGate(nn.Module):
    """A factor for every pixel, from the maximum and the mean of its channels.

    Args:
        factors: (N, 2, H, W) -> (N, 1, H, W).
    """

    def __init__(self, factors: nn.Module) -> None:
        super().__init__()
        self.factors = factors

    def forward(self, x: Tensor) -> Tensor:
        """Scale each pixel."""
        pooled = torch.cat((x.amax(1, keepdim=True), x.mean(1, keepdim=True)), 1)
        return x * torch.sigmoid(self.factors(pooled))


class ChannelGate(SeesEverything, nn.Module):
    """A factor for every channel: squeeze-excitation of the channel means, with `peaks` of their maxima too.

    Mean and maximum pass the same two layers and are added before the sigmoid.

    Args:
        channels: C.
        hidden: Units of the layer in between.
        peaks: Look at each channel's maximum as well.
        bias: Of both layers.
    """

    def __init__(self, channels: int, hidden: int, *, peaks: bool = False, bias: bool = False) -> None:
        super().__init__()
        self.peaks = peaks
        self.squeeze = nn.Conv2d(channels, hidden, 1, bias=bias)
        self.excite = nn.Conv2d(hidden, channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Scale each channel."""
        factors = self._excited(F.adaptive_avg_pool2d(x, 1))
        if self.peaks:
            factors = factors + self._excited(F.adaptive_max_pool2d(x, 1))
        return x * torch.sigmoid(factors)

    def _excited(self, pooled: Tensor) -> Tensor:
        excited: Tensor = self.excite(F.relu(self.squeeze(pooled)))
        return excited


class BlockAttention(nn.Module):
    """CBAM (Woo et al., ECCV 2018): a channel gate, then a spatial gate whose factors come from one 7x7 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze_excitation = ChannelGate(channels, hidden_units(channels), peaks=True, bias=True)
        self.spatial = SpatialGate(nn.Sequential(nn.Conv2d(2, 1, 7, padding=3, bias=False), nn.BatchNorm2d(1)))

    def forward(self, x: Tensor) -> Tensor:
        """Scale each channel, then each pixel."""
        scaled: Tensor = self.spatial(self.squeeze_excitation(x))
        return scaled


def _separable(channels: int, out_channels: int) -> nn.Sequential:
    """Twice depthwise 3x3, pointwise and normalisation; the second pointwise changes the channels."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels, affine=False),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.Conv2d(channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels, affine=False),
    )


def _dilated(channels: int, out_channels: int, groups: int) -> nn.Sequential:
    """3x3 with dilation 2, which changes the channels, then pointwise and normalisation."""
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, 3, padding=2, dilation=2, groups=groups, bias=False),
        nn.Conv2d(out_channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels, affine=False),
    )


def _gate(name: str, make: Callable[[int], nn.Module], summary: str) -> Operation:
    return Operation(name, "attention", lambda i, _o: make(i), summary, cuttable=False)


OPERATIONS = (
    _gate("separable_gate3x3", lambda c: ElementGate(_separable(c, c)), "element gate, separable 3x3 twice"),
    _gate("dilated_gate3x3", lambda c: ElementGate(_dilated(c, c, c)), "element gate, depthwise 3x3 with dilation 2"),
    _gate("spatial_separable3x3", lambda _c: SpatialGate(_separable(2, 1)), "pixel gate, separable 3x3 twice"),
    _gate("spatial_dilated3x3", lambda _c: SpatialGate(_dilated(2, 1, 1)), "pixel gate, 3x3 with dilation 2"),
    _gate("squeeze_excitation4", lambda c: ChannelGate(c, hidden_units(c)), "channel gate, mean, reduction 4"),
    _gate(
        "squeeze_excitation4_peaks",
        lambda c: ChannelGate(c, hidden_units(c), peaks=True),
        "channel gate, mean and maximum, reduction 4",
    ),
    _gate("cbam4", BlockAttention, "CBAM: channel gate with reduction 4, then a 7x7 pixel gate"),
)

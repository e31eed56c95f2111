"""Modules over several scales: the candidates of CLEARER's columns, which MANAS shares.

Gou et al., "CLEARER: Multi-Scale Neural Architecture Search for Image Restoration", NeurIPS 2020, section 3, with the
sizes of the released code. A module takes a list of scales, finest first: scale n is (N, C * 2^n, H / 2^n, W / 2^n), H
and W multiples of 2^(scales - 1). It returns a new list of the same shapes. The released parallel module writes its
results into the list that it was given, so that in the supernet the fusion module beside it sees them, which it does
not once derived; here no module writes into its input.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from models.operations.operation import Operation

BRANCHES = (2, 3, 4)
"""Numbers of scales for which the modules are registered."""


def convolution_norm(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution without bias and batch normalisation: (N, in, H, W) -> (N, out, H / stride, W / stride)."""
    convolution = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels))


class ResidualBlock(nn.Module):
    """`relu(x + conv(relu(conv(x))))`, two 3x3 with batch normalisation: (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = convolution_norm(channels, channels, 3)
        self.second = convolution_norm(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Add the block's residual."""
        return F.relu(x + self.second(F.relu(self.first(x))))


class ParallelModule(nn.Module):
    """One residual block per scale; scales do not meet."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(width) for width in channels)

    def forward(self, scales: Sequence[Tensor]) -> list[Tensor]:
        """Each scale through its own block."""
        return [block(scale) for block, scale in zip(self.blocks, scales, strict=True)]


class FuseInto(nn.Module):
    """All scales brought to the shape of one of them and added up: list of scales -> (N, C_target, h, w) of that one.

    Coarser scales pass a 1x1 convolution and are enlarged by repetition; finer ones pass one stride-2 3x3 convolution
    per halving, the last of which changes the channels and has no activation; the target's own scale comes as it is.
    """

    def __init__(self, channels: Sequence[int], target: int) -> None:
        super().__init__()
        self.paths = nn.ModuleList(_path(channels, source, target) for source in range(len(channels)))

    def forward(self, scales: Sequence[Tensor]) -> Tensor:
        """Sum, then ReLU."""
        total: Tensor = self.paths[0](scales[0])
        for path, scale in zip(self.paths[1:], scales[1:], strict=True):
            total = total + path(scale)
        return F.relu(total)


def _path(channels: Sequence[int], source: int, target: int) -> nn.Module:
    if source == target:
        return nn.Identity()
    if source > target:
        narrowed = convolution_norm(channels[source], channels[target], 1)
        return nn.Sequential(narrowed, nn.Upsample(scale_factor=2 ** (source - target), mode="nearest"))
    layers: list[nn.Module] = []
    for _ in range(target - source - 1):
        layers += [convolution_norm(channels[source], channels[source], 3, stride=2), nn.ReLU()]
    return nn.Sequential(*layers, convolution_norm(channels[source], channels[target], 3, stride=2))


class FusionModule(nn.Module):
    """Every scale into every scale."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.into = nn.ModuleList(FuseInto(channels, target) for target in range(len(channels)))

    def forward(self, scales: Sequence[Tensor]) -> list[Tensor]:
        """One sum per scale."""
        return [fuse(scales) for fuse in self.into]


def scale_channels(channels: int, branches: int) -> tuple[int, ...]:
    """Channels of each scale, finest first: they double where the resolution halves."""
    return tuple(channels * 2**n for n in range(branches))


def _modules(branches: int) -> tuple[Operation, Operation]:
    def parallel(channels: int, _out: int) -> nn.Module:
        return ParallelModule(scale_channels(channels, branches))

    def fusion(channels: int, _out: int) -> nn.Module:
        return FusionModule(scale_channels(channels, branches))

    return (
        Operation(
            f"parallel{branches}",
            "module",
            parallel,
            f"a residual block on each of {branches} scales",
            cuttable=False,
            branches=branches,
        ),
        Operation(
            f"fusion{branches}",
            "module",
            fusion,
            f"each of {branches} scales from all of them",
            cuttable=False,
            branches=branches,
        ),
    )


OPERATIONS = tuple(operation for branches in BRANCHES for operation in _modules(branches))

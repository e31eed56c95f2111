"""Convolutions that train as several parallel branches and are served as one (structural re-parameterisation).

The branches are linear, and nothing normalises between them: restoration networks train without. Their sum then is one
3x3 convolution at every moment of the training, so it is computed as one: the forward pass composes the branches'
kernels and convolves once. Values and gradients are those of the branches run on the picture one by one, in little more
than the time of one (Hu et al., "Online Convolutional Re-parameterization", CVPR 2022, arXiv 2204.00826). What branches
change is how the kernel learns, not what it can compute.

Three rules keep folding exact, up to the border, and masking a width equal to cutting it:

- Only the sum has a bias. A bias in the middle of a branch would meet the zero padding of the second convolution, and
  the border would be another function than the inside. (ECBSR pads such branches with that bias instead; it then is no
  more than a part of the sum's.)
- The identity runs from channel c to channel c for all channels that both sides have. Where it exists only for equally
  many channels in and out, as published, a supernet has it and the network that is cut from it has not.
- Hidden channels are as many whatever the layer's width, because every one of them feeds every channel out.
"""

import copy
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.operations.operation import Operation

HIDDEN = 64
"""Channels between the 1x1 and the 3x3 convolution of the expand-and-squeeze branch."""
EDGE_FILTERS = (
    ((1.0, 0.0, -1.0), (2.0, 0.0, -2.0), (1.0, 0.0, -1.0)),
    ((1.0, 2.0, 1.0), (0.0, 0.0, 0.0), (-1.0, -2.0, -1.0)),
    ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0)),
)
"""Sobel along the rows, Sobel along the columns, Laplacian."""
START = 0.1
"""Size of the expand-and-squeeze branch beside the 3x3 branch before training."""


class ReparameterisedConvolution(nn.Conv2d, ABC):
    """3x3 convolution whose kernel is a sum of branches: (N, in, H, W) -> (N, out, H, W).

    `weight` and `bias` are those of the 3x3 branch. The others add little or nothing before training, so that however a
    network initialises its convolutions, it starts as with plain ones.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    @abstractmethod
    def kernel(self) -> Tensor:
        """The sum of the branches' kernels, (out, in, 3, 3), with a graph to every branch."""

    def forward(self, x: Tensor) -> Tensor:
        """The sum of the branches, in one convolution."""
        return F.conv2d(x, self.kernel(), self.bias, padding=1)

    def folded(self) -> nn.Conv2d:
        """The plain convolution that computes the same; composed in float64, stored in the type of the weights."""
        with torch.no_grad():
            kernel = copy.deepcopy(self).double().kernel().to(self.weight.dtype).contiguous()
        # Made on meta: drawing weights that are thrown away would move the random numbers of whoever folds.
        plain = nn.Conv2d(self.in_channels, self.out_channels, 3, padding=1, device="meta")
        plain.weight = nn.Parameter(kernel, requires_grad=self.weight.requires_grad)
        if self.bias is not None:
            plain.bias = nn.Parameter(self.bias.detach().clone(), requires_grad=self.bias.requires_grad)
        return plain.train(self.training)


class RepVGGConvolution(ReparameterisedConvolution):
    """3x3 beside 1x1 beside identity: Ding et al., "RepVGG", CVPR 2021, arXiv 2101.03697.

    A learned factor per channel stands for the published batch normalisation of the identity.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.point = nn.Parameter(torch.zeros(out_channels, in_channels))
        self.identity = nn.Parameter(torch.zeros(min(in_channels, out_channels)))

    def kernel(self) -> Tensor:
        """The 3x3 kernel, and in its middle the 1x1 kernel and the identity."""
        middle = self.point + diagonal(self.identity, self.in_channels, self.out_channels)
        return self.weight + F.pad(middle[:, :, None, None], (1, 1, 1, 1))


class EdgeConvolution(ReparameterisedConvolution):
    """3x3 beside 1x1-then-3x3, three 1x1-then-edge-filters and identity: the block of ECBSR.

    Zhang, Zeng, Zhang: "Edge-oriented Convolution Block for Real-time Super Resolution on Mobile Devices", ACM MM 2021.
    What an edge filter finds is scaled by a learned factor per channel. The published block has twice as many hidden
    channels as channels out, and biases inside its branches; the module says why this one has not.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.expand = nn.Parameter(torch.randn(HIDDEN, in_channels) / in_channels**0.5)
        self.squeeze = nn.Parameter(START * torch.randn(out_channels, HIDDEN, 3, 3) / (9 * HIDDEN) ** 0.5)
        self.edge_points = nn.Parameter(torch.randn(len(EDGE_FILTERS), out_channels, in_channels) / in_channels**0.5)
        self.edge_scales = nn.Parameter(1e-3 * torch.randn(len(EDGE_FILTERS), out_channels))
        self.identity = nn.Parameter(torch.zeros(min(in_channels, out_channels)))
        self.register_buffer("edges", torch.tensor(EDGE_FILTERS), persistent=False)
        self.edges: Tensor

    def kernel(self) -> Tensor:
        """The five branches of the block, and the identity in the middle."""
        squeezed = torch.einsum("ohyx,hi->oiyx", self.squeeze, self.expand)
        edged = torch.einsum("eo,eoi,eyx->oiyx", self.edge_scales, self.edge_points, self.edges)
        middle = diagonal(self.identity, self.in_channels, self.out_channels)
        return self.weight + squeezed + edged + F.pad(middle[:, :, None, None], (1, 1, 1, 1))


def diagonal(values: Tensor, in_channels: int, out_channels: int) -> Tensor:
    """(out, in) with `values` from its upper left corner on, zero elsewhere."""
    count = len(values)
    return F.pad(torch.diag(values), (0, in_channels - count, 0, out_channels - count))


OPERATIONS = (
    Operation("rep3x3", "convolution", RepVGGConvolution, "3x3 + 1x1 + identity in training, one 3x3 when served"),
    Operation(
        "rep_edge3x3",
        "convolution",
        EdgeConvolution,
        "3x3 + expand-squeeze + edge filters + identity in training, one 3x3 when served",
    ),
)

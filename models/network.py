"""What every network of every space is to the rest of the program."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Network(nn.Module, ABC):
    """A restoration network: (N, 3, H, W) in [0, 1] -> (N, 3, scale*H, scale*W), not clipped.

    Attributes:
        scale: Output size over input size.
        multiple: H and W must be multiples of this; whoever runs the network pads.
    """

    scale: int
    multiple: int

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Restore a batch."""

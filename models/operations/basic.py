"""Nothing, and leaving things as they are: candidates that cost no time."""

import torch
from torch import Tensor, nn

from models.operations.operation import Operation


class Nothing(nn.Module):
    """Zeros, whatever comes in. A derived network leaves such an edge out instead of computing it."""

    def forward(self, x: Tensor) -> Tensor:
        """Zeros of the input's shape."""
        return torch.zeros_like(x)


class Skip(nn.Identity):
    """Returns its input."""


OPERATIONS = (
    Operation("none", "nothing", lambda _i, _o: Nothing(), "zeros: the edge is left out", free=True),
    Operation("skip", "attention", lambda _i, _o: Skip(), "the input as it is", free=True),
)

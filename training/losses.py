"""Reconstruction losses, by name."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from training.errors import TrainingError

Loss = Callable[[Tensor, Tensor], Tensor]

CHARBONNIER_EPSILON = 1e-3


def charbonnier(restored: Tensor, clean: Tensor) -> Tensor:
    """Mean of sqrt(difference^2 + 1e-6): L1 with a smooth foot (Lai et al., LapSRN, CVPR 2017)."""
    return torch.sqrt((restored - clean) ** 2 + CHARBONNIER_EPSILON**2).mean()


LOSSES: dict[str, Loss] = {"l1": F.l1_loss, "mse": F.mse_loss, "charbonnier": charbonnier}


def get_loss(name: str) -> Loss:
    """A loss of (restored, clean), both (N, C, H, W).

    Raises:
        TrainingError: No loss has this name.
    """
    if name not in LOSSES:
        raise TrainingError(f"unknown loss {name!r}; known: {', '.join(LOSSES)}")
    return LOSSES[name]

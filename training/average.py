"""The moving average of a network's weights, which is what is evaluated and shipped."""

import torch
from torch import nn


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move `average` towards `network`: `kept = decay * kept + (1 - decay) * new`, for parameters and float buffers.

    The average never runs in training mode, so nothing else would ever set the statistics of its batch normalisation:
    they would stay those of an untrained network. Averaged over the same steps as the weights, they fit them; copied,
    they would be those of the last few noisy steps. Integer buffers are counters, and are copied.

    Args:
        average: A copy of `network` from its start.
        network: What is trained.
        decay: In [0, 1].
    """
    for kept, new in zip(average.parameters(), network.parameters(), strict=True):
        kept.lerp_(new, 1.0 - decay)
    for kept_buffer, buffer in zip(average.buffers(), network.buffers(), strict=True):
        if buffer.is_floating_point():
            kept_buffer.lerp_(buffer, 1.0 - decay)
        else:
            kept_buffer.copy_(buffer)

"""Facts about a built network."""

import copy

import torch
from torch import nn

from models.operations import SqueezeExcitation
from models.space import Network


def num_parameters(module: nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def receptive_radius(network: Network) -> int | None:
    """How many input pixels away an output pixel can still see; None if it sees the whole image.

    Found by sending a point of light through a copy whose weights are all positive, so that nothing cancels.
    """
    if any(isinstance(module, SqueezeExcitation) for module in network.modules()):
        return None
    probe = copy.deepcopy(network).double().cpu()
    with torch.no_grad():
        for parameter in probe.parameters():
            parameter.fill_(1e-2 if parameter.ndim > 1 else 0.0)
    size = 16 * network.multiple
    while True:
        image = torch.zeros(1, 3, size, size, dtype=torch.float64)
        # Every phase within one multiple of the grid, because strided layers do not treat all pixels alike.
        start = (size // 2) // network.multiple * network.multiple
        image[:, :, start : start + network.multiple, start : start + network.multiple] = 1.0
        with torch.no_grad():
            lit = probe(image).sum((0, 1)).abs() > 0
        rows = torch.nonzero(lit.any(1)).flatten() // network.scale
        reach = max(start - int(rows.min()), int(rows.max()) - (start + network.multiple - 1))
        if reach < start - network.multiple:
            return reach
        size *= 2

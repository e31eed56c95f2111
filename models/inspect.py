"""Facts about a built network."""

import copy

import torch
from torch import nn

from models.network import Network
from models.operations import SeesEverything


def num_parameters(module: nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def receptive_radius(network: Network) -> int | None:
    """How many input pixels away an output pixel can still see; None if it sees the whole image.

    Found by sending lines of light through a copy whose weights are all positive, so that nothing cancels.
    """
    if any(isinstance(module, SeesEverything) for module in network.modules()):
        return None
    probe = copy.deepcopy(network).double().cpu().eval()
    with torch.no_grad():
        for parameter in probe.parameters():
            parameter.fill_(1e-2 if parameter.ndim > 1 else 0.0)
        for module in probe.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                if module.affine:
                    module.weight.fill_(1.0)
    return max(_reach(probe, axis) for axis in (2, 3))


def _reach(probe: Network, axis: int) -> int:
    """The radius along one axis, on strips: a line of light across the strip, once at each place of the grid.

    Strided layers do not treat all pixels alike: the far end of a cell lights up as much as its near end does, from
    further away.
    """
    multiple = probe.multiple
    size = 16 * multiple
    while True:
        start = (size // 2) // multiple * multiple
        strips = torch.zeros(multiple, 3, size, multiple, dtype=torch.float64)
        for phase in range(multiple):
            strips[phase, :, start + phase] = 1.0
        with torch.no_grad():
            restored = probe(strips if axis == 2 else strips.transpose(2, 3))
        lit = (restored if axis == 2 else restored.transpose(2, 3)).abs().sum((1, 3)) > 0
        reach = 0
        for phase in range(multiple):
            rows = torch.nonzero(lit[phase]).flatten() // probe.scale
            reach = max(reach, start + phase - int(rows.min()), int(rows.max()) - start - phase)
        # Light that came to the edge may have been stopped by it.
        if reach < start - multiple:
            return reach
        size *= 2

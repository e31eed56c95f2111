"""Facts about a built network."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models.cost import OpKey
from models.fold import fold_module, fold_network, has_folds
from models.network import Network
from models.operations import OPERATIONS, SeesEverything, Squashes, make_operation


def num_parameters(module: nn.Module) -> int:
    """Trainable parameters of what is served: a layer that folds counts as what it folds into."""
    served = fold_module(module) if has_folds(module) else module
    return sum(p.numel() for p in served.parameters() if p.requires_grad)


@dataclass(frozen=True)
class OperationCost:
    """Trainable parameters and multiply-accumulates (of convolutions and matrix products) of one layer, as served."""

    parameters: int
    macs: int


def operation_cost(key: OpKey, height: int, width: int) -> OperationCost:
    """What the layer of a row costs in a network whose input is height x width; nothing is allocated or computed."""
    operation = OPERATIONS[key.operation]
    with torch.device("meta"):
        layer = fold_module(make_operation(key.operation, key.in_channels, key.out_channels))
        scales = [
            torch.empty(1, key.in_channels * 2**n, height // (key.divisor * 2**n), width // (key.divisor * 2**n))
            for n in range(operation.branches)
        ]
    macs = _macs(layer, scales if operation.branches > 1 else scales[0])
    return OperationCost(num_parameters(layer), macs)


def count_macs(network: Network, height: int, width: int) -> int:
    """Multiply-accumulates of a network on the meta device for one height x width input, up to its multiple; folded."""
    sides = [-(-side // network.multiple) * network.multiple for side in (height, width)]
    return _macs(fold_network(network), torch.empty(1, 3, *sides, device="meta"))


def _macs(module: nn.Module, argument: object) -> int:
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(argument)
    # The counter counts a multiply-accumulate as two operations.
    return int(counter.get_total_flops()) // 2


def receptive_radius(network: Network) -> int | None:
    """How many input pixels away an output pixel can still see; None if it sees the whole image.

    Found by sending lines of light through a copy whose weights are all positive, so that nothing cancels.
    """
    if any(isinstance(module, SeesEverything) for module in network.modules()):
        return None
    # Folded, because an edge filter in a branch has negative weights whatever the rest has.
    probe = fold_network(network).double().cpu()
    for parent in list(probe.modules()):
        for name, child in parent.named_children():
            # A squashing function lifts darkness off zero, and drowns faint light.
            if isinstance(child, Squashes):
                setattr(parent, name, nn.Identity())
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

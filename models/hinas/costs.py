"""What the parts of the HiNAS space cost, and units that price them.

Nothing of this is the paper's, whose search has no term for size or time. Stem, decoder and the stem's own projection
are in every network and have no term. Everything runs at full resolution.
"""

import torch
from torch import Tensor, nn

from models.cost import Carrier, CostTerm, OpKey
from models.hinas.config import KEPT, STEM, HiNASConfig, Path, sources
from models.mixed import weighted_sum
from models.operations import OPERATIONS, make_operation

PROJECTION = "pointwise_bn"
REFERENCE = "act_conv3x3"


def projections(config: HiNASConfig, layer: int, path: Path) -> tuple[OpKey, ...]:
    """Rows paid for getting to a layer: its two inputs, and after the last layer the way to the decoder.

    None where there is a single level: all networks then have the same ones.

    Args:
        config: Sizes.
        layer: From 1.
        path: A path to the layer, or the last three levels of one.
    """
    if len(config.factors) == 1:
        return ()
    width = config.width(path[-1])
    older = config.output_width(layer - 2, path[-3] if layer > 1 else 0)
    keys = [(older, width), (config.output_width(layer - 1, path[-2]), width)]
    if layer == config.layers:
        keys.append((config.output_width(layer, path[-1]), config.decoder[1]))
    return tuple(OpKey(PROJECTION, entering, leaving, 1) for entering, leaving in keys)


def priced(config: HiNASConfig, level: int) -> dict[str, OpKey]:
    """Operation -> row, for the candidates that cost something, on an edge at a width level."""
    width = config.width(level)
    return {name: OpKey(name, width, width, 1) for name in config.operations if not OPERATIONS[name].free}


def cost_terms(config: HiNASConfig) -> tuple[CostTerm, ...]:
    """One term for each way of getting to where a row is paid.

    The ways to a level exclude each other, and the summed expectation of their conditions is the level's occupancy. An
    edge counts by the share of its node's edges that will be left: 2 of 2 + i.
    """
    terms: list[CostTerm] = []
    for layer in range(STEM + 1, config.layers + 1):
        for path in config.paths(layer):
            here = config.route_conditions(path)
            terms += [CostTerm(key, here) for key in projections(config, layer, path)]
            for node in range(config.nodes):
                share = KEPT / len(sources(node))
                for source in sources(node):
                    edge = config.edge(layer, node, source)
                    terms += [
                        CostTerm(key, (*here, (edge, (name,))), share) for name, key in priced(config, path[-1]).items()
                    ]
    return tuple(terms)


def carriers(config: HiNASConfig) -> tuple[Carrier, ...]:
    """A node of two edges for each operation at each width, one of them the reference; a unit for each projection."""
    found: list[Carrier] = []
    for level in range(len(config.factors)):
        rows = priced(config, level)
        if rows:
            reference = rows.get(REFERENCE, next(iter(rows.values())))
            others = [key for key in rows.values() if key != reference]
            # The reference first: it is the one that is also timed alone, which sets it apart from the fixed cost.
            found += [_node(key, reference) for key in (reference, *others)]
    entering = {
        key
        for layer in range(STEM + 1, config.layers + 1)
        for path in config.paths(layer)
        for key in projections(config, layer, path)
    }
    found += [_projection(key) for key in sorted(entering)]
    return tuple(found)


class NodeUnit(nn.Module):
    """A node whose two edges come from one input: (N, C, H, W) -> the same."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, x: Tensor) -> Tensor:
        """Sum both edges."""
        return weighted_sum([(1.0, self.first(x)), (1.0, self.second(x))])


class ProjectionUnit(nn.Module):
    """A projection and as many copies of its output as give the channels back: (N, C, H, W) -> the same.

    The outputs of a cell's nodes, too, are put side by side before they enter a projection.
    """

    def __init__(self, key: OpKey) -> None:
        super().__init__()
        self.layer = make_operation(key.operation, key.in_channels, key.out_channels)
        self._copies, self._rest = divmod(key.in_channels, key.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Project and repeat."""
        y: Tensor = self.layer(x)
        parts = [y] * self._copies + ([y[:, : self._rest]] if self._rest else [])
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _node(key: OpKey, reference: OpKey) -> Carrier:
    def make() -> nn.Module:
        first, second = (make_operation(k.operation, k.in_channels, k.out_channels) for k in (key, reference))
        return NodeUnit(first, second)

    return Carrier((key, reference), key.in_channels, key.divisor, make)


def _projection(key: OpKey) -> Carrier:
    return Carrier((key,), key.in_channels, key.divisor, lambda: ProjectionUnit(key))

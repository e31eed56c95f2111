"""The cell of HiNAS: nodes that sum what comes over their edges."""

import torch
from torch import Tensor, nn

from models.errors import GenotypeError
from models.hinas.config import KEPT, HiNASConfig, sources
from models.mixed import MixedOperation, weighted_sum
from models.operations.basic import Nothing
from models.site import Site


class Cell(nn.Module):
    """(older, newer), each (N, C, H, W) -> (N, nodes * C, H, W): all nodes side by side.

    Node i sums one operation over each of its 2 + i predecessors: the two inputs, then the earlier nodes. In a derived
    network two of these are left; an edge that picked `none` is not built at all.

    Args:
        config: Sizes.
        layer: Whose choices the edges obey. Cells of one layer at different levels obey the same.
        level: Width level, which gives C.
        site: Where the operations come from.

    Raises:
        GenotypeError: A derived node would keep other than two predecessors.
    """

    def __init__(self, config: HiNASConfig, layer: int, level: int, site: Site) -> None:
        super().__init__()
        width = config.width(level)
        self.edges = nn.ModuleDict()
        self._kept: list[list[int]] = []
        for node in range(config.nodes):
            built: dict[int, nn.Module] = {}
            for source in sources(node):
                edge = config.edge(layer, node, source)
                built[source] = site.operation(edge, config.candidates, width, width, shared=True)
            kept = [source for source, operation in built.items() if not isinstance(operation, Nothing)]
            if len(kept) != KEPT and not all(isinstance(operation, MixedOperation) for operation in built.values()):
                raise GenotypeError(
                    f"a node keeps exactly {KEPT} predecessors, and {config.edge(layer, node, 0).rpartition('.')[0]} "
                    f"keeps {len(kept)}: pick `none` on all edges but {KEPT}"
                )
            self.edges.update({_name(node, source): built[source] for source in kept})
            self._kept.append(kept)

    def forward(self, older: Tensor, newer: Tensor) -> Tensor:
        """Run the nodes in order."""
        states = [older, newer]
        for node, kept in enumerate(self._kept):
            states.append(weighted_sum((1.0, self.edges[_name(node, source)](states[source])) for source in kept))
        return torch.cat(states[KEPT:], 1)


def _name(node: int, source: int) -> str:
    return f"node{node}_from{source}"

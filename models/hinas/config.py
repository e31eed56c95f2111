"""Sizes of the HiNAS space, the names of its choices, and the paths that its widths can take."""

from itertools import pairwise

from pydantic import Field, model_validator

from models.cost import Condition, when
from models.operations import OPERATIONS
from models.space import SpaceConfig

NONE = "none"
"""The candidate of every edge that leaves the edge out."""
KEPT = 2
"""Predecessors that a node of a derived network keeps; also the inputs of a cell."""
STEM = 0
"""The stem's output counts as layer 0, at the narrowest level."""
MOVES = {"narrower": -1, "same": 0, "wider": 1}
"""What a route may do to the width level."""

Path = tuple[int, ...]
"""Width levels of the stem's output (always 0) and of the layers after it."""


class HiNASConfig(SpaceConfig):
    """Sizes and candidates. The defaults are the paper's denoiser after the search.

    The paper searches at half the channels (10, SR 8) and trains at 20 (SR 16). Picks do not depend on `channels`, so a
    genotype found at one value can be built at another.

    Attributes:
        layers: Cells, one after the other.
        nodes: Nodes of a cell. Its output is all of them side by side.
        channels: Channels of a node at factor 1.
        factors: Width levels, ascending: a node has channels * factor, rounded, channels.
        operations: Candidates of every edge, besides `none`.
        stem_channels: Channels of the first convolution.
        decoder: Channels that the stem's and the last cell's outputs are brought to before the decoder joins them.
        shared_cells: One cell per layer and level, for the sum of what is routed there (the paper's "cell sharing").
            Otherwise one cell, with weights of its own, for every route that ends there, and their outputs are summed.
        tied: All layers obey the same choices of operations, as in the paper's first version.
    """

    layers: int = Field(default=3, ge=1)
    nodes: int = Field(default=4, ge=1)
    channels: int = Field(default=20, ge=1)
    factors: tuple[float, ...] = (1.0, 1.5, 2.0)
    operations: tuple[str, ...] = (
        "act_conv3x3",
        "act_separable3x3",
        "act_separable5x5",
        "act_dilated3x3",
        "act_dilated5x5",
        "skip",
    )
    stem_channels: int = Field(default=64, ge=1)
    decoder: tuple[int, int] = (48, 128)
    shared_cells: bool = True
    tied: bool = False

    @model_validator(mode="after")
    def _sizes(self) -> "HiNASConfig":
        if not self.factors or self.factors[0] <= 0 or any(b <= a for a, b in pairwise(self.factors)):
            raise ValueError(f"factors must be positive and ascending, got {self.factors}")
        widths = [self.width(level) for level in range(len(self.factors))]
        if widths[0] < 1 or len(set(widths)) < len(widths):
            raise ValueError(
                f"factors {self.factors} of {self.channels} channels round to {widths}; give different positive widths"
            )
        if min(self.decoder) < 1:
            raise ValueError(f"decoder must be two positive numbers of channels, got {self.decoder}")
        usable = [n for n, o in OPERATIONS.items() if o.kind in ("convolution", "attention")]
        unknown = [name for name in self.operations if name not in usable]
        if unknown or not self.operations or len(set(self.operations)) < len(self.operations):
            raise ValueError(f"operations must be different ones of {', '.join(usable)}; got {self.operations}")
        return self

    def width(self, level: int) -> int:
        """Channels of a node at a width level."""
        return round(self.channels * self.factors[level])

    def output_width(self, layer: int, level: int) -> int:
        """Channels of what a layer gives at a level. The stem's hidden features are layer -1, its output is layer 0."""
        return self.stem_channels if layer < STEM else self.nodes * self.width(level)

    @property
    def candidates(self) -> tuple[str, ...]:
        """Candidates of every edge."""
        return (*self.operations, NONE)

    def moves(self, level: int) -> tuple[str, ...]:
        """Moves that lead from a level to one that exists. The paper masks the others in a full table instead."""
        return tuple(name for name, step in MOVES.items() if 0 <= level + step < len(self.factors))

    def paths(self, layers: int) -> tuple[Path, ...]:
        """All ways from the stem through this many layers, in lexical order."""
        found: list[Path] = [(0,)]
        for _ in range(layers):
            found = [(*path, path[-1] + MOVES[move]) for path in found for move in self.moves(path[-1])]
        return tuple(found)

    def edge(self, layer: int, node: int, source: int) -> str:
        """Id of the choice on an edge of the cells of a layer.

        Args:
            layer: From 1.
            node: From 0.
            source: 0 and 1 are the cell's inputs, older first; 2 is node 0, and so on.
        """
        return f"node{node}.from{source}" if self.tied else f"layer{layer}.node{node}.from{source}"

    @staticmethod
    def route(layer: int, level: int) -> str:
        """Id of the choice of where a layer's output at a level goes."""
        return "route0" if layer == STEM else f"route{layer}.{level}"

    def route_picks(self, path: Path) -> tuple[tuple[str, str], ...]:
        """(choice, move) pairs that a path makes; none where there is one level only, and so no choice."""
        if len(self.factors) == 1:
            return ()
        names = {step: name for name, step in MOVES.items()}
        return tuple((self.route(layer, a), names[b - a]) for layer, (a, b) in enumerate(pairwise(path)))

    def route_conditions(self, path: Path) -> tuple[Condition, ...]:
        """The same as conditions of a cost."""
        return tuple(condition for route, move in self.route_picks(path) for condition in when(route, move, len(MOVES)))


def sources(node: int) -> range:
    """Predecessors of a node: the cell's two inputs and all earlier nodes."""
    return range(KEPT + node)

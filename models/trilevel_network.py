"""The network of the trilevel space: a trunk of cells that may end at any node of a tree of paths."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from models.exit_tree import CELL, ExitTree
from models.mixed import Weight, weighted_sum
from models.network import Network
from models.operations import OPERATIONS, Squashes, make_operation
from models.operations.slimmable import SlimDepthwise, SlimResidual
from models.site import ChosenWidth, Site
from models.space import SpaceConfig
from models.upscale import BicubicPhases

EXIT = "exit"
UP_OPERATION = "conv3x3"
CHANNEL_STEP = 8
"""Widths are rounded to a multiple of this, at least one, as AutoGAN-Distiller does."""


class TrilevelConfig(SpaceConfig):
    """Sizes and candidates; the defaults are the paper's.

    Attributes:
        scale: Output size over input size.
        channels: Of the trunk.
        cells: Cells on the longest path, the fixed first one included.
        ups: Up-slots on the longest path. The tree, and with it the supernet, grows steeply with them: from 5 cells to
            35 for the paper's two.
        ops: Operations in a row in a cell.
        operations: Candidates of each.
        width_ratios: Candidate widths between the operations of a cell, as fractions of `channels`, ascending.
        residual: Factor of what a cell adds to its input.
        head: `tanh` squashes the output into (0, 1), as the paper does; `bicubic` adds it to the enlarged input.
    """

    scale: Literal[1, 2, 4] = 4
    channels: int = Field(default=64, gt=0, multiple_of=CHANNEL_STEP)
    cells: int = Field(default=5, ge=1)
    ups: int = Field(default=2, ge=0)
    ops: int = Field(default=5, ge=1)
    operations: tuple[str, ...] = ("slim_skip", "slim_conv3x3", "slim_residual", "slim_depthwise")
    width_ratios: tuple[float, ...] = (4 / 12, 6 / 12, 8 / 12, 10 / 12, 1.0)
    residual: float = Field(default=0.2, gt=0)
    head: Literal["tanh", "bicubic"] = "tanh"

    @field_validator("operations")
    @classmethod
    def _registered(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = [name for name, operation in OPERATIONS.items() if operation.kind == "convolution"]
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            raise ValueError(f"unknown operations {unknown}; known: {', '.join(known)}")
        return names

    @model_validator(mode="after")
    def _choosable(self) -> "TrilevelConfig":
        ratios = self.width_ratios
        if not ratios or any(not 0 < ratio <= 1 for ratio in ratios) or list(ratios) != sorted(set(ratios)):
            raise ValueError(f"width_ratios must be ascending fractions in (0, 1], got {ratios}")
        whole = [name for name in self.operations if not OPERATIONS[name].cuttable]
        if len(self.widths) > 1 and whole:
            raise ValueError(f"{', '.join(whole)} cannot be cut to a width; give one ratio, or other operations")
        if len(self.operations) == 1 and (self.ops == 1 or len(self.widths) == 1):
            raise ValueError("a cell with one operation and one width has nothing to choose; give more of either")
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Candidate widths inside a cell, ascending, without repeats."""
        steps = (int(self.channels * ratio / CHANNEL_STEP + 0.5) for ratio in self.width_ratios)
        return tuple(sorted({max(1, step) * CHANNEL_STEP for step in steps}))

    @property
    def interfaces(self) -> tuple[tuple[int, ...], ...]:
        """Widths before, between and after the operations of a cell; a cell starts and ends as wide as the trunk."""
        return ((self.channels,), *(self.widths for _ in range(self.ops - 1)), (self.channels,))

    @property
    def tree(self) -> ExitTree:
        """The paths."""
        return ExitTree(self.cells, self.ups)


class Cell(nn.Module):
    """`x + residual * ops(x)`: (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, config: TrilevelConfig, name: str, site: Site) -> None:
        super().__init__()
        self.residual = config.residual
        inner = [site.width(f"{name}.width{place}", config.widths) for place in range(config.ops - 1)]
        widths: list[ChosenWidth | None] = [None, *inner, None]
        self.ops = nn.ModuleList(
            site.operation(
                f"{name}.op{place}",
                config.operations,
                before.channels if before else config.channels,
                after.channels if after else config.channels,
                entering=before,
                leaving=after,
            )
            for place, (before, after) in enumerate(itertools.pairwise(widths))
        )
        self.masks = nn.ModuleList([*(width.mask for width in inner), nn.Identity()])

    def forward(self, x: Tensor) -> Tensor:
        """Add the cell's residual."""
        out = x
        for operation, mask in zip(self.ops, self.masks, strict=True):
            out = mask(operation(out))
        return x + self.residual * out


class Squash(Squashes, nn.Module):
    """`(tanh(x) + 1) / 2`: any number, pixel by pixel, to (0, 1). Zero becomes grey, so dark is not dark behind it."""

    def forward(self, x: Tensor) -> Tensor:
        """Squash."""
        return (torch.tanh(x) + 1) / 2


class Trilevel(Network):
    """First convolution, the tree of moves, last convolution, pixel shuffle, head."""

    def __init__(self, config: TrilevelConfig, site: Site) -> None:
        super().__init__()
        self.scale = config.scale
        self.multiple = 1
        self.tree = config.tree
        self.exits = site.branches(EXIT, "exit", self.tree.nodes)
        built = {node: None for exit_node in self.exits.names for node in self.tree.way(exit_node)}
        self.first = nn.Conv2d(3, config.channels, 3, padding=1)
        self.moves = nn.ModuleDict({node: _move(config, node, site) for node in built})
        self.last = nn.Conv2d(config.channels, 3 * config.scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(config.scale) if config.scale > 1 else nn.Identity()
        self.squash = Squash() if config.head == "tanh" else None
        self.enlarge = (
            nn.Sequential(BicubicPhases(3, config.scale), nn.PixelShuffle(config.scale))
            if config.scale > 1 and self.squash is None
            else nn.Identity()
        )
        self._initialise()

    def _initialise(self) -> None:
        """Damped branches beside the shortcuts, or features grow with every cell; a damped tail, to start calmly.

        Training then starts at grey (squashed), or at the enlarged input.
        """
        if self.first.weight.is_meta:
            return  # Nothing to fill, and finding that out layer by layer takes longer than building the network.
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, SlimResidual):
                module.conv2.weight.data.mul_(0.3)
            elif isinstance(module, SlimDepthwise):
                module.project.weight.data.mul_(0.3)
        for move in self.moves.values():
            if isinstance(move, nn.Conv2d):  # an up-slot: no ReLU follows that would halve the power
                move.weight.data.mul_(0.5**0.5)
        self.last.weight.data.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Restore; see `Network`."""
        features = weighted_sum(self._ends(self.tree.root, self.first(x), self.exits.active()))
        raw: Tensor = self.shuffle(self.last(features))
        restored: Tensor = self.enlarge(x) + raw if self.squash is None else self.squash(raw)
        return restored

    def _ends(self, node: str, features: Tensor, weights: Mapping[str, Weight]) -> Iterator[tuple[Weight, Tensor]]:
        """The weighted feature maps of the active exits from `node` on; what leads to none of them is not computed."""
        features = self.moves[node](features)
        if node in weights:
            yield weights[node], features
        for child in self.tree.children(node):
            if any(active.startswith(child) for active in weights):
                yield from self._ends(child, features, weights)


def _move(config: TrilevelConfig, node: str, site: Site) -> nn.Module:
    """The layers of the last move on the way to a node."""
    if node.endswith(CELL):
        return Cell(config, node, site)
    return make_operation(UP_OPERATION, config.channels, config.channels)

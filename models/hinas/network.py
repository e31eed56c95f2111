"""The network of HiNAS: stem, layers of cells at several widths, decoder. Full resolution throughout."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from models.hinas.cell import Cell
from models.hinas.config import MOVES, STEM, HiNASConfig
from models.hinas.flow import Step, flow, two_steps
from models.mixed import Weight, weighted_sum
from models.network import Network
from models.operations.preactivated import SLOPE, PointwiseNorm, SeparableHalf
from models.site import Branches, Site
from models.upscale import BicubicPhases

Outputs = Mapping[int, Tensor]
"""Level -> (N, C of that level, H, W)."""


class Layer(nn.Module):
    """The cells of one layer at every level that is reached, and the projections of their two inputs.

    Args:
        config: Sizes.
        layer: From 1.
        older: Steps over two layers that end here; each has a projection of its own.
        newer: Steps from the layer before; likewise.
        site: Where the operations come from.
    """

    def __init__(
        self, config: HiNASConfig, layer: int, older: Iterable[Step], newer: Iterable[Step], site: Site
    ) -> None:
        super().__init__()

        def project(source: int, step: Step) -> nn.Module:
            return PointwiseNorm(config.output_width(source, step[0]), config.width(step[1]))

        self._shared = config.shared_cells
        self.older = nn.ModuleDict({_name(step): project(layer - 2, step) for step in older})
        newer = sorted(newer)
        self.newer = nn.ModuleDict({_name(step): project(layer - 1, step) for step in newer})
        self.cells = nn.ModuleDict()
        for step in newer:
            name = self._cell(step)
            if name not in self.cells:
                self.cells[name] = Cell(config, layer, step[1], site)

    def _cell(self, step: Step) -> str:
        return str(step[1]) if self._shared else _name(step)

    def forward(
        self, older: Outputs, newer: Outputs, two: Mapping[Step, Weight], one: Mapping[Step, Weight]
    ) -> dict[int, Tensor]:
        """Outputs at every level that is reached.

        Args:
            older: Outputs of the layer before the last.
            newer: Outputs of the last layer.
            two: Shares of the steps over two layers.
            one: Shares of the steps from the last layer.
        """
        outputs: dict[int, Tensor] = {}
        for level in sorted({after for _, after in one}):
            first = weighted_sum(
                (share, self.older[_name(step)](older[step[0]])) for step, share in two.items() if step[1] == level
            )
            routed = {step: self.newer[_name(step)](newer[step[0]]) for step in one if step[1] == level}
            if self._shared:
                second = weighted_sum((one[step], x) for step, x in routed.items())
                outputs[level] = self.cells[str(level)](first, second)
            else:
                outputs[level] = weighted_sum((one[s], self.cells[_name(s)](first, x)) for s, x in routed.items())
        return outputs


class HiNAS(Network):
    """Stem, layers, decoder, residual.

    The prediction is what is wrong with the image and is subtracted (scale 1), or what its bicubic enlargement lacks
    and is added (super-resolution).
    """

    def __init__(self, config: HiNASConfig, site: Site) -> None:
        super().__init__()
        self.scale = config.scale
        self.multiple = 1
        hidden, (near, far) = config.stem_channels, config.decoder
        self.stem = nn.Sequential(
            nn.Conv2d(3, hidden, 3, padding=1, bias=False), nn.BatchNorm2d(hidden), nn.LeakyReLU(SLOPE)
        )
        self.widen = nn.Conv2d(hidden, config.output_width(STEM, 0), 3, padding=1)
        self._routes: list[dict[int, Branches]] = []
        self.layers = nn.ModuleList()
        reached, before = {0}, {(0, 0)}
        for layer in range(1, config.layers + 1):
            routes = {h: site.branches(config.route(layer - 1, h), "route", config.moves(h)) for h in sorted(reached)}
            steps = {(level, level + MOVES[move]) for level, branches in routes.items() for move in branches.names}
            older = {(start, end) for start, middle in before for same, end in steps if middle == same}
            self.layers.append(Layer(config, layer, sorted(older), steps, site))
            self._routes.append(routes)
            reached, before = {after for _, after in steps}, steps
        self.near = PointwiseNorm(config.output_width(STEM, 0), near)
        self.far = nn.ModuleDict(
            {str(level): PointwiseNorm(config.output_width(config.layers, level), far) for level in sorted(reached)}
        )
        self.decoder = nn.Sequential(
            SeparableHalf(near + far, far, 3), nn.LeakyReLU(SLOPE), SeparableHalf(far, far, 3), nn.LeakyReLU(SLOPE)
        )
        self.tail = nn.Conv2d(far, 3 * config.scale**2, 3, padding=1)
        self.leave = nn.PixelShuffle(config.scale) if config.scale > 1 else nn.Identity()
        self.enlarge = (
            nn.Sequential(BicubicPhases(3, config.scale), nn.PixelShuffle(config.scale)) if config.scale > 1 else None
        )
        self._initialise()

    def _initialise(self) -> None:
        """Weights that keep the scale of what passes, and a damped tail: the first steps start near the input image."""
        for module in self.modules():
            # On the meta device there is nothing to fill, and drawing it would take longer than all the rest.
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, a=SLOPE, nonlinearity="leaky_relu")
        for parameter in self.tail.parameters():
            parameter.data.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Restore; see `Network`."""
        stem = self.stem(x)
        start = self.widen(stem)
        older: Outputs = {0: stem}
        newer: Outputs = {0: start}
        occupancy: dict[int, Weight] = {0: 1.0}
        before: dict[Step, Weight] = {(0, 0): 1.0}
        for layer, routes in zip(self.layers, self._routes, strict=True):
            active = {
                (level, level + MOVES[move]): weight
                for level in occupancy
                for move, weight in routes[level].active().items()
            }
            occupancy, shares = flow(occupancy, active)
            older, newer = newer, layer(older, newer, two_steps(before, shares), shares)
            before = shares
        last = weighted_sum((weight, self.far[str(level)](newer[level])) for level, weight in occupancy.items())
        predicted: Tensor = self.leave(self.tail(self.decoder(torch.cat([self.near(start), last], 1))))
        return x - predicted if self.enlarge is None else self.enlarge(x) + predicted


def _name(step: Step) -> str:
    return f"{step[0]}_to_{step[1]}"

"""A multi-scale trunk with searched attention cells: the MANAS space.

Cai et al., "Multi-scale Attentive Image De-raining Networks via Neural Architecture Search", TCSVT 2023. The trunk is
CLEARER's (`models.multiscale`); behind each stage every scale passes an attention cell whose edges pick among nine
gates (`models.operations.gates`, and nothing or the input as it is). At the published sizes: 12 columns, 9 cells, 27
edges, 2^12 x 9^27 networks, of 4.68 M (fusion and free edges) to 9.23 M parameters. There is no global residual, as
in the released code. Cells start with the weights that torch draws; the trunk starts as CLEARER's, which the released
code defines and does not call. Enlarging and `residual=True` are ours, as in CLEARER.

Every gate maps zeros to zeros: where all edges into the first sum are `none`, what the edge from it picks makes no
difference (its time is still paid).

Not taken over from the released code: 128 modules allocated in stage 3, of which 4 are used; derived networks in which
every cell of a stage obeys the same three picks, and 18 of 27 are lost; all nine candidates built at every derived
edge; complexity weights in another order than the candidates. Here every edge is a choice of its own and a derived
network holds what was picked.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from models.cost import Carrier, CostTerm, OpKey, when
from models.diagram import Box, Diagram, Link, picked
from models.mixed import weighted_sum
from models.multiscale import (
    MultiScaleNetwork,
    TrunkConfig,
    module_carriers,
    module_reference,
    module_terms,
    plan_stages,
)
from models.multiscale_diagram import CellPicture, Cells, trunk_diagram
from models.network import Network
from models.operations import OPERATIONS, make_operation
from models.operations.basic import Nothing
from models.operations.gates import ChannelGate, hidden_units
from models.operations.scales import scale_channels
from models.site import Site
from models.space import Space

GATES = (
    "none",
    "skip",
    "separable_gate3x3",
    "dilated_gate3x3",
    "spatial_separable3x3",
    "spatial_dilated3x3",
    "squeeze_excitation4",
    "squeeze_excitation4_peaks",
    "cbam4",
)
REFERENCE_GATE = "skip"
GATE_WIDTH, GATE_PITCH = 1.35, 1.65
"""Columns of a gate in a picture, and from one to the next."""
LAST_REDUCTION = 16
LAST_HIDDEN = 2
"""Hidden units of the closing gate, at least: as many as at the published 32 channels."""


class ManasConfig(TrunkConfig):
    """Sizes and candidates.

    Attributes:
        groups: Groups of channels in a cell, and sums made of them.
        attentions: Candidates of every edge.
    """

    groups: int = Field(default=2, ge=1)
    attentions: tuple[str, ...] = GATES

    @field_validator("attentions")
    @classmethod
    def _gates(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        allowed = [name for name, operation in OPERATIONS.items() if operation.kind in ("attention", "nothing")]
        if not names or not set(names) <= set(allowed) or len(set(names)) != len(names):
            raise ValueError(f"attentions must be some of {', '.join(allowed)}, each once; got {names}")
        return names

    @model_validator(mode="after")
    def _whole_groups(self) -> "ManasConfig":
        if self.channels % self.groups:
            raise ValueError(f"channels must be a multiple of groups, got {self.channels} and {self.groups}")
        return self


@dataclass(frozen=True)
class EdgePlan:
    """An edge of the cells: its number, the sum that it adds to, and the earlier sum it comes from (None: a group)."""

    number: int
    into: int
    source: int | None


def plan_edges(groups: int) -> Iterator[EdgePlan]:
    """The edges of a cell: into sum i come group i and the sums before it."""
    number = 0
    for into in range(groups):
        for source in (None, *range(into)):
            yield EdgePlan(number, into, source)
            number += 1


class AttentionCell(nn.Module):
    """(N, C, H, W) -> (N, C, H, W), from G groups F of C / G channels each.

    `U_i = sum over s in F_i, U_0 .. U_i-1 of edge(s)`; beside the U stands the channel-gated sum of all groups. Two 1x1
    convolutions mix them, the input is added, and a channel gate closes the cell.
    """

    def __init__(self, config: ManasConfig, prefix: str, channels: int, site: Site) -> None:
        super().__init__()
        self.plan = tuple(plan_edges(config.groups))
        self.width = width = channels // config.groups
        self.edges = nn.ModuleList(
            site.operation(f"{prefix}.edge{edge.number}", config.attentions, width, width) for edge in self.plan
        )
        self.squeeze_groups = ChannelGate(width, hidden_units(width))
        self.mix = nn.Sequential(
            nn.Conv2d(width * (config.groups + 1), channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.squeeze_all = ChannelGate(channels, max(LAST_HIDDEN, channels // LAST_REDUCTION))

    def forward(self, x: Tensor) -> Tensor:
        """Weigh what the groups hold."""
        groups = torch.split(x, self.width, 1)
        sums: list[Tensor] = []
        for into, group in enumerate(groups):
            # An edge that was derived as nothing is left out instead of adding zeros.
            parts = [
                edge(group if plan.source is None else sums[plan.source])
                for plan, edge in zip(self.plan, self.edges, strict=True)
                if plan.into == into and not isinstance(edge, Nothing)
            ]
            sums.append(weighted_sum((1.0, part) for part in parts) if parts else torch.zeros_like(group))
        whole = self.squeeze_groups(weighted_sum((1.0, group) for group in groups))
        closed: Tensor = self.squeeze_all(x + self.mix(torch.cat((*sums, whole), 1)))
        return closed


def gate_choices(config: ManasConfig) -> Iterator[tuple[str, int, int]]:
    """(choice id, channels, divisor) of every edge of every cell."""
    for plan in plan_stages(config):
        for branch, channels in enumerate(scale_channels(config.channels, plan.branches)):
            for edge in plan_edges(config.groups):
                yield f"{plan.name}.branch{branch}.edge{edge.number}", channels // config.groups, 2**branch


class ManasSpace(Space[ManasConfig]):
    """Columns of parallel or fusion modules, and behind each stage on every scale a cell of searched gates."""

    name = "manas"
    version = 1
    summary = "parallel scales, kept apart or fused column by column, with searched attention behind each stage"
    examples = (
        {"channels": 8, "stages": (2,), "modules": 1, "bottlenecks": 1, "scale": 1},
        {
            "channels": 4,
            "stages": (2, 3),
            "modules": 1,
            "bottlenecks": 1,
            "expansion": 2,
            "scale": 1,
            "residual": True,
            "attentions": ("skip", "dilated_gate3x3", "squeeze_excitation4"),
        },
        {"channels": 8, "stages": (2,), "modules": 1, "bottlenecks": 1, "scale": 2, "groups": 1},
        {"channels": 8, "stages": (2,), "modules": 2, "bottlenecks": 1, "scale": 4, "attentions": ("skip", "cbam4")},
    )
    config_type = ManasConfig

    def network(self, config: ManasConfig, site: Site) -> Network:
        """Build against a site; see `Space`."""

        def attend(prefix: str, channels: int) -> nn.Module:
            return AttentionCell(config, prefix, channels, site)

        return MultiScaleNetwork(config, site, attend)

    def cost_terms(self, config: ManasConfig) -> tuple[CostTerm, ...]:
        """Modules as wholes, and each gate of each edge that costs anything."""
        gates = tuple(
            CostTerm(OpKey(name, channels, channels, divisor), when(choice_id, name, len(config.attentions)))
            for choice_id, channels, divisor in gate_choices(config)
            for name in config.attentions
            if not OPERATIONS[name].free
        )
        return module_terms(config) + gates

    def carriers(self, config: ManasConfig) -> tuple[Carrier, ...]:
        """Modules and gates, each alone."""
        gates: dict[OpKey, Carrier] = {}
        for term in self.cost_terms(config):
            key = term.key
            if OPERATIONS[key.operation].branches == 1:
                make = partial(make_operation, key.operation, key.in_channels, key.out_channels)
                gates.setdefault(key, Carrier((key,), key.in_channels, key.divisor, make))
        return module_carriers(config) + tuple(gates.values())

    def reference_picks(self, config: ManasConfig) -> dict[str, str]:
        """Parallel and fusion by turns; edges hand their input on where the config offers that."""
        gate = REFERENCE_GATE if REFERENCE_GATE in config.attentions else config.attentions[-1]
        edges = {choice_id: gate for choice_id, _, _ in gate_choices(config) if len(config.attentions) > 1}
        return module_reference(config) | edges

    def diagram(self, config: ManasConfig, picks: Mapping[str, str]) -> Diagram:
        """Scales and columns, and the gates of every cell: below each other the sums, beside each other their edges."""

        def picture(prefix: str, channels: int, column: float, row: float) -> CellPicture:
            boxes, links = [], []
            for edge in plan_edges(config.groups):
                choice = f"{prefix}.edge{edge.number}"
                name, pairs = picked(picks, choice, config.attentions)
                beside = 0 if edge.source is None else edge.source + 1
                detail = f"{channels // config.groups} ch"
                place = column + GATE_PITCH * beside, row + edge.into
                boxes.append(
                    Box(choice, *place, name, name, detail, width=GATE_WIDTH, part=name != "none", picks=pairs)
                )
                if edge.source is not None:
                    # The last edge into the sum that this one comes from stands for that sum.
                    last = max(other.number for other in plan_edges(config.groups) if other.into == edge.source)
                    links.append(Link(f"{prefix}.edge{last}", choice, part=name != "none"))
            return CellPicture(tuple(boxes), tuple(links))

        width = GATE_PITCH * (config.groups - 1) + GATE_WIDTH
        return trunk_diagram(config, picks, Cells(width, config.groups, picture, config.attentions))

    def task_config(self, scale: int) -> dict[str, Any]:
        """The scale alone."""
        return {"scale": scale}


SPACE = ManasSpace()

"""The multi-scale trunk of CLEARER and MANAS: parallel scales, in columns that keep them apart or fuse them.

Gou et al., "CLEARER: Multi-Scale Neural Architecture Search for Image Restoration", NeurIPS 2020, with the layers of
the released code: bottlenecks at full resolution, then stages of 2, 3 and 4 scales, each entered through a fixed
transition and made of columns that are one module each, parallel or fusion; at the end all scales are fused into the
finest, from which a 1x1 convolution makes the image. Batch normalisation follows every convolution but that last one.

The paper restores grey images. Images here have three colours, which adds 2 x 160 parameters to the first bottleneck
and 2 x 32 to the last convolution at the published sizes. Enlarging (`scale` > 1) is not in the paper: the last
convolution then makes the phases of a pixel shuffle, to which a bicubic enlargement is added.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import Tensor, nn

from models.cost import Carrier, CostTerm, OpKey
from models.network import Network
from models.operations import make_operation
from models.operations.scales import BRANCHES, FuseInto, convolution_norm, scale_channels
from models.site import Site
from models.space import SpaceConfig
from models.upscale import BicubicPhases

INITIAL_SPREAD = 0.001
"""Standard deviation of the convolutions' first weights in CLEARER's released code."""


class TrunkConfig(SpaceConfig):
    """Sizes of the trunk; the defaults are the published ones.

    Attributes:
        channels: Channels of the finest scale; they double where the resolution halves.
        stages: Scales of each searched stage: 2 in the first, then as many as before or one more, at most 4.
        modules: Modules in each stage, one after the other.
        bottlenecks: Bottleneck blocks in front of the first transition.
        expansion: Channels out of a bottleneck over its inner width, which is `channels`.
        residual: Networks of scale 1 predict a difference to their input (the papers' predict the image). Networks
            that enlarge always add to a bicubic enlargement.
    """

    channels: int = Field(default=32, ge=1)
    stages: tuple[int, ...] = BRANCHES
    modules: int = Field(default=4, ge=1)
    bottlenecks: int = Field(default=2, ge=1)
    expansion: int = Field(default=4, ge=1)
    residual: bool = False

    @field_validator("stages")
    @classmethod
    def _growing(cls, stages: tuple[int, ...]) -> tuple[int, ...]:
        steps = [after - before for before, after in pairwise(stages)]
        if not stages or stages[0] != BRANCHES[0] or stages[-1] > BRANCHES[-1] or any(s not in (0, 1) for s in steps):
            raise ValueError(
                f"stages must start with {BRANCHES[0]} scales and grow by at most one each, up to {BRANCHES[-1]}; "
                f"got {stages}"
            )
        return stages


@dataclass(frozen=True)
class StagePlan:
    """A searched stage: the prefix of its choices' ids, its number of scales, and the channels that enter it."""

    name: str
    branches: int
    entering: tuple[int, ...]


def plan_stages(config: TrunkConfig) -> Iterator[StagePlan]:
    """All searched stages in the order of the forward pass; the bottlenecks are stage 1."""
    entering: tuple[int, ...] = (config.channels * config.expansion,)
    for number, branches in enumerate(config.stages, start=2):
        yield StagePlan(f"stage{number}", branches, entering)
        entering = scale_channels(config.channels, branches)


def module_names(branches: int) -> tuple[str, str]:
    """The candidates of a column on so many scales."""
    return f"parallel{branches}", f"fusion{branches}"


def column_choices(config: TrunkConfig) -> Iterator[tuple[str, tuple[str, str]]]:
    """(choice id, candidates) of every column."""
    for plan in plan_stages(config):
        for number in range(config.modules):
            yield f"{plan.name}.module{number}", module_names(plan.branches)


class Bottleneck(nn.Module):
    """1x1 to `width`, 3x3, 1x1 to `out_channels`, around a shortcut: (N, in, H, W) -> (N, out, H, W)."""

    def __init__(self, in_channels: int, width: int, out_channels: int) -> None:
        super().__init__()
        self.narrow = convolution_norm(in_channels, width, 1)
        self.filter = convolution_norm(width, width, 3)
        self.widen = convolution_norm(width, out_channels, 1)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else convolution_norm(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Add the block's residual to the shortcut."""
        inner = F.relu(self.filter(F.relu(self.narrow(x))))
        return F.relu(self.widen(inner) + self.shortcut(x))


class Transition(nn.Module):
    """From the scales of one stage to those of the next.

    Scales of equal channels stay as they are, others pass a 3x3 convolution; a scale that is new comes from the
    coarsest old one by a stride-2 3x3 convolution. Both with batch normalisation and ReLU.
    """

    def __init__(self, entering: Sequence[int], leaving: Sequence[int]) -> None:
        super().__init__()
        self.paths = nn.ModuleList()
        for number, channels in enumerate(leaving):
            old = entering[min(number, len(entering) - 1)]
            if number >= len(entering):
                self.paths.append(nn.Sequential(convolution_norm(old, channels, 3, stride=2), nn.ReLU()))
            elif old != channels:
                self.paths.append(nn.Sequential(convolution_norm(old, channels, 3), nn.ReLU()))
            else:
                self.paths.append(nn.Identity())

    def forward(self, scales: Sequence[Tensor]) -> list[Tensor]:
        """A new list, at most one scale longer."""
        return [path(scales[min(number, len(scales) - 1)]) for number, path in enumerate(self.paths)]


Attend = Callable[[str, int], nn.Module]
"""(prefix of choice ids, channels) -> what follows a stage on one of its scales: (N, C, h, w) -> (N, C, h, w)."""


class Stage(nn.Module):
    """Transition, columns, and on each scale whatever `attend` makes."""

    def __init__(self, config: TrunkConfig, plan: StagePlan, site: Site, attend: Attend | None) -> None:
        super().__init__()
        channels = scale_channels(config.channels, plan.branches)
        self.transition = Transition(plan.entering, channels)
        self.columns = nn.ModuleList(
            site.operation(choice_id, candidates, config.channels, config.channels)
            for choice_id, candidates in column_choices(config)
            if choice_id.startswith(f"{plan.name}.")
        )
        self.attention = nn.ModuleList()
        if attend is not None:
            self.attention.extend(attend(f"{plan.name}.branch{n}", width) for n, width in enumerate(channels))

    def forward(self, scales: Sequence[Tensor]) -> list[Tensor]:
        """The stage's scales, finest first."""
        found: list[Tensor] = self.transition(scales)
        for column in self.columns:
            found = column(found)
        if not self.attention:
            return found
        return [attention(scale) for attention, scale in zip(self.attention, found, strict=True)]


class MultiScaleNetwork(Network):
    """The trunk as a network; see `Network` for what goes in and out."""

    def __init__(self, config: TrunkConfig, site: Site, attend: Attend | None = None) -> None:
        super().__init__()
        self.scale = config.scale
        self.multiple = 2 ** (config.stages[-1] - 1)
        wide = config.channels * config.expansion
        self.bottlenecks = nn.Sequential(
            *(Bottleneck(wide if n else 3, config.channels, wide) for n in range(config.bottlenecks))
        )
        self.stages = nn.ModuleDict({plan.name: Stage(config, plan, site, attend) for plan in plan_stages(config)})
        self.fuse = FuseInto(scale_channels(config.channels, config.stages[-1]), target=0)
        self.tail = nn.Conv2d(config.channels, 3 * config.scale**2, 1, bias=False)
        self.leave = nn.PixelShuffle(config.scale) if config.scale > 1 else nn.Identity()
        self.base: nn.Module | None = None
        if config.scale > 1:
            self.base = nn.Sequential(BicubicPhases(3, config.scale), nn.PixelShuffle(config.scale))
        elif config.residual:
            self.base = nn.Identity()
        self._initialise()

    def _initialise(self) -> None:
        """The trunk's convolutions as in CLEARER; what `attend` made keeps the weights that it came with."""
        trunk: list[nn.Module] = [self.bottlenecks, self.fuse, self.tail]
        for stage in self.stages.values():
            trunk += [stage.get_submodule("transition"), stage.get_submodule("columns")]
        for part in trunk:
            for module in part.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.normal_(module.weight, std=INITIAL_SPREAD)

    def forward(self, x: Tensor) -> Tensor:
        """Restore; see `Network`."""
        scales: list[Tensor] = [self.bottlenecks(x)]
        for stage in self.stages.values():
            scales = stage(scales)
        restored: Tensor = self.leave(self.tail(self.fuse(scales)))
        return restored if self.base is None else self.base(x) + restored


def module_terms(config: TrunkConfig) -> tuple[CostTerm, ...]:
    """A term for each candidate of each column: a module is priced whole, at the resolution of its finest scale."""
    return tuple(
        CostTerm(OpKey(name, config.channels, config.channels, 1), ((choice_id, (name,)),))
        for choice_id, candidates in column_choices(config)
        for name in candidates
    )


def module_carriers(config: TrunkConfig) -> tuple[Carrier, ...]:
    """Each module alone, for each number of scales."""
    channels = config.channels
    return tuple(
        Carrier(
            (OpKey(name, channels, channels, 1),), channels, 1, partial(make_operation, name, channels, channels), n
        )
        for n in sorted(set(config.stages))
        for name in module_names(n)
    )


def module_reference(config: TrunkConfig) -> dict[str, str]:
    """Parallel and fusion by turns."""
    return {choice: candidates[n % 2] for n, (choice, candidates) in enumerate(column_choices(config))}

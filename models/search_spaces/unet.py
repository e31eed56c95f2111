"""U-shaped network of residual (squeeze-excitation) blocks: the AutoDerain space.

Fu, Hou and Chen, "AutoDerain: Memory-efficient Neural Architecture Search for Image Deraining", VCIP 2021, search the
convolution type and the use of squeeze-excitation in each residual block of a U-shaped derainer. The paper's body is
not public; everything beyond that sentence is our reconstruction: the macro layout, the five convolutions, and the
width choice (config `widths=(1.0,)` switches it off and leaves the 5 x 5 x 2 choices per block).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from models.cost import Carrier, CostTerm, OpKey, when
from models.diagram import Diagram
from models.network import Network
from models.operations import OPERATIONS
from models.site import DerivedSite, Site
from models.space import Space, SpaceConfig
from models.unet_diagram import unet_diagram
from models.upscale import BicubicPhases

REFERENCE_CONVOLUTION = "conv3x3"
FREE_ATTENTION = "identity"
CHANNEL_STEP = 8
"""Widths are rounded to a multiple of this, at least one: vector units idle on anything finer."""


class UNetConfig(SpaceConfig):
    """Sizes and candidates.

    Attributes:
        channels: Channels per level; each further level halves height and width.
        blocks: Residual blocks per level on the way down, and again on the way up.
        widths: Candidate inner widths of a block, as fractions of the level's channels.
        convolutions: Candidate convolutions.
        attentions: Candidate attentions after the second convolution.
        unshuffle: Factor of the pixel-unshuffle at the entry (1 = none): the full-resolution part of the work
            shrinks by its square. Undone by the pixel-shuffle at the exit.
    """

    channels: tuple[int, ...] = (32, 64, 128)
    blocks: int = Field(default=2, ge=1)
    widths: tuple[float, ...] = (0.5, 1.0)
    convolutions: tuple[str, ...] = ("conv3x3", "conv5x5", "separable3x3", "separable5x5", "dilated3x3")
    attentions: tuple[str, ...] = ("identity", "squeeze_excitation")
    unshuffle: int = Field(default=2, ge=1)

    @field_validator("convolutions", "attentions")
    @classmethod
    def _registered(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in OPERATIONS]
        if unknown or not names:
            raise ValueError(f"unknown operations {unknown}; known: {', '.join(OPERATIONS)}")
        return names

    @model_validator(mode="after")
    def _sizes(self) -> "UNetConfig":
        uncut = [name for name in self.convolutions if not OPERATIONS[name].cuttable]
        if uncut and len(self.widths) > 1:
            raise ValueError(f"{', '.join(uncut)} cannot be cut to a searched width; search one width, (1.0,)")
        if not self.channels or any(c <= 0 or c % CHANNEL_STEP for c in self.channels):
            raise ValueError(f"channels must be positive multiples of {CHANNEL_STEP}, got {self.channels}")
        if not self.widths or any(not 0 < w <= 1 for w in self.widths) or list(self.widths) != sorted(set(self.widths)):
            raise ValueError(f"widths must be ascending fractions in (0, 1], got {self.widths}")
        return self

    def block_widths(self, channels: int) -> tuple[int, ...]:
        """Candidate inner widths at a level, ascending, without repeats."""
        rounded = (max(CHANNEL_STEP, round(channels * w / CHANNEL_STEP) * CHANNEL_STEP) for w in self.widths)
        return tuple(sorted(set(rounded)))


@dataclass(frozen=True)
class BlockPlan:
    """Where a block stands: the prefix of its choices' ids, its channels and its resolution."""

    prefix: str
    channels: int
    divisor: int


def plan_blocks(config: UNetConfig) -> Iterator[BlockPlan]:
    """All blocks in the order of the forward pass: encoder, bottleneck (the last level, once), decoder."""
    last = len(config.channels) - 1

    def level(part: str, index: int) -> Iterator[BlockPlan]:
        for number in range(config.blocks):
            yield BlockPlan(f"{part}{index}.{number}", config.channels[index], config.unshuffle * 2**index)

    for index in range(last):
        yield from level("encoder", index)
    yield from level("bottleneck", last)
    for index in reversed(range(last)):
        yield from level("decoder", index)


class ResidualBlock(nn.Module):
    """`y = x + attention(conv2(relu(conv1(x))))`: (N, C, h, w) -> (N, C, h, w)."""

    def __init__(self, config: UNetConfig, plan: BlockPlan, site: Site) -> None:
        super().__init__()
        channels = plan.channels
        width = site.width(f"{plan.prefix}.width", config.block_widths(channels))
        self.conv1 = site.operation(f"{plan.prefix}.conv1", config.convolutions, channels, width.channels)
        self.mask = width.mask
        self.conv2 = site.operation(f"{plan.prefix}.conv2", config.convolutions, width.channels, channels)
        self.attention = site.operation(f"{plan.prefix}.attention", config.attentions, channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Add the block's residual."""
        residual: Tensor = self.attention(self.conv2(self.mask(F.relu(self.conv1(x)))))
        return x + residual


class UNet(Network):
    """Head, encoder, bottleneck, decoder with additive skips, pixel-shuffle tail, global residual.

    The residual is added to the input (scale 1) or to its bicubic enlargement (super-resolution).
    """

    def __init__(self, config: UNetConfig, site: Site) -> None:
        super().__init__()
        levels = len(config.channels)
        first = config.channels[0]
        self.scale = config.scale
        self.multiple = config.unshuffle * 2 ** (levels - 1)
        self.enter = nn.PixelUnshuffle(config.unshuffle) if config.unshuffle > 1 else nn.Identity()
        self.head = nn.Conv2d(3 * config.unshuffle**2, first, 3, padding=1)
        blocks = {plan.prefix: ResidualBlock(config, plan, site) for plan in plan_blocks(config)}

        def stage(part: str, index: int) -> nn.Sequential:
            return nn.Sequential(*(blocks[f"{part}{index}.{number}"] for number in range(config.blocks)))

        pairs = list(zip(config.channels, config.channels[1:], strict=False))
        self.encoder = nn.ModuleList(stage("encoder", index) for index in range(levels - 1))
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairs)
        self.bottleneck = stage("bottleneck", levels - 1)
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(coarse, 4 * fine, 1), nn.PixelShuffle(2)) for fine, coarse in pairs
        )
        self.decoder = nn.ModuleList(stage("decoder", index) for index in range(levels - 1))
        factor = config.unshuffle * config.scale
        self.tail = nn.Conv2d(first, 3 * factor**2, 3, padding=1)
        self.leave = nn.PixelShuffle(factor) if factor > 1 else nn.Identity()
        self.enlarge = (
            nn.Sequential(BicubicPhases(3, config.scale), nn.PixelShuffle(config.scale))
            if config.scale > 1
            else nn.Identity()
        )
        self._initialise()

    def _initialise(self) -> None:
        """Damped residual branches and tail: without, features grow with every block and the first steps with them."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, ResidualBlock):
                for layer in module.conv2.modules():
                    if isinstance(layer, nn.Conv2d) and layer.groups == 1:
                        layer.weight.data.mul_(0.3)
        self.tail.weight.data.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Restore; see `Network`."""
        features = self.head(self.enter(x))
        skips: list[Tensor] = []
        for encode, down in zip(self.encoder, self.down, strict=True):
            features = encode(features)
            skips.append(features)
            features = down(features)
        features = self.bottleneck(features)
        for index in reversed(range(len(skips))):
            features = self.decoder[index](self.up[index](features) + skips[index])
        residual: Tensor = self.leave(self.tail(features))
        enlarged: Tensor = self.enlarge(x)
        return enlarged + residual


class UNetSpace(Space[UNetConfig]):
    """Residual blocks whose convolutions, inner width and attention are searched, in a U-shape."""

    name = "unet"
    version = 1
    summary = "U-shape of residual blocks: convolution type, inner width and squeeze-excitation searched per block"
    examples = (
        {"channels": (16, 24), "blocks": 1, "scale": 1, "unshuffle": 2},
        {"channels": (16, 24), "blocks": 1, "scale": 2, "unshuffle": 1},
        {"channels": (8, 16, 24), "blocks": 1, "scale": 4, "unshuffle": 1},
        {"channels": (16,), "blocks": 2, "scale": 1, "unshuffle": 1, "widths": (1.0,)},
    )
    config_type = UNetConfig

    def network(self, config: UNetConfig, site: Site) -> Network:
        """Build against a site; see `Space`."""
        return UNet(config, site)

    def cost_terms(self, config: UNetConfig) -> tuple[CostTerm, ...]:
        """Both convolutions at each width, and attention, of each block."""
        terms: list[CostTerm] = []
        for plan in plan_blocks(config):
            channels, divisor = plan.channels, plan.divisor
            widths = config.block_widths(channels)
            for width in widths:
                wide = when(f"{plan.prefix}.width", str(width), len(widths))
                for name in config.convolutions:
                    for part, key in (
                        ("conv1", OpKey(name, channels, width, divisor)),
                        ("conv2", OpKey(name, width, channels, divisor)),
                    ):
                        picked = when(f"{plan.prefix}.{part}", name, len(config.convolutions))
                        terms.append(CostTerm(key, picked + wide))
            for name in config.attentions:
                if name == FREE_ATTENTION:
                    continue
                picked = when(f"{plan.prefix}.attention", name, len(config.attentions))
                terms.append(CostTerm(OpKey(name, channels, channels, divisor), picked))
        return tuple(terms)

    def carriers(self, config: UNetConfig) -> tuple[Carrier, ...]:
        """Whole residual blocks: each candidate once beside the reference convolution."""
        reference = _preferred(REFERENCE_CONVOLUTION, config.convolutions)
        plain = _preferred(FREE_ATTENTION, config.attentions)
        found: dict[tuple[OpKey, ...], Carrier] = {}
        for plan in plan_blocks(config):
            for width in config.block_widths(plan.channels):
                pairs = [(name, reference) for name in config.convolutions]
                if width != plan.channels:
                    pairs += [(reference, name) for name in config.convolutions]
                for first, second in pairs:
                    carrier = _carrier(config, plan, width, first, second, plain)
                    found.setdefault(carrier.keys, carrier)
            widest = config.block_widths(plan.channels)[-1]
            for attention in config.attentions:
                carrier = _carrier(config, plan, widest, reference, reference, attention)
                found.setdefault(carrier.keys, carrier)
        return tuple(found.values())

    def diagram(self, config: UNetConfig, picks: Mapping[str, str]) -> Diagram:
        """The blocks in their U."""
        return unet_diagram(config, picks, tuple(plan_blocks(config)))

    def task_config(self, scale: int) -> dict[str, Any]:
        """Enlarging works on few pixels already; only same-size tasks fold pixels into channels at the entry."""
        return {"scale": scale, "unshuffle": 1 if scale > 1 else 2}

    def reference_picks(self, config: UNetConfig) -> dict[str, str]:
        """Reference convolution, widest width and no attention, wherever the config offers them."""
        picks = {}
        for choice_id, names in self.candidates(config).items():
            wanted = [name for name in (REFERENCE_CONVOLUTION, FREE_ATTENTION) if name in names]
            picks[choice_id] = wanted[0] if wanted else names[-1]
        return picks


def _preferred(name: str, candidates: tuple[str, ...]) -> str:
    return name if name in candidates else candidates[0]


def _carrier(config: UNetConfig, plan: BlockPlan, width: int, conv1: str, conv2: str, attention: str) -> Carrier:
    """One residual block with everything picked."""
    channels, divisor = plan.channels, plan.divisor
    keys: tuple[OpKey, ...] = (OpKey(conv1, channels, width, divisor), OpKey(conv2, width, channels, divisor))
    if attention != FREE_ATTENTION:
        keys += (OpKey(attention, channels, channels, divisor),)
    unit = BlockPlan("unit", channels, divisor)
    picks = {
        choice_id: picked
        for choice_id, picked, candidates in (
            ("unit.width", str(width), config.block_widths(channels)),
            ("unit.conv1", conv1, config.convolutions),
            ("unit.conv2", conv2, config.convolutions),
            ("unit.attention", attention, config.attentions),
        )
        if len(candidates) > 1
    }
    return Carrier(keys, channels, divisor, lambda: ResidualBlock(config, unit, DerivedSite(picks)))


SPACE = UNetSpace()

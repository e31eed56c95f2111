"""The U-shape as a picture: levels are rows, encoder on the left, bottleneck below, decoder on the right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

from models.diagram import HEADER, Box, Diagram, Frame, Link, Way, operation_kinds, picked

if TYPE_CHECKING:  # the space imports this module
    from models.search_spaces.unet import BlockPlan, UNetConfig

BLOCK_WIDTH = 3.2
BLOCK_HEIGHT = HEADER + 1.1
PITCH = BLOCK_HEIGHT + 0.5
"""Rows from one block to the next."""
INDENT = 1.6
"""Columns by which each level moves towards the middle."""
FIRST_ROW = 2.4


def unet_diagram(config: UNetConfig, picks: Mapping[str, str], plans: tuple[BlockPlan, ...]) -> Diagram:
    """A frame for each residual block, with its two convolutions and its attention."""
    places = {plan.prefix: _place(config, plan.prefix) for plan in plans}
    frames = [
        Frame(plan.prefix, *places[plan.prefix], BLOCK_WIDTH, BLOCK_HEIGHT, f"{plan.prefix}  1/{plan.divisor}")
        for plan in plans
    ]
    boxes = [box for plan in plans for box in _block(config, picks, plan, *places[plan.prefix])]
    links = [Link(f"{plan.prefix}.{a}", f"{plan.prefix}.{b}") for plan in plans for a, b in _STEPS]
    right = places[plans[-1].prefix][0] if len(config.channels) > 1 else BLOCK_WIDTH + 1.0
    first, width = config.channels[0], BLOCK_WIDTH
    entry = f"pixel unshuffle {config.unshuffle}, " if config.unshuffle > 1 else ""
    factor = config.unshuffle * config.scale
    leave = f", pixel shuffle {factor}" if factor > 1 else ""
    boxes += [
        Box("input", 0, 0, "input", width=width, height=0.8),
        Box("head", 0, 1.1, "head", detail=f"{entry}3x3 to {first}", width=width, height=0.9),
        Box("tail", right, 1.1, "tail", detail=f"3x3 to {3 * factor**2}{leave}", width=width, height=0.9),
        Box("output", right, 0, "output", width=width, height=0.8),
    ]
    order = ["input", "head", *(plan.prefix for plan in plans), "tail", "output"]
    links += [Link(a, b, _label(a, b), way=_way(a, b)) for a, b in pairwise(order)]
    links += [
        Link(f"encoder{level}.{config.blocks - 1}", f"decoder{level}.0", "add")
        for level in range(len(config.channels) - 1)
    ]
    links.append(Link("input", "output", "add" if config.scale == 1 else "add bicubic enlargement"))
    names = (*config.convolutions, *config.attentions)
    return Diagram(tuple(boxes), tuple(links), "U-shape", tuple(frames), operation_kinds(names))


_STEPS = (("conv1", "conv2"), ("conv2", "attention"))


def _way(before: str, after: str) -> Way:
    """Out of the bottleneck, whose blocks stand below each other, a link must not cross them."""
    return "rise" if before.startswith("bottleneck") and not after.startswith("bottleneck") else "down"


def _label(before: str, after: str) -> str:
    """Where the resolution changes between blocks."""
    if "." not in before or "." not in after or before.partition(".")[0] == after.partition(".")[0]:
        return ""
    return "up x2" if after.startswith("decoder") else "down /2"


def _place(config: UNetConfig, prefix: str) -> tuple[float, float]:
    """(column, row) of a block's frame."""
    part, _, number = prefix.partition(".")
    level, block = int(part.lstrip("abcdefghijklmnopqrstuvwxyz")), int(number)
    last = len(config.channels) - 1
    middle = INDENT * last + (2.0 if last else 0.0)
    columns = {"encoder": INDENT * level, "bottleneck": middle, "decoder": 2 * middle - INDENT * level}
    kind = part.rstrip("0123456789")
    # The decoder is read upwards.
    down = config.blocks - 1 - block if kind == "decoder" else block
    return columns[kind], FIRST_ROW + PITCH * (level * config.blocks + down)


def _block(config: UNetConfig, picks: Mapping[str, str], plan: BlockPlan, column: float, row: float) -> Iterator[Box]:
    widths = tuple(str(width) for width in config.block_widths(plan.channels))
    width, shown = picked(picks, f"{plan.prefix}.width", widths)
    details = (f"{plan.channels} → {width}", f"{width} → {plan.channels}", "")
    for number, part in enumerate(("conv1", "conv2", "attention")):
        names = config.attentions if part == "attention" else config.convolutions
        choice = f"{plan.prefix}.{part}"
        name, own = picked(picks, choice, names)
        pairs = own + shown if part == "conv1" else own
        yield Box(choice, column + 0.1 + number, row + HEADER, name, name, details[number], picks=pairs)

"""The trilevel space as a picture: the tree of exits with the found one in it, and below it the found trunk.

In a cell an operation is as wide as its channels out.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise

from models.diagram import FIXED, HEADER, Box, Diagram, Frame, Kind, Link, operation_kinds, picked
from models.exit_tree import CELL, UP
from models.trilevel_network import EXIT, UP_OPERATION, TrilevelConfig

MOVE = Kind("cell", "a cell on the way through the tree")
UP_SLOT = Kind("up-slot", "an up-slot: a plain 3x3 convolution")
FULL = 2.4
"""Columns of an operation with as many channels as the trunk."""
LEAF = 0.8
"""Rows from one leaf of the tree to the next."""


def trilevel_diagram(config: TrilevelConfig, picks: Mapping[str, str]) -> Diagram:
    """The tree, unless it is a single node, and the trunk."""
    tree = config.tree
    found, shown = picked(picks, EXIT, tree.nodes)
    boxes: list[Box] = []
    links: list[Link] = []
    row = 0.6 if config.head == "bicubic" else 0.0
    if len(tree.nodes) > 1:
        rows = _rows(config)
        for node in tree.nodes:
            on_way = found.startswith(node)
            label, kind = ("up", UP_SLOT.name) if node.endswith(UP) else ("cell", MOVE.name)
            label = f"exit {node}" if node == found else label
            pairs = shown if node == found else ()
            column = 1.25 * (len(node) - 1)
            boxes.append(Box(f"exit.{node}", column, rows[node], label, kind, height=0.7, part=on_way, picks=pairs))
            links += [
                Link(f"exit.{node}", f"exit.{child}", part=found.startswith(child)) for child in tree.children(node)
            ]
        row += max(rows.values()) + 1.3
    trunk, steps, frames = _trunk(config, picks, found, row)
    kinds = ((MOVE, UP_SLOT) if config.ups else (MOVE,)) if len(tree.nodes) > 1 else ()
    return Diagram(
        (*boxes, *trunk),
        (*links, *steps),
        "trunk of cells",
        tuple(frames),
        (*kinds, *operation_kinds(config.operations)),
    )


def _rows(config: TrilevelConfig) -> dict[str, float]:
    """Row of each node: leaves one below the other, a node beside its first child."""
    tree = config.tree
    rows: dict[str, float] = {}
    leaves = [node for node in tree.nodes if not tree.children(node)]
    for number, leaf in enumerate(leaves):
        for node in tree.way(leaf):
            rows.setdefault(node, LEAF * number)
    return rows


def _trunk(
    config: TrilevelConfig, picks: Mapping[str, str], found: str, row: float
) -> tuple[list[Box], list[Link], list[Frame]]:
    height = HEADER + config.ops + 0.1
    middle = row + (height - 1.0) / 2
    boxes = [Box("input", 0, middle, "input", width=0.8)]
    boxes.append(Box("first", 1.05, middle, "3x3", detail=f"to {config.channels}"))
    frames: list[Frame] = []
    order = ["input", "first"]
    column = 2.3
    for node in config.tree.way(found):
        if node.endswith(CELL):
            label = f"cell {node}: add {config.residual:g} x"
            frames.append(Frame(node, column, row, FULL + 0.2, height, label))
            boxes += _cell(config, picks, node, column + 0.1, row + HEADER)
            column += FULL + 0.5
        else:
            boxes.append(Box(node, column, middle, UP_OPERATION, FIXED, "up-slot"))
            column += 1.25
        order.append(node)
    tail = f"to {3 * config.scale**2}" + (", pixel shuffle" if config.scale > 1 else "")
    boxes.append(Box("last", column, middle, "3x3", detail=tail))
    column += 1.25
    if config.head == "tanh":
        boxes.append(Box("squash", column, middle, "(tanh + 1) / 2", width=1.0))
        order += ["last", "squash", "output"]
        column += 1.25
    else:
        order += ["last", "output"]
    boxes.append(Box("output", column, middle, "output", width=0.8))
    links = [Link(a, b) for a, b in pairwise(order)]
    for frame in frames:
        links += [
            Link(f"{frame.id}.op{place}", f"{frame.id}.op{place + 1}", way="down") for place in range(config.ops - 1)
        ]
    if config.head == "bicubic":
        label = "add bicubic enlargement" if config.scale > 1 else "add"
        links.append(Link("input", "output", label, way="over", lift=middle - row + 0.4))
    return boxes, links, frames


def _cell(config: TrilevelConfig, picks: Mapping[str, str], node: str, column: float, row: float) -> Iterator[Box]:
    widths = tuple(str(width) for width in config.widths)
    before = config.channels
    for place in range(config.ops):
        name, pairs = picked(picks, f"{node}.op{place}", config.operations)
        after = config.channels
        if place < config.ops - 1:
            text, own = picked(picks, f"{node}.width{place}", widths)
            after, pairs = int(text), pairs + own
        width = FULL * after / config.channels
        left = column + (FULL - width) / 2
        yield Box(f"{node}.op{place}", left, row + place, name, name, f"{before} → {after}", width=width, picks=pairs)
        before = after

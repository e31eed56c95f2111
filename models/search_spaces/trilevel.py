"""A trunk of cells searched on three levels (path, operation, width): the trilevel space for super-resolution.

Wu, Huang et al., "Trilevel Neural Architecture Search for Efficient Single Image Super-Resolution", 2021. There is no
release of the authors; what is here follows files of a later fork and AutoGAN-Distiller, on which the paper builds.

- Network level: the first cell is fixed; what follows is a path of further cells and up-slots (a plain 3x3 convolution,
  since pixels are shuffled at the very end), and the network may end after any of its moves. Paths form a tree in which
  moves are not shared: see `models.exit_tree`. One choice, `exit`, picks the node at which the network ends, and with
  it the path.
- Cell level: `x + 0.2 * ops(x)`, where `ops` are operations in a row, each picked among four.
- Kernel level: the widths between the operations of a cell.

The paper's 8-bit candidates have weight zero in the files and are left out. Feature maps of several exits are mixed
before the tail, so there is one tail. Ours: `head="bicubic"` adds the bicubic enlargement (or, at scale 1, the input),
which the paper's squashed output does without; initial weights; and layers that cut alike in supernet and derived
network (see `models.operations.slimmable`).
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from torch import nn

from models.cost import Carrier, Condition, CostTerm, OpKey, when
from models.diagram import Diagram
from models.exit_tree import CELL, UP
from models.network import Network
from models.operations import make_operation
from models.site import Site
from models.space import Space
from models.trellis import END, START, Arc
from models.trilevel_diagram import trilevel_diagram
from models.trilevel_network import EXIT, UP_OPERATION, Trilevel, TrilevelConfig

RETURN_OPERATION = "slim_skip"
"""Brings a carrier's channels back to their number."""
REFERENCE_OPERATION = "slim_conv3x3"


class TrilevelSpace(Space[TrilevelConfig]):
    """Where the network ends in a tree of paths, the operations of its cells, and the widths between them."""

    name = "trilevel"
    version = 1
    summary = "trunk of cells: path and depth, four operations and the widths between them searched"
    examples = (
        {"scale": 4, "channels": 16, "cells": 2, "ops": 2, "ups": 1, "width_ratios": (0.5, 1.0)},
        {"scale": 2, "channels": 16, "cells": 3, "ops": 3, "ups": 0, "width_ratios": (0.5, 1.0), "head": "bicubic"},
        {"scale": 1, "channels": 16, "cells": 2, "ops": 2, "ups": 0, "width_ratios": (0.5, 1.0), "head": "bicubic"},
        {"scale": 1, "channels": 16, "cells": 1, "ops": 2, "ups": 0, "width_ratios": (0.5, 1.0)},
    )
    config_type = TrilevelConfig

    def network(self, config: TrilevelConfig, site: Site) -> Network:
        """Build against a site; see `Space`."""
        return Trilevel(config, site)

    def cost_terms(self, config: TrilevelConfig) -> tuple[CostTerm, ...]:
        """Each move, paid by all networks that end at its node or beyond."""
        tree = config.tree
        terms: list[CostTerm] = []
        for node in tree.nodes:
            # The first cell is part of every network: no condition.
            beyond = () if node == tree.root else _exit_picked(config, tree.subtree(node))
            if node.endswith(UP):
                terms.append(CostTerm(_up_key(config), beyond))
                continue
            for place, before, after in _shapes(config):
                widths = _width_picked(config, node, place - 1, before) + _width_picked(config, node, place, after)
                for name in config.operations:
                    picked = _operation_picked(config, node, place, name)
                    terms.append(CostTerm(OpKey(name, before, after, 1), beyond + picked + widths))
        return tuple(terms)

    def carriers(self, config: TrilevelConfig) -> tuple[Carrier, ...]:
        """Each row alone where it keeps its channels, else followed by a 1x1 that brings them back.

        There and back tell the sum of two ways of changing the width, not how it is shared between them, which matters
        to a cell that goes from one width to another and back by way of a third: so 1x1s also go round in threes.
        What is still open then is a price for being at a width, paid on entering and returned on leaving. It cancels
        out in every cell, because cells start and end equally wide, and likewise in the expectation.
        """
        rows = sorted({term.key for term in self.cost_terms(config)})
        chains = [_there_and_back(row) for row in rows]
        mixed = {(row.in_channels, row.out_channels) for row in rows}
        inner = [width for width in config.widths if width != config.channels]
        for first, second in itertools.combinations(inner, 2):
            if (first, second) in mixed:
                chains.append(_round_trip(config.channels, first, second))
        # A 1x1 and the 1x1 back are one sum, whichever comes first.
        unique = {tuple(sorted(keys)): keys for keys in reversed(chains)}
        return tuple(_carrier(keys) for keys in reversed(unique.values()))

    def trellis(self, config: TrilevelConfig) -> tuple[Arc, ...]:
        """The tree, depth first; inside a cell a state is a width between two operations.

        Up-slots have no picks of their own, so they ride on the arc of the next decision: the exit, or the next cell.
        """
        return tuple(_arcs_from(config, config.tree.root, START, ()))

    def random_picks(self, config: TrilevelConfig, rng: np.random.Generator) -> dict[str, str]:
        """A uniformly drawn exit, then a uniform pick of each choice on the way to it.

        Not uniform over networks: nearly all of them are as deep as the tree.
        """
        nodes = config.tree.nodes
        return _picks_at(config, nodes[int(rng.integers(len(nodes)))], lambda _, n: n[int(rng.integers(len(n)))])

    def num_networks(self, config: TrilevelConfig) -> int:
        """Sum over the exits of the picks on the way there."""
        cell = len(config.operations) ** config.ops * len(config.widths) ** (config.ops - 1)
        return sum(cell ** node.count(CELL) for node in config.tree.nodes)

    def reference_picks(self, config: TrilevelConfig) -> dict[str, str]:
        """Half the cells, no up-slot, 3x3 convolutions, the middle width."""
        node = CELL * ((config.cells + 1) // 2)
        wanted = {REFERENCE_OPERATION, str(config.widths[len(config.widths) // 2])}
        return _picks_at(config, node, lambda _, names: next((name for name in names if name in wanted), names[0]))

    def diagram(self, config: TrilevelConfig, picks: Mapping[str, str]) -> Diagram:
        """The exit in the tree, and the trunk that leads there."""
        return trilevel_diagram(config, picks)

    def task_config(self, scale: int) -> dict[str, Any]:
        """The scale alone; which head suits a task is the method's to say."""
        return {"scale": scale}

    def exit_order(self, config: TrilevelConfig) -> tuple[tuple[str, ...], ...]:
        """The exits along each complete path, from the first to the deepest.

        The paper's order loss sums the steps of the exits' raw parameters along these, which leaves the last minus
        the first of each path.
        """
        return config.tree.paths


def _shapes(config: TrilevelConfig) -> Iterator[tuple[int, int, int]]:
    """(place in the cell, channels in, channels out) of everything an operation may have to map."""
    for place, (before, after) in enumerate(itertools.pairwise(config.interfaces)):
        yield from ((place, entering, leaving) for entering in before for leaving in after)


def _width_picked(config: TrilevelConfig, node: str, place: int, channels: int) -> tuple[Condition, ...]:
    """That the width after the operation at `place` is this one; nothing where a width is no choice."""
    inner = 0 <= place < config.ops - 1
    return when(f"{node}.width{place}", str(channels), len(config.widths) if inner else 1)


def _operation_picked(config: TrilevelConfig, node: str, place: int, name: str) -> tuple[Condition, ...]:
    return when(f"{node}.op{place}", name, len(config.operations))


def _exit_picked(config: TrilevelConfig, nodes: tuple[str, ...]) -> tuple[Condition, ...]:
    return when(EXIT, nodes, len(config.tree.nodes))


def _as_picks(conditions: tuple[Condition, ...]) -> tuple[tuple[str, str], ...]:
    """Conditions on a single candidate each, as the picks that fulfil them."""
    return tuple((choice, name) for choice, (name,) in conditions)


def _up_key(config: TrilevelConfig) -> OpKey:
    return OpKey(UP_OPERATION, config.channels, config.channels, 1)


def _arcs_from(config: TrilevelConfig, node: str, source: str, ups: tuple[OpKey, ...]) -> Iterator[Arc]:
    """Into the cell at `node` from the state `source` by way of up-slots, through it, and all that follows."""
    last = config.ops - 1
    for place, before, after in _shapes(config):
        start = source if place == 0 else f"{node}.{place - 1}:{before}"
        stop = node if place == last else f"{node}.{place}:{after}"
        width = _as_picks(_width_picked(config, node, place, after))
        for name in config.operations:
            picks = _as_picks(_operation_picked(config, node, place, name)) + width
            yield Arc(start, stop, picks, (*(ups if place == 0 else ()), OpKey(name, before, after, 1)))
    children = config.tree.children
    end = node
    keys: tuple[OpKey, ...] = ()
    while True:
        yield Arc(node, END, _as_picks(_exit_picked(config, (end,))), keys)
        if end + CELL in children(end):
            yield from _arcs_from(config, end + CELL, node, keys)
        if end + UP not in children(end):
            return
        end, keys = end + UP, (*keys, _up_key(config))


def _picks_at(config: TrilevelConfig, exit_node: str, pick: Callable[[str, tuple[str, ...]], str]) -> dict[str, str]:
    """The exit, and what `pick(choice, candidates)` says for each choice of the cells on the way there."""
    picks = dict(_as_picks(_exit_picked(config, (exit_node,))))
    widths = tuple(str(width) for width in config.widths)
    for node in config.tree.way(exit_node):
        if node.endswith(UP):
            continue
        choices = {f"{node}.width{place}": widths for place in range(config.ops - 1)}
        choices |= {f"{node}.op{place}": config.operations for place in range(config.ops)}
        picks |= {choice: pick(choice, names) for choice, names in choices.items() if len(names) > 1}
    return picks


def _round_trip(*widths: int) -> tuple[OpKey, ...]:
    """1x1s from each width to the next, and from the last to the first."""
    return tuple(OpKey(RETURN_OPERATION, *pair, 1) for pair in itertools.pairwise((*widths, widths[0])))


def _there_and_back(row: OpKey) -> tuple[OpKey, ...]:
    if row.in_channels == row.out_channels:
        return (row,)
    return (row, OpKey(RETURN_OPERATION, row.out_channels, row.in_channels, row.divisor))


def _carrier(keys: tuple[OpKey, ...]) -> Carrier:
    """Rows one after the other."""

    def make() -> nn.Module:
        return nn.Sequential(*(make_operation(row.operation, row.in_channels, row.out_channels) for row in keys))

    return Carrier(keys, keys[0].in_channels, 1, make)


SPACE = TrilevelSpace()

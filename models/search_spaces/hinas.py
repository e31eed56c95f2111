"""Cells with searched operations and edges, at searched widths: the HiNAS space.

Zhang, Li, Chen et al., "Memory-Efficient Hierarchical Neural Architecture Search for Image Denoising", CVPR 2020, and
its extension to other restorations, after the released code. Height and width never change; the stem is followed by
layers, each a cell at one of three widths. In a cell every node sums one of seven operations over each of its
predecessors and keeps two of them when it is derived; between the layers a route leads to the next narrower, the same
or the next wider level. The choices of operations are shared by the cells of a layer at all levels (untied: each layer
has its own; `tied`: the first version's single set), and what is routed to one level is summed before a single cell
(`shared_cells`).

What is ours:

- An edge that a node drops picks `none`, so that the picks say which two predecessors each node keeps.
- Impossible routes (narrower than the first level, wider than the last) do not exist; the code masks them with -50 in
  a full table of 6 x 3 (SR 3 x 3).
- What is routed to a level is weighed by where it comes from: see `models.hinas.flow`.
- A cell's first input, the output of the layer before the last, goes through a projection per (level there, level
  here); for the first layer it is the stem's hidden features.
- Batch normalisation has learned scale and shift in the search too. Prediction and skip are the same in search and
  derived network: the released supernet ends in a sigmoid and enlarges bilinearly, the network trained afterwards does
  neither, so that the search optimises another output.
- The decoder joins the stem's output with the last cell's. Of the decoder's two published forms this is the 1x1 one.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from models.cost import Carrier, CostTerm
from models.diagram import Diagram
from models.hinas import costs, decisions
from models.hinas.config import KEPT, STEM, HiNASConfig, Path, sources
from models.hinas.diagram import hinas_diagram
from models.hinas.network import HiNAS
from models.network import Network
from models.site import Site
from models.space import Space
from models.trellis import Arc

_SMALL: dict[str, Any] = {"channels": 4, "nodes": 2, "stem_channels": 6, "decoder": (4, 8)}
_FEW: dict[str, Any] = {**_SMALL, "operations": ("act_conv3x3", "act_separable3x3", "skip")}


class HiNASSpace(Space[HiNASConfig]):
    """Cells with searched operations and edges, on a path of widths that is searched too."""

    name = "hinas"
    version = 1
    summary = (
        "cells at full resolution: operations and predecessors of every node and the width of every layer searched"
    )
    examples = (
        {**_FEW, "scale": 1, "layers": 3},
        {**_SMALL, "scale": 2, "layers": 2, "tied": True},
        {**_FEW, "scale": 4, "layers": 2, "shared_cells": False},
        {**_FEW, "scale": 1, "layers": 1, "nodes": 3, "factors": (1.0,)},
    )
    config_type = HiNASConfig

    def network(self, config: HiNASConfig, site: Site) -> Network:
        """Build against a site; see `Space`."""
        return HiNAS(config, site)

    def cost_terms(self, config: HiNASConfig) -> tuple[CostTerm, ...]:
        """Operations of the edges and projections between widths, on every way that leads to them."""
        return costs.cost_terms(config)

    def carriers(self, config: HiNASConfig) -> tuple[Carrier, ...]:
        """A node of two edges per operation and width; a unit per projection."""
        return costs.carriers(config)

    def trellis(self, config: HiNASConfig) -> tuple[Arc, ...]:
        """Widths and cells, layer by layer; see `models.hinas.decisions`."""
        return decisions.trellis(config)

    def random_picks(self, config: HiNASConfig, rng: np.random.Generator) -> dict[str, str]:
        """Picks of a uniformly drawn network; only those that it has."""
        paths = config.paths(config.layers)
        picks = dict(config.route_picks(paths[int(rng.integers(len(paths)))]))
        for layer in range(STEM + 1, config.layers + 1):
            for node in range(config.nodes):
                kept = rng.choice(len(sources(node)), size=KEPT, replace=False)
                drawn = {int(source): config.operations[int(rng.integers(len(config.operations)))] for source in kept}
                # Where all layers obey the same choices the last draw stands.
                picks |= dict(decisions.node_picks(config, layer, node, drawn))
        return picks

    def allows(self, config: HiNASConfig, picks: Mapping[str, str]) -> bool:
        """Does every node keep two predecessors?"""
        return decisions.allowed(config, picks)

    def num_networks(self, config: HiNASConfig) -> int:
        """Paths of widths times what the nodes can keep."""
        return decisions.num_networks(config)

    def paper_picks(self, config: HiNASConfig, probabilities: decisions.Probabilities) -> dict[str, str]:
        """The paper's rule without a budget: see `models.hinas.decisions`.

        Args:
            config: The space's config.
            probabilities: Choice id -> candidate -> probability, for all choices.
        """
        return decisions.paper_picks(config, probabilities)

    def diagram(self, config: HiNASConfig, picks: Mapping[str, str]) -> Diagram:
        """The path among all layers and levels, and the cells."""
        return hinas_diagram(config, picks)

    def task_config(self, scale: int) -> dict[str, Any]:
        """The paper's sizes after the search: larger for what keeps its size, smaller for super-resolution."""
        layers, nodes, channels = (3, 4, 20) if scale == 1 else (2, 3, 16)
        return {"scale": scale, "layers": layers, "nodes": nodes, "channels": channels}

    def reference_picks(self, config: HiNASConfig) -> dict[str, str]:
        """The middle width after the first layer; every node keeps its two latest predecessors, by a convolution."""
        reference = costs.REFERENCE if costs.REFERENCE in config.operations else config.operations[0]
        wider = config.paths(1)[-1][-1]
        path: Path = (0,) + (wider,) * config.layers
        picks = dict(config.route_picks(path))
        for layer in range(STEM + 1, config.layers + 1):
            for node in range(config.nodes):
                kept = dict.fromkeys(list(sources(node))[-KEPT:], reference)
                picks |= dict(decisions.node_picks(config, layer, node, kept))
        return picks


SPACE = HiNASSpace()

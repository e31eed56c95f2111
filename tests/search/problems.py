"""Random derivation problems of small spaces, with every network of theirs."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from models import END, START, Arc, OpKey, get_space
from search.costs import Prices
from search.derive import FLOOR, best_path

Probabilities = dict[str, dict[str, float]]

CONFIGS: tuple[dict[str, Any], ...] = (
    {"channels": (16,), "blocks": 1},
    {"channels": (16,), "blocks": 2, "convolutions": ("conv3x3", "separable3x3")},
    {"channels": (8, 16), "blocks": 1, "convolutions": ("conv3x3", "conv5x5"), "attentions": ("identity",)},
    # Parts that are paid whatever is picked.
    {"channels": (16,), "blocks": 2, "convolutions": ("conv5x5",), "attentions": ("squeeze_excitation",)},
    {"channels": (16,), "blocks": 1, "widths": (1.0,), "attentions": ("squeeze_excitation",)},
)

# Spaces whose networks leave choices out: a path of widths and kept edges, an exit and what lies before it.
PATHS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("hinas", {"layers": 2, "nodes": 1, "channels": 4, "operations": ("act_conv3x3", "act_separable3x3", "skip")}),
    ("hinas", {"layers": 1, "nodes": 2, "channels": 4, "operations": ("act_conv3x3", "skip"), "factors": (1.0, 2.0)}),
    ("hinas", {"layers": 2, "nodes": 2, "channels": 4, "operations": ("act_conv3x3", "skip"), "tied": True}),
    ("trilevel", {"channels": 16, "cells": 2, "ops": 2, "ups": 1, "operations": ("slim_skip", "slim_conv3x3")}),
    ("trilevel", {"channels": 16, "cells": 1, "ops": 2, "ups": 2, "width_ratios": (0.5, 1.0)}),
    ("trilevel", {"channels": 16, "cells": 3, "ops": 1, "ups": 0, "head": "bicubic"}),
    ("clearer", {"channels": 8, "stages": (2, 3), "modules": 2}),
    ("manas", {"channels": 8, "stages": (2,), "modules": 1, "attentions": ("skip", "cbam4", "none")}),
)


@dataclass(frozen=True)
class Problem:
    """A trellis with random prices and probabilities."""

    space: Any
    config: Any
    arcs: tuple[Arc, ...]
    prices: Prices
    probabilities: Probabilities

    def best(self, limit: float, at_least: float = 0.0) -> dict[str, str]:
        kinds = {name: choice.kind for name, choice in self.space.choices(self.config).items()}
        return best_path(self.arcs, kinds, self.probabilities, self.prices, limit, at_least)

    def price(self, picks: dict[str, str]) -> float:
        return self.prices.of(self.space.cost_terms(self.config), picks)

    def score(self, scores: list[tuple[str, str]]) -> float:
        """As the module says: in full where all networks pick equally often, else against the choice's best."""
        full = self.space.name != "trilevel"
        total = 0.0
        for choice, name in scores:
            entry = self.probabilities[choice]
            total += math.log(max(FLOOR, entry[name])) - (0.0 if full else math.log(max(FLOOR, *entry.values())))
        return total

    def own_rule(self) -> dict[str, str]:
        """The paper's rule: the space's own, or the argmax of every choice."""
        if hasattr(self.space, "paper_picks"):
            found: dict[str, str] = self.space.paper_picks(self.config, self.probabilities)
            return found
        return {choice: max(entry, key=entry.__getitem__) for choice, entry in self.probabilities.items()}


def problem(name: str, values: dict[str, Any], seed: int) -> Problem:
    space: Any = get_space(name)
    config = space.parse_config({"scale": 1, **values})
    rng = np.random.default_rng(seed)
    keys = sorted({term.key for term in space.cost_terms(config)})
    rows = {key: float(rng.uniform(0.1, 2.0)) for key in keys}
    fixed = 1.0 + sum(rows[term.key] for term in space.cost_terms(config) if not term.when)
    probabilities = {
        choice: dict(zip(names, rng.dirichlet(np.full(len(names), 0.7)).tolist(), strict=True))
        for choice, names in space.candidates(config).items()
    }
    return Problem(space, config, space.trellis(config), Prices("ms", fixed, rows), probabilities)


def every_path(arcs: tuple[Arc, ...]) -> Iterator[tuple[dict[str, str], list[OpKey], list[tuple[str, str]]]]:
    """(picks, rows, what is scored) of every path through a trellis."""
    leaving: dict[str, list[Arc]] = {}
    for arc in arcs:
        leaving.setdefault(arc.source, []).append(arc)
    stack: list[tuple[str, dict[str, str], list[OpKey], list[tuple[str, str]]]] = [(START, {}, [], [])]
    while stack:
        node, picks, keys, scores = stack.pop()
        if node == END:
            yield picks, keys, scores
            continue
        stack += [
            (arc.target, {**picks, **dict(arc.picks)}, [*keys, *arc.keys], [*scores, *arc.scores])
            for arc in leaving[node]
        ]

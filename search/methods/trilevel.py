"""Trilevel: where the network ends, its operations and their widths, hardened by sparsestmax; weights are kept.

Wu et al., "Trilevel Neural Architecture Search for Efficient Single Image Super-Resolution", 2021. No release by the
authors was found; what is known comes from AGD, its base, and from a later fork.
"""

from collections.abc import Mapping

from torch import Tensor

from search.complexity import Bounds, Complexity, DecoupledFlops
from search.costs import Expectation, static_prices
from search.methods.method import Method, Searched
from search.presets import Preset, paper_preset, shared_preset
from tasks import Task

FLOPS_SIZE = (350, 510)
"""(height, width) of the low-resolution input at which AGD counts."""
FLOPS_BOUNDS = Bounds(low=100e9, high=400e9)
"""The derived network's multiply-accumulates should lie between; the weight doubles or halves outside."""


def _recipes(task: Task) -> tuple[Preset, ...]:
    search = {"loss": ({"name": "l1"},), "sandwich": 1, "order": 1e-3}
    train = {"loss": ({"name": "l1"},)}
    # Off the paper's sizes the output is a residual on the bicubic enlargement, which a short training needs.
    widths = {"width_ratios": (0.5, 1.0), "head": "bicubic"}
    tiny = {"channels": 16, "cells": 2, "ops": 2, "ups": 0, **widths}
    small = {"channels": 16, "cells": 3, "ops": 3, "ups": 0, **widths}
    medium = {"channels": 32, "cells": 4, "ops": 3, "ups": 0, **widths}
    return (
        shared_preset("smoke", tiny, task, search=search, train=train),
        shared_preset("quick", small, task, search={**search, "steps": 100, "warmup": 60}, train=train),
        shared_preset("default", medium, task, search={**search, "batch": 4}, train=train),
        paper_preset(
            {},
            # As published: one radius for choices of all sizes, by the public code's projection.
            relaxations={"operation": "sparsestmax-ssn", "exit": "sparsestmax-ssn"},
            search={
                # 100 epochs of weights alone, 100 of both, on one half of 3450 pictures each.
                "warmup": 57_500,
                "steps": 57_500,
                "batch": 3,
                "patch": 32,
                "loss": ({"name": "l1"},),
                "sandwich": 2,
                "order": 1e-2,
                "order_form": "telescoping",
                "weights": {"optimizer": "adam", "lr": 2e-4, "betas": (0.9, 0.999)},
                "schedule": {"schedule": "milestones", "milestones": (0.125, 0.25, 0.375, 0.625, 0.75, 0.875)},
                "clip_norm": 5.0,
                "choices": {"optimizer": "adam", "lr": 3e-4, "betas": (0.5, 0.999)},
            },
            train={
                # 300 epochs of 216 steps.
                "steps": 64_800,
                "batch": 16,
                "patch": 32,
                "optimizer": "adam",
                "lr": 2e-4,
                "betas": (0.9, 0.999),
                "schedule": "milestones",
                "milestones": (0.25, 0.5, 0.75),
                "clip_norm": 5.0,
                "loss": ({"name": "l1"},),
            },
        ),
    )


def _flops(searched: Searched) -> Complexity:
    """Expected multiply-accumulates of operations and widths, each with the other frozen."""
    space, config, choices = searched.space, searched.config, searched.supernet.choices
    prices = static_prices(space, config, "MACs", *FLOPS_SIZE)
    terms = space.cost_terms(config)
    candidates = {name: choice.candidates for name, choice in choices.items()}

    def derived_cost(weights: Mapping[str, Tensor]) -> float:
        picks = {name: candidates[name][int(weight.argmax())] for name, weight in weights.items()}
        return prices.of(terms, picks)

    return DecoupledFlops(
        Expectation(prices, terms, candidates),
        {name: choice.kind for name, choice in choices.items()},
        derived_cost,
        FLOPS_BOUNDS,
    )


METHOD = Method(
    name="trilevel",
    summary="a tree of exits, operations and channel widths, hardened together by sparsestmax; weights are kept",
    reference=(
        "Wu, Huang, Kumar, Sukthanker, Timofte, Van Gool: Trilevel Neural Architecture Search for Efficient Single "
        "Image Super-Resolution, 2021"
    ),
    reconstruction="read in a later fork of its code; the hard form of the ordered sparsestmax; same-size tasks",
    space="trilevel",
    paper_tasks=("super-resolution",),
    relaxations={"operation": "sparsestmax", "exit": "sparsestmax", "width": "gumbel"},
    initial_weights="inherited",
    paper_complexity=_flops,
    recipes=_recipes,
)

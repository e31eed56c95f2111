"""Does sparsestmax end one-hot, so that nothing is lost in derivation? `python -m benchmarks.claims.trilevel_gap`.

Searches of a small trilevel space. At the end the supernet is scored with the weights that the relaxation gives, and
the derived network with the weights it inherits; widths, which sparsestmax does not relax, are decided for their most
probable candidate in both. Then the published order loss, for several of its weights: how deep is the derived network?
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from benchmarks.claims.common import (
    SEEDS,
    Bench,
    Claim,
    Verdict,
    argmax_picks,
    inherited,
    input_db,
    load_bench,
    mean_and_spread,
    one_thread,
    score,
    short_search,
    write_claim,
)
from models import get_space, restore_whole
from search.relaxation import GumbelOneHot, Relaxation, relaxations
from search.settings import SearchConfig

EXACT_DB = 1e-3
EXACT_OUTPUT = 1e-5
GAP_DB = 0.05
CLAIM = Claim(
    name="trilevel_gap",
    text="At the end of the radius schedule every weight vector is one-hot and derivation loses nothing; softmax with "
    "the same budget leaves a gap; a larger order weight gives shallower networks.",
    source="Trilevel NAS (Wu et al., 2021); sparsestmax: SSN (Shao et al., CVPR 2019)",
    rule=f"for both forms of sparsestmax and every seed: all vectors one-hot, outputs within {EXACT_OUTPUT:g} and "
    f"{EXACT_DB:g} dB; for softmax a mean gap above {GAP_DB} dB; mean depth never rises with the order weight and is "
    "lower at the largest than at 0",
)

RELAXED = ("sparsestmax", "sparsestmax-ssn", "softmax")
ORDERS = (0.0, 1e-2, 1e-1, 1.0)
"""Weights of the order loss, run with the first relaxation."""
SPACE_CONFIG = {
    "scale": 1,
    "channels": 16,
    "cells": 4,
    "ops": 2,
    "ups": 0,
    "width_ratios": (0.5, 1.0),
    "head": "bicubic",
}
STEPS, WARMUP, BATCH, PATCH = 120, 60, 2, 32
CHOICE_RATE = 1e-2


@dataclass(frozen=True)
class Run:
    """One search: relaxation of operations and exits, weight of the order loss, seed."""

    relaxation: str
    order: float
    seed: int


def runs() -> tuple[Run, ...]:
    """All of them."""
    forms = [(name, 0.0) for name in RELAXED] + [(RELAXED[0], order) for order in ORDERS if order]
    return tuple(Run(name, order, seed) for name, order in forms for seed in SEEDS)


def settings(order: float, seed: int) -> SearchConfig:
    """The search of one run."""
    return SearchConfig.model_validate(
        {
            "steps": STEPS,
            "warmup": WARMUP,
            "batch": BATCH,
            "patch": PATCH,
            "loss": "l1",
            "sandwich": 1,
            "order": order,
            "order_form": "telescoping",
            "choices": {"optimizer": "adam", "lr": CHOICE_RATE, "betas": (0.5, 0.999)},
            "checkpoint_every": STEPS + WARMUP,
            "seed": seed,
        }
    )


def one_hot(weights: torch.Tensor) -> bool:
    """Is one entry exactly one and every other exactly zero?"""
    return sorted(weights.tolist()) == [0.0] * (weights.numel() - 1) + [1.0]


def run_one(run: Run, bench: Bench) -> dict[str, str | float | int]:
    """One search, and what is lost when its network is derived."""
    space = get_space("trilevel")
    config = space.parse_config(SPACE_CONFIG)
    relaxed: Relaxation = relaxations()[run.relaxation]
    kinds: Mapping[str, Relaxation] = {"operation": relaxed, "exit": relaxed, "width": GumbelOneHot()}
    searcher, result = short_search(space, config, kinds, settings(run.order, run.seed), bench)  # type: ignore[arg-type]
    supernet, picks = result.supernet, argmax_picks(result)
    weights = searcher.select("architecture", STEPS + WARMUP - 1)
    searched = {name: w.detach() for name, w in weights.items() if supernet.choices[name].kind != "width"}
    for name, choice in supernet.choices.items():
        if choice.kind == "width":
            choice.pick(picks[name])
    network = inherited(space, config, picks, supernet)
    apart = max(
        float(abs(restore_whole(supernet.network, p.degraded) - restore_whole(network, p.degraded)).max())
        for p in bench.pairs
    )
    before, after = score(bench, supernet), score(bench, network)
    return {
        "relaxation": run.relaxation,
        "order weight": run.order,
        "seed": run.seed,
        "one-hot vectors": sum(one_hot(w) for w in searched.values()),
        "vectors": len(searched),
        "PSNR supernet": before,
        "PSNR derived": after,
        "gap dB": before - after,
        "largest output difference": apart,
        "cells": picks["exit"].count("c"),
    }


def main() -> None:
    """Run all and write the result."""
    one_thread()
    bench = load_bench("denoise")
    rows = [run_one(run, bench) for run in runs()]
    exact = all(
        row["one-hot vectors"] == row["vectors"]
        and abs(float(row["gap dB"])) <= EXACT_DB
        and float(row["largest output difference"]) <= EXACT_OUTPUT
        for row in rows
        if row["relaxation"] != "softmax"
    )
    gap, spread = mean_and_spread([float(row["gap dB"]) for row in rows if row["relaxation"] == "softmax"])
    depths = [
        mean_and_spread(
            [float(r["cells"]) for r in rows if r["relaxation"] == RELAXED[0] and r["order weight"] == order]
        )[0]
        for order in ORDERS
    ]
    shallower = all(b <= a for a, b in itertools.pairwise(depths)) and depths[-1] < depths[0]
    verdict: Verdict = "holds" if exact and gap > GAP_DB and shallower else "does not hold"
    largest = max(float(row["largest output difference"]) for row in rows if row["relaxation"] != "softmax")
    why = (
        f"Sparsestmax in both forms: {'all' if exact else 'not all'} vectors one-hot and nothing lost (outputs within "
        f"{largest:.1g}). Softmax gap {gap:.2f} +- {spread:.2f} dB. Mean cells at order weight "
        + ", ".join(f"{order:g}: {depth:.2f}" for order, depth in zip(ORDERS, depths, strict=True))
        + "."
    )
    sizes = {
        "space": SPACE_CONFIG,
        "steps": STEPS,
        "warmup": WARMUP,
        "batch": BATCH,
        "patch": PATCH,
        "choice rate": CHOICE_RATE,
        "task": "denoise",
        "input dB": input_db(bench),
    }
    write_claim(CLAIM, verdict, why, rows, sizes=sizes)


if __name__ == "__main__":
    main()

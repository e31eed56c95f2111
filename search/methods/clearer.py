"""CLEARER: parallel or fusion, column by column, driven to a decision by an entropy term.

Gou et al., "CLEARER: Multi-Scale Neural Architecture Search for Image Restoration", NeurIPS 2020. Not reproduced from
the released code: modules that write into the list they were given, validation on the test split, noise that is clipped
and rounded.
"""

from search.complexity import Complexity, WeightedShares
from search.methods.method import Method, Searched
from search.presets import Preset, paper_preset, shared_preset
from tasks import Task

ENTROPY = 0.01
"""lambda_1."""
COMPLEXITY = 0.1
"""lambda_2, commented out in the release."""
SHARES = {"parallel": 0.7, "fusion": 0.3}
"""Parameter shares of the two modules, averaged over the stages."""

MSE = ({"name": "mse"},)


def _recipes(task: Task) -> tuple[Preset, ...]:
    search = {"entropy": ENTROPY, "loss": MSE, "architecture_in_eval": True}
    # Off the paper's sizes the network predicts a residual: a short training has no time to learn to copy its input.
    small = {"channels": 8, "stages": (2, 3), "modules": 2, "bottlenecks": 1, "residual": True}
    quick = {**small, "modules": 3}
    return (
        shared_preset("smoke", small, task, search=search),
        shared_preset("quick", quick, task, search=search),
        shared_preset(
            "default", {"channels": 16, "residual": True}, task, search={**search, "batch": 6}, train={"batch": 8}
        ),
        paper_preset(
            {},
            search={
                **search,
                # 200 epochs of 50 steps; the choices start after 10.
                "warmup": 500,
                "steps": 9500,
                "batch": 32,
                "patch": 64,
                "weights": {"optimizer": "sgd", "lr": 0.025, "momentum": 0.9, "weight_decay": 3e-4},
                "schedule": {"schedule": "cosine", "floor": 0.04},
                "clip_norm": 5.0,
                "choices": {"optimizer": "adam", "lr": 3e-4, "betas": (0.5, 0.999), "weight_decay": 1e-3},
            },
            train={
                "steps": 200_000 if task.name == "derain" else 100_000,
                "batch": 32,
                "patch": 64,
                "optimizer": "adam",
                "lr": 2e-3 if task.name == "derain" else 1e-2,
                "clip_norm": 5.0,
                "loss": MSE,
            },
        ),
    )


def _shares(searched: Searched) -> Complexity:
    choices = searched.supernet.choices
    shares = {
        name: tuple(SHARES[candidate.rstrip("0123456789")] for candidate in choice.candidates)
        for name, choice in choices.items()
    }
    return WeightedShares(COMPLEXITY, shares, {name: choice.kind for name, choice in choices.items()})


METHOD = Method(
    name="clearer",
    summary="parallel or fusion modules at several scales, softmax with an entropy term",
    reference=(
        "Gou, Li, Liu, Yang, Peng: CLEARER: Multi-Scale Neural Architecture Search for Image Restoration, NeurIPS 2020"
    ),
    reconstruction="colour in and out; super-resolution (the paper has none)",
    space="clearer",
    paper_tasks=("denoise", "derain"),
    relaxations={"module": "softmax"},
    initial_weights="scratch",
    paper_complexity=_shares,
    recipes=_recipes,
)

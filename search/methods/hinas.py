"""HiNAS: cells of mixed operations on a path of widths, softmax over both.

Zhang et al., "Memory-Efficient Hierarchical Neural Architecture Search for Image Denoising", CVPR 2020, and its
extension to restoration. Not reproduced from the released code: a sigmoid on the searched network's output that the
retrained one does not have, and a super-resolution skip that differs between the two.
"""

from typing import Any

from search.complexity import Complexity, NoComplexity
from search.methods.method import Method, Searched
from search.presets import Preset, paper_preset, shared_preset
from tasks import Task


def _recipes(task: Task) -> tuple[Preset, ...]:
    enlarges = task.scale > 1
    fidelity = "l1" if enlarges else "mse"

    def loss(weight: float) -> tuple[dict[str, Any], ...]:
        # The released code divides by the number of terms.
        return {"name": fidelity, "weight": 0.5}, {"name": "log_ssim", "weight": weight / 2}

    search = {"loss": loss(0.6 if enlarges else 0.5)}
    train = {"loss": loss(0.6)}
    tiny = {"layers": 1, "nodes": 2, "channels": 4, "stem_channels": 8, "decoder": (8, 8)}
    small = {"layers": 2, "nodes": 2, "channels": 8, "stem_channels": 16, "decoder": (8, 16)}
    medium = {"layers": 2, "nodes": 3, "channels": 8, "stem_channels": 32, "decoder": (16, 32)}
    return (
        shared_preset("smoke", tiny, task, search=search, train=train),
        shared_preset("quick", small, task, search={**search, "steps": 80, "warmup": 60}, train=train),
        shared_preset("default", medium, task, search={**search, "batch": 4}, train={**train, "batch": 6}),
        paper_preset(
            {"layers": 2, "nodes": 3, "channels": 16} if enlarges else {"layers": 3, "nodes": 4, "channels": 20},
            searched_space={"channels": 8 if enlarges else 10},
            search={
                **search,
                # 100 epochs over half of the training pictures; the choices start at epoch 21.
                "warmup": 320 if enlarges else 480,
                "steps": 1280 if enlarges else 1920,
                "batch": 24 if enlarges else 6,
                "patch": 64,
                "weights": {"optimizer": "sgd", "lr": 0.025, "momentum": 0.9, "weight_decay": 3e-4},
                "schedule": {"schedule": "oscillating", "floor": 0.04, "oscillations": 5},
                "clip_norm": None,
                "choices": {"optimizer": "adam", "lr": 1e-3, "betas": (0.9, 0.999), "weight_decay": 1e-3},
            },
            train={
                **train,
                "steps": 600_000,
                "batch": 16 if enlarges else 24,
                "patch": 64,
                "optimizer": "sgd",
                "lr": 0.05,
                "weight_decay": 4e-5,
                "bias_lr_factor": 2.0,
                "bias_weight_decay": False,
                "schedule": "poly",
                "poly_power": 0.9,
                "clip_norm": None,
                "clip_value": 5.0,
            },
        ),
    )


def _none(searched: Searched) -> Complexity:
    """HiNAS has none: widths compete on accuracy alone."""
    del searched
    return NoComplexity()


METHOD = Method(
    name="hinas",
    summary="cells of mixed operations on a searched path of widths, softmax over both",
    reference=(
        "Zhang, Li, Chen, Shen: Memory-Efficient Hierarchical Neural Architecture Search for Image Denoising, CVPR 2020"
    ),
    reconstruction="weights of routes follow the flow of occupancy; the cell's first input; colour in and out",
    space="hinas",
    paper_tasks=("denoise", "super-resolution", "derain"),
    relaxations={"operation": "softmax", "route": "softmax"},
    initial_weights="scratch",
    paper_complexity=_none,
    recipes=_recipes,
)

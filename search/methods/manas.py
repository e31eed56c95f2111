"""MANAS: CLEARER's trunk with searched attention cells, trained on several rains of one background at once.

Cai et al., "Multi-Scale Attentive Image De-Raining Networks via Neural Architecture Search", TCSVT 2023. Not reproduced
from the released code: modules that are allocated and never used, cells that take another cell's choice, complexity
weights in another order than the operations, validation triplets that compare different backgrounds, and validation on
the test set.
"""

from models import Choice
from search.complexity import Complexity, WeightedShares
from search.methods.clearer import SHARES
from search.methods.method import Method, Searched
from search.presets import Preset, paper_preset, shared_preset
from tasks import Task

ENTROPY = 0.01 / 3
"""Published as 0.01; see `LOSS` for the third."""
COMPLEXITY = 0.01 / 3
"""Likewise."""
CONVOLUTION_GATE, DILATED_GATE, CHANNEL_GATE = 0.5, 0.2, 0.1
"""The published weights (0.5, 0.2, 0.1, 0.1, 0.1), put on the operations that they were computed for."""

ATTENTION_SHARES = {
    "separable_gate3x3": CONVOLUTION_GATE,
    "dilated_gate3x3": DILATED_GATE,
    "squeeze_excitation4": CHANNEL_GATE,
    "squeeze_excitation4_peaks": CHANNEL_GATE,
    "cbam4": CHANNEL_GATE,
}

# The paper sums the external loss over three versions, ours is their mean: so all weights are a third of the published.
# The internal loss joins at epoch 5 of 200.
LOSS = (
    {"name": "mse", "weight": 1.0},
    {"name": "ssim", "weight": 1.0},
    {"name": "internal", "weight": 1 / 3, "start": 0.025},
    {"name": "tv", "weight": 1e-4 / 3},
)


def _recipes(task: Task) -> tuple[Preset, ...]:
    search = {"entropy": ENTROPY, "loss": LOSS, "versions": True, "architecture_in_eval": True}
    train = {"loss": LOSS}
    # Off the paper's sizes the network predicts a residual, as in CLEARER's recipes.
    small = {"channels": 8, "stages": (2,), "modules": 1, "bottlenecks": 1, "residual": True}
    quick = {**small, "stages": (2, 3), "modules": 2}
    return (
        shared_preset(
            "smoke", small, task, search={**search, "batch": 1}, train={**train, "batch": 1}, train_versions=True
        ),
        shared_preset(
            "quick",
            quick,
            task,
            search={**search, "steps": 80, "warmup": 60, "batch": 2},
            train={**train, "steps": 400, "batch": 2},
            train_versions=True,
        ),
        shared_preset(
            "default",
            {"channels": 16, "residual": True},
            task,
            search={**search, "batch": 2},
            train={**train, "batch": 3},
            train_versions=True,
        ),
        paper_preset(
            {},
            search={
                **search,
                # 200 epochs of 1000 steps; the choices start after 10.
                "warmup": 10_000,
                "steps": 190_000,
                "batch": 16,
                "patch": 64,
                "weights": {"optimizer": "sgd", "lr": 2e-3, "momentum": 0.9, "weight_decay": 3e-4},
                "schedule": {"schedule": "cosine", "floor": 0.05},
                "clip_norm": None,
                "choices": {"optimizer": "adam", "lr": 3e-4, "betas": (0.5, 0.999), "weight_decay": 1e-3},
            },
            train={
                "steps": 100_000,
                "batch": 32,
                "patch": 64,
                "optimizer": "adam",
                "lr": 1e-3,
                "clip_norm": None,
                "loss": LOSS,
            },
            train_versions=True,
        ),
    )


def _costs(choice: Choice) -> tuple[float, ...]:
    if choice.kind == "module":
        return tuple(SHARES[candidate.rstrip("0123456789")] for candidate in choice.candidates)
    return tuple(ATTENTION_SHARES.get(candidate, 0.0) for candidate in choice.candidates)


def _shares(searched: Searched) -> Complexity:
    choices = searched.supernet.choices
    shares = {name: _costs(choice) for name, choice in choices.items()}
    return WeightedShares(COMPLEXITY, shares, {name: choice.kind for name, choice in choices.items()})


METHOD = Method(
    name="manas",
    summary="multi-scale modules and attention cells, softmax, several degradations of a background in one batch",
    reference="Cai et al.: Multi-Scale Attentive Image De-Raining Networks via Neural Architecture Search, TCSVT 2023",
    reconstruction="which operation each published complexity weight belongs to; denoising and super-resolution",
    space="manas",
    paper_tasks=("derain",),
    relaxations={"module": "softmax", "operation": "softmax"},
    initial_weights="scratch",
    paper_complexity=_shares,
    recipes=_recipes,
)

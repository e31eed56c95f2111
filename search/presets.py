"""Presets: how large a space, how long a search and how long a training, under a name."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from models import ChoiceKind
from search.settings import SearchConfig
from tasks import Task
from training import TrainConfig

PAPER = "paper"


class Preset(BaseModel):
    """Sizes and lengths of a run of one method; everything else is the task's or the method's.

    Attributes:
        name: What `--preset` takes.
        summary: One line for people, with its duration.
        space_config: Sizes of the space that is priced, derived and trained.
        searched_space: What differs in the supernet (HiNAS searches at half the channels); picks must mean the same.
        relaxations: Kinds of choices that are relaxed otherwise than the method does it by default.
        search: The search.
        train: The retraining of the derived network.
        train_versions: Retrain on several degraded versions of each background at once.
        validation_images: Pairs scored after training.
        validation_crop: Their side in degraded pixels; None scores whole images.
        measure_seconds: Longest time spent on one graph of the latency table.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    summary: str
    space_config: dict[str, Any]
    searched_space: dict[str, Any] = Field(default_factory=dict)
    relaxations: dict[ChoiceKind, str] = Field(default_factory=dict)
    search: SearchConfig
    train: TrainConfig
    train_versions: bool = False
    validation_images: int
    validation_crop: int | None
    measure_seconds: float


# Lengths that all methods share; sizes of the space, losses and rates are each method's own.
_LENGTHS: dict[str, dict[str, Any]] = {
    "smoke": {
        "summary": "seconds; proves that everything is in place, restores next to nothing",
        "search": {"steps": 6, "warmup": 4, "batch": 2, "patch": 16, "checkpoint_every": 2},
        "train": {"steps": 12, "batch": 2, "patch": 16, "warmup": 2, "checkpoint_every": 4},
        "validation_images": 3,
        "validation_crop": 48,
        "measure_seconds": 0.2,
    },
    "quick": {
        "summary": "minutes on 2 cores: a small space, searched and trained briefly",
        "search": {
            "steps": 120,
            "warmup": 80,
            "batch": 4,
            "patch": 32,
            "weights": {"optimizer": "adam", "lr": 4e-3, "betas": (0.9, 0.999)},
        },
        # So few steps want a higher rate than long runs do.
        "train": {"steps": 500, "batch": 8, "patch": 48, "lr": 4e-3},
        "validation_images": 6,
        "validation_crop": 192,
        "measure_seconds": 0.6,
    },
    "default": {
        "summary": "what to start with: a quarter of an hour for a small space, longer for those at full resolution",
        "search": {"steps": 250, "warmup": 350, "batch": 8, "patch": 48},
        "train": {"steps": 2200, "batch": 12, "patch": 64, "lr": 1.2e-3},
        "validation_images": 12,
        "validation_crop": 256,
        "measure_seconds": 2.0,
    },
    "thorough": {
        "summary": "about an hour and a half on one core; what the bundles of zoo/ were made with",
        "search": {"steps": 500, "warmup": 500, "batch": 8, "patch": 48},
        "train": {"steps": 8000, "batch": 16, "patch": 64, "lr": 1.2e-3, "ema_decay": 0.999},
        "validation_images": 24,
        "validation_crop": 256,
        "measure_seconds": 3.0,
    },
}


# Patches are counted on the degraded side; an enlarged one must not grow with the square of the scale.
_ENLARGED: dict[int, dict[int, int]] = {
    16: {2: 16, 4: 16},
    32: {2: 24, 4: 16},
    48: {2: 32, 4: 24},
    64: {2: 48, 4: 32},
}


def shared_preset(
    name: str,
    space_config: Mapping[str, Any],
    task: Task,
    *,
    search: Mapping[str, Any] | None = None,
    train: Mapping[str, Any] | None = None,
    **more: Any,
) -> Preset:
    """One of the lengths that all methods share (smoke, quick, default, thorough), with a method's own settings."""
    lengths = {**_LENGTHS[name]}
    for part in ("search", "train"):
        patch = lengths[part]["patch"]
        lengths[part] = {**lengths[part], "patch": _ENLARGED[patch].get(task.scale, patch)}
    values = {
        **lengths,
        "name": name,
        "space_config": dict(space_config),
        "search": {**lengths["search"], **(search or {})},
        "train": {**lengths["train"], **(train or {})},
        **more,
    }
    return Preset.model_validate(values)


def paper_preset(
    space_config: Mapping[str, Any], search: Mapping[str, Any], train: Mapping[str, Any], **more: Any
) -> Preset:
    """The published settings; for a GPU."""
    values: dict[str, Any] = {
        "name": PAPER,
        "summary": "the published sizes, schedule and batch, for a GPU",
        "space_config": dict(space_config),
        "search": {"checkpoint_every": 500, **search},
        # Published networks are the last weights of a run, not an average.
        "train": {"warmup": 0, "ema_decay": 0.0, "checkpoint_every": 1000, **train},
        "validation_images": 100,
        "validation_crop": None,
        "measure_seconds": 4.0,
        **more,
    }
    return Preset.model_validate(values)

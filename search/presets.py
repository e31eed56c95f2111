"""Presets: how large a space, how long a search and how long a training, under a name."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from search.errors import SearchError
from search.searcher import SearchConfig
from training import TrainConfig


class Preset(BaseModel):
    """Sizes and lengths of a run; everything else is the task's or the method's.

    Attributes:
        name: What `--preset` takes.
        summary: One line for people, with its duration.
        space_config: Sizes of the space.
        search: The search.
        train: The retraining of the derived network.
        validation_images: Pairs scored after training.
        validation_crop: Their side in degraded pixels; None scores whole images.
        measure_seconds: Longest time spent on one graph of the latency table.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    summary: str
    space_config: dict[str, Any]
    search: SearchConfig
    train: TrainConfig
    validation_images: int
    validation_crop: int | None
    measure_seconds: float


def presets() -> dict[str, Preset]:
    """Every preset, by name."""
    known = (
        Preset(
            name="smoke",
            summary="seconds; proves that everything is in place, restores next to nothing",
            space_config={"channels": (8, 16), "blocks": 1, "convolutions": ("conv3x3", "separable3x3")},
            search=SearchConfig(steps=6, warmup=4, batch=2, patch=16, checkpoint_every=2),
            train=TrainConfig(steps=12, batch=2, patch=16, warmup=2, checkpoint_every=4),
            validation_images=3,
            validation_crop=48,
            measure_seconds=0.2,
        ),
        Preset(
            name="default",
            summary="under 15 minutes on 2 cores",
            space_config={"channels": (32, 64, 128)},
            search=SearchConfig(steps=250, warmup=350, batch=8, patch=48),
            train=TrainConfig(steps=2200, batch=12, patch=64, lr=1.2e-3),
            validation_images=12,
            validation_crop=256,
            measure_seconds=2.0,
        ),
        Preset(
            name="thorough",
            summary="about an hour and a half on one core; what the bundles of zoo/ were made with",
            space_config={"channels": (32, 64, 128)},
            search=SearchConfig(steps=500, warmup=500, batch=8, patch=48),
            train=TrainConfig(steps=8000, batch=16, patch=64, lr=1.2e-3, ema_decay=0.999),
            validation_images=24,
            validation_crop=256,
            measure_seconds=3.0,
        ),
    )
    return {preset.name: preset for preset in known}


def get_preset(name: str) -> Preset:
    """A preset by name.

    Raises:
        SearchError: There is none of this name.
    """
    known = presets()
    if name not in known:
        raise SearchError(f"unknown preset {name!r}; known: {', '.join(known)}")
    return known[name]

"""Small runs of the main job, and how they die; for its tests."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import search.member
from search import RunConfig
from tasks import BatchStream, dead_leaves

TARGET = "cpu-onnxruntime-fp32-1t"


class KilledError(Exception):
    """Stands for a killed process: nothing catches it on the way out."""


@dataclass(frozen=True)
class Finished:
    """A run that was never interrupted."""

    folder: Path
    table: Path
    report: dict[str, Any]
    metrics: str = ""  # what it exported last


def draw_pictures(folder: Path) -> Path:
    """Eight small pictures to train on."""
    for index in range(8):
        Image.fromarray(dead_leaves(np.random.default_rng(index), 64)).save(folder / f"{index}.png")
    return folder


def config(pictures: Path, **values: Any) -> RunConfig:
    # A budget without pressure: then what is derived does not depend on how busy the machine is.
    plain = {"task": "denoise", "target": TARGET, "preset": "smoke", "budget_ms": 1000.0, "height": 32, "width": 32}
    return RunConfig.model_validate({**plain, "data": str(pictures), "device": "cpu", **values})


@dataclass
class Fault:
    """Where a run dies: when it asks for one batch too many, or calls a function once more than it may."""

    batches: int = 10_000
    function: str | None = None
    calls: int = 0

    def plant(self, patch: pytest.MonkeyPatch) -> None:
        batch_at, asked = BatchStream.batch_at, 0

        def mortal(stream: BatchStream, step: int) -> Any:
            nonlocal asked
            asked += 1
            if asked > self.batches:
                raise KilledError
            return batch_at(stream, step)

        patch.setattr(BatchStream, "batch_at", mortal)
        if self.function is None:
            return
        work, called = getattr(search.member, self.function), 0

        def die(*arguments: Any, **named: Any) -> Any:
            nonlocal called
            called += 1
            if called > self.calls:
                raise KilledError
            return work(*arguments, **named)

        patch.setattr(search.member, self.function, die)

"""Folders of tiny bundles that change while they are served."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.models import LoadedModel, ModelKeeper
from serving.settings import Settings
from tests.servers import write_known_bundle

PLAIN = "cpu-onnxruntime-fp32-1t"


def settings_for(*roots: Path, state: Path | None = None, target: str = PLAIN, **changes: Any) -> Settings:
    return Settings(bundles=roots, target=target, state=state or roots[0].parent / "state", **changes)


def gain_of(model: LoadedModel, slot: int = 0) -> float:
    """Which version of a known bundle a model is: what it multiplies by."""
    batch = np.full((1, 3, 16, 16), 0.5, dtype=np.float32)
    values = model.run(slot, batch)
    assert np.ptp(values[..., 2:-2, 2:-2]) < 1e-6
    return round(float(values[0, 0, 8, 8]) / 0.5, 4)


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """Two denoisers and a derainer; every gain tells which bundle, or which version of it, answered."""
    root = tmp_path / "zoo"
    write_known_bundle(root / "a", "first", "denoise", gain=0.5)
    write_known_bundle(root / "b", "second", "denoise", gain=0.25)
    write_known_bundle(root / "c", "rain", "derain", gain=1.0)
    return root


@pytest.fixture
def make_keeper() -> Iterator[Callable[..., ModelKeeper]]:
    """Keepers that are closed at the end."""
    with ExitStack() as stack:
        yield lambda settings, **options: stack.enter_context(closing(ModelKeeper(settings, **options)))


@pytest.fixture
def keeper(zoo: Path, make_keeper: Callable[..., ModelKeeper]) -> ModelKeeper:
    """Serves `zoo`."""
    made = make_keeper(settings_for(zoo))
    made.open()
    made.warm_up()
    return made

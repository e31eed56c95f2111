"""Small pictures shared by the tests of this room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tasks import Sample, dead_leaves

WritePicture = Callable[[Path, NDArray[np.uint8]], None]


@pytest.fixture(scope="session")
def samples() -> tuple[Sample, ...]:
    return tuple(Sample(f"s/{index}", dead_leaves(np.random.default_rng(index), 80 + 4 * index)) for index in range(6))


@pytest.fixture(scope="session")
def picture() -> NDArray[np.float32]:
    """float32 (3, 96, 96) in [0, 1]."""
    leaves = dead_leaves(np.random.default_rng(99), 96)
    return np.ascontiguousarray(leaves.transpose(2, 0, 1), dtype=np.float32) / np.float32(255)


@pytest.fixture
def write_picture() -> WritePicture:
    def write(path: Path, pixels: NDArray[np.uint8]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)

    return write

"""Small configs of every space, and random picks."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from models import Space, SpaceConfig, Supernet

SMALL: Mapping[str, tuple[dict[str, Any], ...]] = {
    "unet": (
        {"channels": (16, 24), "blocks": 1, "scale": 1, "unshuffle": 2},
        {"channels": (16, 24), "blocks": 1, "scale": 2, "unshuffle": 1},
        {"channels": (8, 16, 24), "blocks": 1, "scale": 4, "unshuffle": 1},
        {"channels": (16,), "blocks": 2, "scale": 1, "unshuffle": 1, "widths": (1.0,)},
    ),
}

RandomPicks = Callable[[Space[Any], SpaceConfig, int], dict[str, str]]
Scramble = Callable[[Supernet, int], None]


@pytest.fixture(scope="session")
def small_configs() -> Mapping[str, tuple[dict[str, Any], ...]]:
    """Space name -> configs that run in milliseconds: scales 1, 2 and 4."""
    return SMALL


@pytest.fixture(scope="session")
def random_picks() -> RandomPicks:
    def draw(space: Space[Any], config: SpaceConfig, seed: int) -> dict[str, str]:
        rng = np.random.default_rng(seed)
        return {name: names[int(rng.integers(len(names)))] for name, names in space.candidates(config).items()}

    return draw


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`space_name, values`: every registered space in every small config; a space without one fails its tests."""
    if {"space_name", "values"} <= set(metafunc.fixturenames):
        from models import spaces

        cases = [(name, values) for name in spaces() for values in SMALL.get(name, ({"no": "small config"},))]
        names = [f"{name}-x{values.get('scale')}-{len(values.get('channels', ()))}" for name, values in cases]
        metafunc.parametrize(("space_name", "values"), cases, ids=names)

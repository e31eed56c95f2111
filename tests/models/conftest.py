"""Every space in its small configs, and random picks."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models import Space, SpaceConfig, Supernet

RandomPicks = Callable[[Space[Any], SpaceConfig, int], dict[str, str]]
Scramble = Callable[[Supernet, int], None]


@pytest.fixture(scope="session")
def random_picks() -> RandomPicks:
    def draw(space: Space[Any], config: SpaceConfig, seed: int) -> dict[str, str]:
        return space.random_picks(config, np.random.default_rng(seed))

    return draw


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`space_name, values`: every registered space in every one of its small examples."""
    if {"space_name", "values"} <= set(metafunc.fixturenames):
        from models import spaces

        cases = [(name, values) for name, space in spaces().items() for values in space.examples]
        names = [f"{space.name}-{n}-x{v['scale']}" for space in spaces().values() for n, v in enumerate(space.examples)]
        metafunc.parametrize(("space_name", "values"), cases, ids=names)

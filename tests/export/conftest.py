"""Random networks and pairs of the three tasks."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from export import export_onnx
from models import Network, get_space
from runtime import Engine, Target, open_engine
from tasks import Sample, ValidationPair, dead_leaves, get_task, validation_pairs

MakeNetwork = Callable[..., Network]
OpenNetwork = Callable[[Network], Engine]
MakePairs = Callable[..., list[ValidationPair]]


def _network(scale: int = 1, seed: int = 0, damped: float = 0.1, **values: Any) -> Network:
    """Random picks and weights; `damped` keeps the residual small, as training would."""
    space = get_space("unet")
    config = space.parse_config({"channels": (8, 16), "blocks": 1, **space.task_config(scale), **values})
    rng = np.random.default_rng(seed)
    picks = {name: names[int(rng.integers(len(names)))] for name, names in space.candidates(config).items()}
    torch.manual_seed(seed)
    network = space.build(space.genotype(config, picks))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.uniform_(-0.05, 0.05)
        network.get_submodule("tail").get_parameter("weight").mul_(damped)
    return network


def _open(network: Network) -> Engine:
    return open_engine(export_onnx(network, network.multiple, network.scale), Target("cpu", "onnxruntime", "fp32", 1))


def _pairs(task: str = "denoise", scale: int = 1, sides: tuple[int, ...] = (40, 53)) -> list[ValidationPair]:
    samples = []
    for index, side in enumerate(sides):
        leaves = dead_leaves(np.random.default_rng(index), side * scale)
        clean: NDArray[np.uint8] = np.ascontiguousarray(leaves[: (side - 7 * index) * scale])
        samples.append(Sample(f"s/{index}", clean))
    return validation_pairs(get_task(task, scale if scale > 1 else None), samples, len(samples))


@pytest.fixture(scope="session")
def make_network() -> MakeNetwork:
    return _network


@pytest.fixture(scope="session")
def open_network() -> OpenNetwork:
    return _open


@pytest.fixture(scope="session")
def make_pairs() -> MakePairs:
    return _pairs

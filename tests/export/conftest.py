"""Random networks and pairs of the three tasks."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from export import export_onnx
from models import Network, get_space
from runtime import (
    Card,
    Engine,
    LatencyRecord,
    Lineage,
    Manifest,
    QualityRecord,
    SizeContract,
    Target,
    open_engine,
)
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


def _manifest(scale: int = 2, **fields: Any) -> Manifest:
    content: dict[str, Any] = {
        "name": "small-x2",
        "task": "super-resolution" if scale > 1 else "denoise",
        "scale": scale,
        "size": SizeContract(multiple=4, minimum=4, tile=(32, 32), overlap=8, scale=scale),
        "receptive_field": 17,
        "lineage": Lineage(genotype="g123", table="t", weights="w", onnx="o", code_version="0", config="c"),
        "latency": [
            LatencyRecord(
                target="cpu-onnxruntime-fp32-1t", device="Some CPU", height=24, width=32, predicted_ms=9.25,
                measured_ms=9.5, spread=0.01, budget_ms=10.0, engine_version="onnxruntime 1", date="2026-01-01",
            )
        ],
        "quality": [
            QualityRecord(
                step=step, dataset="held out", metric="psnr-y", degraded_db=28.126, restored_db=29.999, images=12
            )
            for step in ("torch", "onnx-fp32")
        ],
        "method": "autoderain",
        "parameters": 4321,
        "created": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    return Manifest.model_validate(content | fields)


@pytest.fixture(scope="session")
def make_manifest() -> Callable[..., Manifest]:
    return _manifest


@pytest.fixture(scope="session")
def card() -> Card:
    return Card(
        data="Pictures of leaves.",
        licence="Apache-2.0.",
        limits="Expect little.",
        command="millisight search --preset smoke",
    )


@pytest.fixture(scope="session")
def make_network() -> MakeNetwork:
    return _network


@pytest.fixture(scope="session")
def open_network() -> OpenNetwork:
    return _open


@pytest.fixture(scope="session")
def make_pairs() -> MakePairs:
    return _pairs

"""TensorRT-RTX builds everything that the registries hold, for GPUs that are not here. Running it needs one of them.

A new operation or search space is tested by being there.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export import export_onnx
from models import OPERATIONS, make_operation, spaces
from runtime.engines.tensorrt_build import ParsedModel, Profile, build_log, offered_capabilities
from runtime.errors import EngineError

CHANNELS = 8
PRECISIONS = ("fp32", "fp16")
EXAMPLES = [
    pytest.param(name, values, precision, id=f"{name}-{number}-{precision}", marks=[pytest.mark.slow] * (number > 0))
    for name, space in spaces().items()
    for number, values in enumerate(space.examples)
    for precision in PRECISIONS
]


@pytest.fixture(scope="module")
def trt() -> Any:
    return pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")


class OneOperation(nn.Module):
    """An operation between a stem and a tail, on as many scales as it takes: (N, 3, H, W) -> (N, 3, H, W)."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.strides = [2**n for n in range(OPERATIONS[name].branches)]
        self.stems = nn.ModuleList(nn.Conv2d(3, CHANNELS * s, s, stride=s) for s in self.strides)
        self.operation = make_operation(name, CHANNELS, CHANNELS)
        self.tails = nn.ModuleList(
            nn.Sequential(nn.Conv2d(CHANNELS * s, 3 * s * s, 1), nn.PixelShuffle(s)) for s in self.strides
        )

    def forward(self, x: Tensor) -> Tensor:
        scales = [stem(x) for stem in self.stems]
        scales = self.operation(scales) if len(scales) > 1 else [self.operation(scales[0])]
        total: Tensor = self.tails[0](scales[0])
        for tail, scale in zip(self.tails[1:], scales[1:], strict=True):
            total = total + tail(scale)
        return total


def _range(multiple: int) -> Profile:
    """Batches and heights that vary, as tiles of different pictures do."""
    return Profile((1, multiple, 4 * multiple), (2, 4 * multiple, 4 * multiple), (4, 8 * multiple, 4 * multiple))


def _build(trt: Any, model: bytes, precision: str, profile: Profile) -> None:
    log = build_log(trt)
    capabilities = [name for name in offered_capabilities(trt) if name != "7.5"]
    assert ParsedModel(trt, log, model, precision).plan(profile, capabilities).nbytes > 0
    assert log.errors == []


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_built(trt: Any, name: str, precision: str) -> None:
    torch.manual_seed(0)
    network = OneOperation(name)
    multiple = network.strides[-1]
    _build(trt, export_onnx(network, multiple, precision=precision), precision, _range(multiple))


@pytest.mark.parametrize(("name", "values", "precision"), EXAMPLES)
def test_every_space_is_built(trt: Any, name: str, values: dict[str, Any], precision: str) -> None:
    space = spaces()[name]
    config = space.parse_config(values)
    torch.manual_seed(0)
    network = space.build(space.genotype(config, space.random_picks(config, np.random.default_rng(0))))
    model = export_onnx(network, network.multiple, network.scale, precision)
    _build(trt, model, precision, _range(network.multiple))
    _build(trt, model, precision, Profile.fixed(1, 4 * network.multiple, 4 * network.multiple))


class Unbuildable(nn.Module):
    """The planted fault: what TensorRT has no layer for."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.det(x[..., :3, :3])[..., None, None] + x


def test_an_operation_that_cannot_be_built_would_be_seen(trt: Any) -> None:
    with pytest.raises(EngineError, match="TensorRT"):
        _build(trt, export_onnx(Unbuildable()), "fp32", _range(1))

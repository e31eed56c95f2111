from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from torch import nn

from export import OPSET, ExportError, export_onnx
from models import OPERATIONS, Network, fold_network, has_folds, make_operation, spaces
from runtime import Engine, Target, open_engine
from tests.networks import shaken_network

MakeNetwork = Callable[..., Network]
OpenNetwork = Callable[[Network], Engine]


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_the_file_says_what_it_is(make_network: MakeNetwork, scale: int) -> None:
    network = make_network(scale)
    model = onnx.load_from_string(export_onnx(network, network.multiple, scale))
    (opset,) = [entry.version for entry in model.opset_import if entry.domain == ""]
    assert opset == OPSET >= 18
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata == {"millisight.multiple": str(network.multiple), "millisight.scale": str(scale)}
    (image,), (restored,) = model.graph.input, model.graph.output
    assert (image.name, restored.name) == ("image", "restored")
    for value in (image, restored):
        dimensions = value.type.tensor_type.shape.dim
        assert dimensions[1].dim_value == 3
        assert all(dimensions[axis].dim_param for axis in (0, 2, 3)), value.name
    assert {entry.domain for entry in model.opset_import} <= {"", "ai.onnx"}


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_any_batch_and_size_gives_what_torch_gives(
    make_network: MakeNetwork, open_network: OpenNetwork, scale: int, seed: int
) -> None:
    network = make_network(scale, seed)
    engine = open_network(network)
    multiple = network.multiple
    for batch, height, width in ((1, 8, 8), (2, 5, 9), (3, 1, 2)):
        x = np.random.default_rng(seed).random((batch, 3, height * multiple, width * multiple), dtype=np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(x)).numpy()
        got = engine.run(x)
        assert got.shape == (batch, 3, scale * height * multiple, scale * width * multiple)
        assert np.abs(got - expected).max() < 1e-5


def test_pictures_of_a_batch_do_not_mix(make_network: MakeNetwork, open_network: OpenNetwork) -> None:
    engine = open_network(make_network(1, attentions=("squeeze_excitation",)))
    x = np.random.default_rng(0).random((2, 3, 16, 16), dtype=np.float32)
    assert np.abs(engine.run(x)[1:] - engine.run(x[1:])).max() < 1e-6


@pytest.mark.parametrize("name", [name for name, o in OPERATIONS.items() if o.kind == "convolution"])
def test_every_convolution_exports_inside_a_network(
    make_network: MakeNetwork, open_network: OpenNetwork, name: str
) -> None:
    # One width: operations with normalisation cannot be cut to another.
    network = make_network(1, convolutions=(name,), attentions=("squeeze_excitation",), widths=(1.0,)).eval()
    x = np.random.default_rng(0).random((1, 3, 12, 20), dtype=np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(x)).numpy()
    assert np.abs(open_network(network).run(x) - expected).max() < 1e-5


def test_the_same_weights_give_the_same_bytes(make_network: MakeNetwork) -> None:
    """Also in another memory layout: a bundle is the same whether it was written after training or after a resume."""
    network = make_network(2)
    first = export_onnx(network, network.multiple, 2)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert export_onnx(network, network.multiple, 2) == first


def test_export_is_made_for_use_and_leaves_the_weights_alone(make_network: MakeNetwork) -> None:
    network = make_network(1).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    export_onnx(network, network.multiple)
    assert not network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_network_without_parameters_can_be_exported() -> None:
    model = onnx.load_from_string(export_onnx(nn.PixelUnshuffle(2), multiple=2))
    assert model.graph.node


FOLDING = [name for name, o in OPERATIONS.items() if o.kind == "convolution" and has_folds(o.make(8, 8))]


def _nodes(data: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(data).graph.node]


@pytest.mark.parametrize("channels", [(3, 3), (3, 8)])
@pytest.mark.parametrize("name", FOLDING)
def test_branches_are_one_convolution_in_the_file(name: str, channels: tuple[int, int]) -> None:
    layer = make_operation(name, *channels)
    assert _nodes(export_onnx(layer)) == ["Conv"]
    assert _nodes(export_onnx(layer, precision="fp16")) == ["Cast", "Conv", "Cast"]
    assert has_folds(layer)


def test_branches_that_were_not_folded_would_be_seen() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide, self.point = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            total: torch.Tensor = self.wide(x) + self.point(x)
            return total

    assert sorted(_nodes(export_onnx(Branches()))) == ["Add", "Conv", "Conv"]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", FOLDING)
def test_a_network_of_branches_gives_the_file_of_the_folded_one(
    make_network: MakeNetwork, name: str, precision: str
) -> None:
    network = make_network(2, convolutions=(name,), attentions=("identity",), widths=(1.0,))
    data = export_onnx(network, network.multiple, 2, precision)
    assert data == export_onnx(fold_network(network), network.multiple, 2, precision)
    plain = make_network(2, convolutions=("conv3x3",), attentions=("identity",), widths=(1.0,))
    assert _nodes(data) == _nodes(export_onnx(plain, network.multiple, 2, precision))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert export_onnx(network, network.multiple, 2, precision) == data


HALF_CASES = [(name, values) for name, space in spaces().items() for values in space.examples[:3:2]]
HALF_STEP = 2.0**-10
"""Between two neighbours in float16, as a part of their size."""


def _relative_error(model: bytes, network: Network) -> float:
    engine = open_engine(model, Target("cpu", "onnxruntime", "fp32", 1))
    x = np.random.default_rng(0).random((2, 3, 3 * network.multiple, 5 * network.multiple), dtype=np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(x)).numpy()
    got = engine.run(x)
    assert got.shape == expected.shape
    return float(np.abs(got - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize(("name", "values"), HALF_CASES, ids=[f"{name}-x{v['scale']}" for name, v in HALF_CASES])
def test_half_precision_is_in_the_file_and_its_borders_are_not(name: str, values: dict[str, Any]) -> None:
    network = shaken_network(name, values)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    data = export_onnx(network, network.multiple, values["scale"], "fp16")
    model = onnx.load_from_string(data)
    floats = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE}
    assert {weight.data_type for weight in model.graph.initializer} & floats == {TensorProto.FLOAT16}
    (image,), (restored,) = model.graph.input, model.graph.output
    assert image.type.tensor_type.elem_type == restored.type.tensor_type.elem_type == TensorProto.FLOAT
    assert {entry.key: entry.value for entry in model.metadata_props}["millisight.precision"] == "fp16"
    # What was passed in is as it was.
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
    assert all(tensor.dtype == before[key].dtype for key, tensor in network.state_dict().items())

    error = _relative_error(data, network)
    assert error < 8 * HALF_STEP
    # planted fault: the same check sees weights that are off by a fiftieth
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.is_floating_point():
                tensor.mul_(1.02)
    assert _relative_error(data, network) > 2 * error


def test_full_precision_has_no_halves(make_network: MakeNetwork) -> None:
    network = make_network(2)
    model = onnx.load_from_string(export_onnx(network, network.multiple, 2))
    assert TensorProto.FLOAT16 not in {weight.data_type for weight in model.graph.initializer}
    assert export_onnx(network, network.multiple, 2, "fp32") == model.SerializeToString()


def test_weights_too_large_for_halves_are_refused() -> None:
    network = nn.Conv2d(3, 3, 1)
    with torch.no_grad():
        network.weight[0, 0] = 65504.0
    assert export_onnx(network, precision="fp16")
    with torch.no_grad():
        network.weight[0, 0] = 70000.0
    with pytest.raises(ExportError, match="'weight' has values that float16 cannot hold"):
        export_onnx(network, precision="fp16")
    assert network.weight[0, 0].item() == 70000.0


def test_an_unknown_precision_lists_what_is_known() -> None:
    with pytest.raises(ExportError, match="unknown precision 'int8'; allowed: fp32, fp16"):
        export_onnx(nn.Conv2d(3, 3, 1), precision="int8")

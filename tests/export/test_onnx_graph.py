from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from export import OPSET, export_onnx
from models import OPERATIONS, Network
from runtime import Engine

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

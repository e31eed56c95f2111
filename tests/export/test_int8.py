"""Int8 files run in both engines, near what float32 gives, and leave alone what has to be left alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from export import ExportError, export_onnx, run_whole
from export.int8 import Quantizer, quantize, spread
from export.int8_ranges import best_range, open_tapped
from export.quantized_graph import QuantizableGraph, Range, node_name
from export.simplify import simplify
from models import Network, spaces
from runtime import Target, open_engine
from tasks import ValidationPair, get_task
from tests.networks import shaken_network

MakeNetwork = Callable[..., Network]
MakePairs = Callable[..., list[ValidationPair]]
Image = NDArray[np.float32]

CASES = [(name, values) for name, space in spaces().items() for values in space.examples]
FP32 = Target("cpu", "onnxruntime", "fp32", 1)
INT8 = [Target("cpu", "onnxruntime", "int8", 1), Target("cpu", "openvino", "int8", 1)]


def exported(network: Network) -> bytes:
    return export_onnx(network, network.multiple, network.scale)


def pictures(multiple: int, count: int = 3) -> list[Image]:
    rng = np.random.default_rng(1)
    return [rng.random((1, 3, 6 * multiple, 8 * multiple), dtype=np.float32) for _ in range(count)]


def unet(make_network: MakeNetwork, scale: int = 1, **values: Any) -> bytes:
    chosen = {"convolutions": ("conv3x3",), "attentions": ("squeeze_excitation",), "damped": 1.0}
    return exported(make_network(scale, **{**chosen, **values}))


def nodes(model: bytes) -> dict[str, onnx.NodeProto]:
    return {node_name(node): node for node in onnx.load_from_string(model).graph.node}


def rounds(node: onnx.NodeProto) -> bool:
    """Whether a node reads eight-bit values."""
    return node.input[0].endswith("_dequantized")


def count(model: bytes, kind: str) -> int:
    return sum(node.op_type == kind for node in nodes(model).values())


@pytest.mark.parametrize(("name", "values"), CASES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(CASES)])
def test_every_space_runs_in_every_engine_near_float32(name: str, values: dict[str, Any]) -> None:
    network = shaken_network(name, values, zeros=0.3)
    model = exported(network)
    multiple, scale = network.multiple, network.scale
    quantizer = Quantizer(model, pictures(multiple))
    rounded = quantizer.quantize()

    parsed = onnx.load_from_string(rounded)
    onnx.checker.check_model(parsed, full_check=True)
    assert {entry.key: entry.value for entry in parsed.metadata_props}["millisight.precision"] == "int8"
    dimensions = [
        [d.dim_param for d in v.type.tensor_type.shape.dim] for v in (*parsed.graph.input, *parsed.graph.output)
    ]
    assert dimensions == [["N", "", "H", "W"], ["N", "", f"{scale}*H", f"{scale}*W"]]
    assert any(rounds(node) for node in nodes(rounded).values() if node.op_type == "Conv")
    assert {entry.data_type for entry in parsed.graph.initializer} >= {TensorProto.INT8, TensorProto.UINT8}

    image = np.random.default_rng(0).random((2, 3, 3 * multiple, 5 * multiple), dtype=np.float32)
    want = open_engine(model, FP32).run(image)
    for file, difference in ((rounded, 0.15), (quantizer.quantize(quantizer.graph.joints), 0.03)):
        ours, theirs = (open_engine(file, target).run(image) for target in INT8)
        assert ours.shape == theirs.shape == want.shape
        assert 1e-5 < distance(ours, want) < 0.1
        assert 1e-5 < distance(theirs, want) < 0.1
        # Engines round sums and products in an order of their own; between convolutions alone nothing is left to them.
        assert distance(ours, theirs) < difference


def distance(image: Image, other: Image) -> float:
    """Root mean square difference, as a part of how much the second varies."""
    return float(np.sqrt(np.mean((image - other) ** 2)) / np.std(other))


def test_the_same_arguments_give_the_same_bytes(make_network: MakeNetwork) -> None:
    model, images = unet(make_network), pictures(4)
    assert quantize(model, images, accurate=True) == quantize(model, images, accurate=True)
    assert quantize(model, images) != quantize(model, pictures(4, 2))


def test_nothing_is_printed(make_network: MakeNetwork, capfd: pytest.CaptureFixture[str]) -> None:
    quantize(unet(make_network), pictures(4), accurate=True)
    assert capfd.readouterr().out == ""


def test_gates_and_the_way_out_stay_in_float32(make_network: MakeNetwork) -> None:
    rounded = nodes(quantize(unet(make_network, 2), pictures(4)))
    small = {name for name, node in rounded.items() if node.op_type == "Conv" and "attention" in name}
    enlargement = {name for name, node in rounded.items() if node.op_type == "Conv" and "enlarge" in name}
    assert small
    assert enlargement
    convolutions = {name for name, node in rounded.items() if node.op_type == "Conv"}
    assert {name for name in convolutions if not rounds(rounded[name])} == small | enlargement
    (last,) = (node for node in rounded.values() if "restored" in node.output)
    assert not any(source.endswith("_dequantized") for source in last.input)


def test_structure_counts_and_not_names(make_network: MakeNetwork) -> None:
    """The same, after every node was given another name."""
    model = onnx.load_from_string(simplify(unet(make_network, 2)))
    named = QuantizableGraph(model)
    known = [list(named.nodes).index(name) for name in named.quantizable]
    for place, node in enumerate(model.graph.node):
        node.name = f"n{place}"
    assert [int(name[1:]) for name in QuantizableGraph(model).quantizable] == known


def test_what_is_left_out_is_in_float32(make_network: MakeNetwork) -> None:
    quantizer = Quantizer(unet(make_network), pictures(4))
    everything = quantizer.quantize()
    for name in (quantizer.graph.convolutions[0], quantizer.graph.convolutions[3], quantizer.graph.joints[0]):
        model = quantizer.quantize([name])
        assert rounds(nodes(everything)[name])
        assert not any(source.endswith("_dequantized") for source in nodes(model)[name].input)
        assert count(model, "DequantizeLinear") < count(everything, "DequantizeLinear")
    bare = quantizer.quantize(quantizer.graph.joints)
    assert count(bare, "DequantizeLinear") <= 2 * len(quantizer.graph.convolutions)


def test_each_pair_is_written_once(make_network: MakeNetwork) -> None:
    rounded = quantize(unet(make_network), pictures(4))
    sources = [node.input[0] for node in nodes(rounded).values() if node.op_type == "QuantizeLinear"]
    assert len(set(sources)) == len(sources) > 0
    read = {source for node in nodes(rounded).values() for source in node.input}
    assert all(node.output[0] in read for node in nodes(rounded).values() if node.op_type == "DequantizeLinear")


def test_activations_are_unsigned_and_weights_symmetric(make_network: MakeNetwork) -> None:
    """What ONNX Runtime has fast kernels for."""
    file = onnx.load_from_string(quantize(unet(make_network), pictures(4)))
    values = {entry.name: numpy_helper.to_array(entry) for entry in file.graph.initializer}
    for node in file.graph.node:
        if node.op_type == "QuantizeLinear":
            assert values[node.input[2]].dtype == np.uint8
            assert values[node.input[2]].ndim == values[node.input[1]].ndim == 0
        if node.op_type == "DequantizeLinear" and node.input[0] in values:
            codes = values[node.input[0]]
            assert codes.dtype == np.int8
            assert not values[node.input[2]].any()
            assert np.abs(codes.astype(int)).max(axis=(1, 2, 3)).min() == 127  # each channel uses all its codes
            assert values[node.input[1]].shape == (len(codes),)


def test_the_mean_that_rounding_shifts_is_put_back(make_network: MakeNetwork) -> None:
    images = pictures(4, 4)
    quantizer = Quantizer(unet(make_network), images)
    names = [quantizer.graph.nodes[name].output[0] for name in quantizer.graph.convolutions]

    def means(model: onnx.ModelProto) -> NDArray[np.float64]:
        run = open_tapped(model, names)
        return np.concatenate(
            [np.mean([v.mean((0, 2, 3)) for v in values], 0) for values in zip(*map(run, images), strict=True)]
        )

    want = means(quantizer.graph.model)
    plain, accurate = (
        float(np.abs(means(onnx.load_from_string(quantizer.quantize((), flag))) - want).mean())
        for flag in (False, True)
    )
    assert accurate < 0.1 * plain


class Tied(torch.nn.Module):
    """One convolution, three times."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = torch.nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.convolution(torch.relu(self.convolution(torch.relu(self.convolution(image)))))
        return image + features


def test_tied_convolutions_share_weights_and_not_what_is_corrected() -> None:
    model = export_onnx(Tied())
    plain, accurate = (quantize(model, pictures(4), accurate=flag) for flag in (False, True))

    def places(file: bytes, place: int) -> list[str]:
        """What convolutions in int8 read there."""
        found = [node for node in nodes(file).values() if node.op_type == "Conv" and rounds(node)]
        return [node.input[place] for node in found if len(node.input) > place]

    assert len(places(plain, 1)) == len(places(plain, 2)) == 3
    assert len(set(places(plain, 1))) == len(set(places(plain, 2))) == 1
    assert len(set(places(accurate, 1))) == 1
    assert len(set(places(accurate, 2))) == 3


def decibels_lost(model: bytes, rounded: bytes, pairs: list[ValidationPair], multiple: int) -> float:
    task = get_task("denoise")

    def score(file: bytes, target: Target) -> float:
        engine = open_engine(file, target)
        return float(np.mean([task.psnr(run_whole(engine, pair.degraded, multiple, 1), pair.clean) for pair in pairs]))

    return score(model, FP32) - score(rounded, INT8[0])


def test_a_corrupted_scale_costs_decibels(make_network: MakeNetwork, make_pairs: MakePairs) -> None:
    network = make_network(1, convolutions=("conv3x3",))
    pairs = make_pairs()
    model = exported(network)
    rounded = quantize(model, [pair.degraded[None, :, :32, :32] for pair in pairs], accurate=True)
    sound = decibels_lost(model, rounded, pairs, network.multiple)
    assert abs(sound) < 0.1
    broken = onnx.load_from_string(rounded)
    scale = next(entry for entry in broken.graph.initializer if entry.name == "tail.weight_scale")
    scale.CopyFrom(numpy_helper.from_array(8 * numpy_helper.to_array(scale), scale.name))
    assert decibels_lost(model, broken.SerializeToString(), pairs, network.multiple) > sound + 0.1


def errors(values: NDArray[np.float64], span: Range) -> float:
    codes = np.clip(np.round(values / float(span.scale)) + int(span.zero_point), 0, 255)
    return float(np.mean(((codes - int(span.zero_point)) * float(span.scale) - values) ** 2))


@pytest.mark.parametrize("outlier", [1.0, 3.0, 40.0])
@pytest.mark.parametrize("rectified", [False, True])
def test_the_best_range_weighs_clipping_against_rounding(outlier: float, rectified: bool) -> None:
    values = np.random.default_rng(0).normal(0.1, 1.0, 100_000)
    values[:3] *= outlier
    values = np.maximum(values, 0) if rectified else values
    low, high = min(0.0, float(values.min())), float(values.max())
    counts, _ = np.histogram(values, 4096, (low, high))
    found = best_range(low, high, counts)
    assert errors(values, found) <= 1.001 * errors(values, Range(low, high))
    # Planted: a range that is much narrower, or much wider, is worse.
    for factor in (0.5, 2.0):
        assert errors(values, found) < errors(values, Range(factor * found.low, factor * found.high))
    if rectified:
        assert found.low == 0
        assert found.zero_point == 0


def test_zero_is_exact_and_a_dead_tensor_harmless() -> None:
    for span in (Range(-0.3, 1.7), Range(0.0, 5.0), Range(-2.0, 0.0), Range(0.0, 0.0)):
        assert 0 <= span.zero_point <= 255
        assert span.scale > 0
        assert errors(np.zeros(1), span) == 0
    assert best_range(0.0, 0.0, np.zeros(4096, np.int64)) == Range(0.0, 0.0)


def test_images_are_taken_evenly() -> None:
    images = [np.full((1, 3, 1, 1), value, np.float32) for value in range(9)]
    assert [float(image.max()) for image in spread(images, 3)] == [0, 4, 8]
    assert spread(images[:2], 3) == images[:2]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "needs calibration images"),
        ([np.zeros((3, 8, 8), np.float32)], r"float32 \(1, 3, H, W\), got float32 \(3, 8, 8\)"),
        ([np.zeros((1, 3, 8, 8))], "got float64"),
        ([np.full((1, 3, 8, 8), np.nan, np.float32)], "not finite"),
    ],
)
def test_images_of_a_wrong_form_are_refused(make_network: MakeNetwork, images: list[Image], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        quantize(unet(make_network), images)


def test_what_cannot_be_left_out_is_refused(make_network: MakeNetwork) -> None:
    quantizer = Quantizer(unet(make_network), pictures(4))
    with pytest.raises(ExportError, match=r"no quantizable node '/nowhere'; there are /head/Conv, "):
        quantizer.quantize(["/nowhere"])
    with pytest.raises(ExportError, match="every convolution is left out"):
        quantizer.quantize(quantizer.graph.convolutions)


def test_a_network_without_a_chain_of_convolutions_is_refused() -> None:
    with pytest.raises(ExportError, match="no chain of convolutions"):
        quantize(export_onnx(torch.nn.Conv2d(3, 3, 3, padding=1)), pictures(4))

"""A simplified file is smaller, says the same about itself, and computes the same."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from export import ExportError, export_onnx
from export.simplify import simplify
from models import Network, spaces
from runtime import Target, open_engine

MakeNetwork = Callable[..., Network]

CASES = [(name, values) for name, space in spaces().items() for values in space.examples]
ROOT = Path(__file__).parents[2]
CPU = Target("cpu", "onnxruntime", "fp32", 1)


def example(name: str, values: dict[str, Any]) -> tuple[bytes, int]:
    space = spaces()[name]
    config = space.parse_config(values)
    torch.manual_seed(0)
    network = space.build(space.genotype(config, space.random_picks(config, np.random.default_rng(0))))
    return export_onnx(network, network.multiple, network.scale), network.multiple


def restored(model: bytes, multiple: int) -> NDArray[np.float32]:
    image = np.random.default_rng(0).random((2, 3, 3 * multiple, 5 * multiple), dtype=np.float32)
    return open_engine(model, CPU).run(image)


def kinds(model: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(model).graph.node]


@pytest.mark.parametrize(("name", "values"), CASES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(CASES)])
def test_every_space_computes_what_it_did(name: str, values: dict[str, Any]) -> None:
    model, multiple = example(name, values)
    simple = simplify(model)
    onnx.checker.check_model(onnx.load_from_string(simple), full_check=True)
    assert "Constant" not in kinds(simple)
    assert len(kinds(simple)) <= len(kinds(model))
    assert np.abs(restored(simple, multiple) - restored(model, multiple)).max() < 1e-5


@pytest.mark.parametrize("scale", [1, 2])
def test_what_the_file_says_of_itself_stays(make_network: MakeNetwork, scale: int) -> None:
    network = make_network(scale)
    model = export_onnx(network, network.multiple, scale)
    before, after = (onnx.load_from_string(file) for file in (model, simplify(model)))
    for name in ("ir_version", "opset_import", "metadata_props"):
        assert getattr(before, name) == getattr(after, name), name
    assert before.graph.input == after.graph.input
    assert before.graph.output == after.graph.output
    assert [d.dim_param for d in after.graph.output[0].type.tensor_type.shape.dim] == [
        "N", "", f"{scale}*H", f"{scale}*W"
    ]  # fmt: skip
    # Those who name a layer, say to leave it out, must find it again.
    convolutions = [{node.name for node in file.graph.node if node.op_type == "Conv"} for file in (before, after)]
    assert convolutions[0] == convolutions[1]


def test_the_shape_arithmetic_of_a_padding_is_folded(make_network: MakeNetwork) -> None:
    network = make_network(2)
    model = export_onnx(network, network.multiple, 2)
    leftovers = {"ConstantOfShape", "Slice", "Cast", "Transpose"}
    assert leftovers <= set(kinds(model))
    assert leftovers.isdisjoint(kinds(simplify(model)))


def test_what_is_simple_stays_as_it_is_to_the_byte(make_network: MakeNetwork) -> None:
    network = make_network(2)
    simple = simplify(export_onnx(network, network.multiple, 2))
    assert simplify(simple) == simple


def test_the_same_file_gives_the_same_file(make_network: MakeNetwork) -> None:
    network = make_network(2)
    model = export_onnx(network, network.multiple, 2)
    assert simplify(model) == simplify(model) != model


def test_another_process_gives_the_same_file_too(make_network: MakeNetwork) -> None:
    """Sets are in another order there."""
    network = make_network(2)
    model = export_onnx(network, network.multiple, 2)
    code = (
        "import sys; from export.simplify import simplify; sys.stdout.buffer.write(simplify(sys.stdin.buffer.read()))"
    )
    written = [
        subprocess.run(
            [sys.executable, "-c", code],
            input=model,
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            check=True,
            timeout=120,
        ).stdout
        for seed in ("1", "2")
    ]
    assert written[0] == written[1] == simplify(model)


def test_a_wrong_weight_would_be_seen(make_network: MakeNetwork) -> None:
    network = make_network(2, damped=1.0)
    simple = simplify(export_onnx(network, network.multiple, 2))
    broken = onnx.load_from_string(simple)
    (weight,) = (entry for entry in broken.graph.initializer if entry.name == "tail.weight")
    weight.CopyFrom(numpy_helper.from_array(1.01 * numpy_helper.to_array(weight), weight.name))
    off = np.abs(restored(broken.SerializeToString(), network.multiple) - restored(simple, network.multiple)).max()
    assert off > 1e-5


@pytest.mark.parametrize("content", [b"no model", b"\x08"])
def test_what_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(ExportError, match="no ONNX file"):
        simplify(content)

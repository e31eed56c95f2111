"""Small real models and bundles, made in the test."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from runtime import Bundle, Lineage, Manifest, SizeContract, write_bundle

ModelMaker = Callable[..., bytes]
ManifestMaker = Callable[..., Manifest]
BundleMaker = Callable[..., Bundle]


def _convolution(radius: int = 1, scale: int = 1, kernel: str = "random", channels: int = 3, stride: int = 1) -> bytes:
    """One convolution 3 -> channels of the given receptive radius and stride, then a pixel shuffle up to `scale`.

    kernel: "random" (seeded), "identity" (gives the input, upscaled by repetition), "nan" (divides by zero).
    """
    size, block = 2 * radius + 1, scale * stride
    outputs = channels * block**2
    weight = np.zeros((outputs, 3, size, size), dtype=np.float32)
    if kernel == "random":
        weight = np.random.default_rng(7).uniform(-1, 1, weight.shape).astype(np.float32)
        weight /= np.abs(weight).sum(axis=(1, 2, 3), keepdims=True)
    else:
        for channel in range(outputs):
            weight[channel, channel // block**2 % 3, radius, radius] = np.nan if kernel == "nan" else 1.0
    nodes = [helper.make_node("Conv", ["x", "w"], ["features"], pads=[radius] * 4, strides=[stride] * 2)]
    nodes.append(helper.make_node("DepthToSpace", ["features"], ["y"], blocksize=block, mode="CRD"))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", channels, "sh", "sw"])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _manifest(name: str = "small", scale: int = 1, **fields: object) -> Manifest:
    content: dict[str, object] = {
        "name": name,
        "task": "derain" if scale == 1 else "super-resolution",
        "scale": scale,
        "size": SizeContract(multiple=1, minimum=4, tile=(16, 16), overlap=4, scale=scale),
        "receptive_field": 3,
        "lineage": Lineage(genotype="g", table="t", weights="w", onnx="o", code_version="0", config="c"),
        "method": "none",
        "parameters": 84,
        "created": "2026-01-01T00:00:00Z",
    }
    return Manifest.model_validate(content | fields)


@pytest.fixture
def make_model() -> ModelMaker:
    return _convolution


@pytest.fixture
def make_manifest() -> ManifestMaker:
    return _manifest


@pytest.fixture
def make_bundle(tmp_path: Path) -> BundleMaker:
    def make(folder: str = "small", model: bytes | None = None, **fields: object) -> Bundle:
        scale = fields.get("scale", 1)
        content = _convolution(scale=scale) if model is None else model
        return write_bundle(tmp_path / folder, _manifest(**fields), {"model.onnx": content, "card.md": b"# Small\n"})

    return make


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """A Pillow image to the bytes of a file."""

    def to_bytes(image: Image.Image, kind: str, **options: object) -> bytes:
        file = io.BytesIO()
        image.save(file, format=kind, **options)
        return file.getvalue()

    return to_bytes

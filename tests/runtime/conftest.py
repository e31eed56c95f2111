"""Small real models and bundles, made in the test."""

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from runtime import Bundle, Lineage, Manifest, SizeContract, write_bundle
from runtime.checksums import hash_file, sums_text

ModelMaker = Callable[..., bytes]
ManifestMaker = Callable[..., Manifest]
BundleMaker = Callable[..., Bundle]


def _convolution(
    radius: int = 1, scale: int = 1, kernel: str = "random", channels: int = 3, stride: int = 1, quantized: bool = False
) -> bytes:
    """One convolution 3 -> channels of the given receptive radius and stride, then a pixel shuffle up to `scale`.

    kernel: "random" (seeded), "identity" (gives the input, upscaled by repetition), "nan" (divides by zero).
    quantized: Whether the input is rounded to 256 levels first, as in an int8 graph.
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
    nodes, entry, constants = [], "x", [numpy_helper.from_array(weight, "w")]
    if quantized:
        entry = "seen"
        nodes.append(helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["levels"]))
        nodes.append(helper.make_node("DequantizeLinear", ["levels", "step", "zero"], [entry]))
        constants.append(numpy_helper.from_array(np.float32(1 / 255), "step"))
        constants.append(numpy_helper.from_array(np.uint8(0), "zero"))
    nodes.append(helper.make_node("Conv", [entry, "w"], ["features"], pads=[radius] * 4, strides=[stride] * 2))
    nodes.append(helper.make_node("DepthToSpace", ["features"], ["y"], blocksize=block, mode="CRD"))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", channels, "sh", "sw"])],
        constants,
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
def old_bundle(tmp_path: Path) -> Path:
    """A folder as releases that wrote schema 1 left it."""
    files = {"model.onnx": _convolution(), "card.md": b"# Small\n"}
    since_2 = {"models", "engines", "default_target", "default_reason", "speed", "steps", "card"}
    manifest = {key: value for key, value in _manifest().model_dump(mode="json").items() if key not in since_2}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    manifest |= {"schema_version": 1, "model_file": "model.onnx", "files": hashes}
    del manifest["lineage"]["calibration"]
    folder = tmp_path / "old"
    folder.mkdir()
    for name, content in {**files, "manifest.json": json.dumps(manifest).encode()}.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def reseal() -> Callable[..., None]:
    """Change a bundle's manifest by hand and make its sums fit again, as only somebody who means it does."""

    def change(folder: Path, **fields: object) -> None:
        path = folder / "manifest.json"
        manifest = {**json.loads(path.read_text()), **fields}
        path.write_text(json.dumps(manifest))
        hashes = {**manifest["files"], "manifest.json": hash_file(path)}
        (folder / "SHA256SUMS").write_text(sums_text(hashes))

    return change


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """A Pillow image to the bytes of a file."""

    def to_bytes(image: Image.Image, kind: str, **options: object) -> bytes:
        file = io.BytesIO()
        image.save(file, format=kind, **options)
        return file.getvalue()

    return to_bytes

"""A file in int8 on a target that is not, and the other way round, on every engine of the processor."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from runtime.engine import open_engine
from runtime.engines.precision import PRECISION_NOTE, check_precision
from runtime.errors import EngineError
from runtime.target import TARGETS, Target

HERE = [target for target in map(Target.parse, TARGETS) if not target.on_gpu and target.missing() is None]
INT8 = [target for target in HERE if target.precision == "int8"]
FLOAT = [target for target in HERE if target.precision != "int8"]


def _model(quantised: bool, noted: str = "") -> bytes:
    """A convolution 3 -> 3, with its input quantised to uint8 and back before it or not."""
    weights = {"w": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)}
    if quantised:
        weights |= {"scale": np.float32(1 / 255), "zero": np.uint8(0)}
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
            helper.make_node("Conv", ["d", "w"], ["y"]),
        ]
    else:
        nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, "h", "w"]) for name in "xy")
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if noted:
        entry = model.metadata_props.add()
        entry.key, entry.value = PRECISION_NOTE, noted
    content: bytes = model.SerializeToString()
    return content


def test_there_is_something_to_try() -> None:
    assert {target.engine for target in INT8} == {target.engine for target in FLOAT} >= {"onnxruntime"}


@pytest.mark.parametrize("target", INT8, ids=[target.kind for target in INT8])
def test_int8_takes_int8_and_nothing_else(target: Target, tmp_path: Path) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (1, 3, 8, 8)).astype(np.float32) / 255
    for noted in ("", "int8"):
        np.testing.assert_allclose(open_engine(_model(True, noted), target).run(batch), batch, atol=1e-6)
    path = tmp_path / "model.onnx"
    for noted in ("", "fp32", "fp16"):
        path.write_bytes(_model(False, noted))
        for model in (path, path.read_bytes()):
            with pytest.raises(EngineError, match=rf"in {noted or 'fp32'} and the target in int8 .*millisight export"):
                open_engine(model, target)


@pytest.mark.parametrize("target", FLOAT, ids=[target.kind for target in FLOAT])
def test_others_take_what_is_not_int8(target: Target, tmp_path: Path) -> None:
    for noted in ("", "fp16"):
        assert open_engine(_model(False, noted), target).target == target
    path = tmp_path / "model.onnx"
    for noted in ("", "int8"):
        path.write_bytes(_model(True, noted))
        for model in (path, path.read_bytes()):
            with pytest.raises(EngineError, match=f"in int8 and the target in {target.precision} .*-int8"):
                open_engine(model, target)


@pytest.mark.parametrize("slug", TARGETS)
def test_the_rule_holds_for_every_target(slug: str) -> None:
    target = Target.parse(slug)
    for found in ("fp32", "fp16", "int8"):
        if (found == "int8") == (target.precision == "int8"):
            check_precision(found, target)
        else:
            with pytest.raises(EngineError, match=slug):
                check_precision(found, target)

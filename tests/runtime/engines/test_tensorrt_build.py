"""Building plans. TensorRT-RTX has the builder of TensorRT and needs no driver for it: `pip install tensorrt-rtx`."""

from collections.abc import Callable
from typing import Any

import pytest
from onnx import TensorProto, helper

from runtime.engines.tensorrt_build import BuildLog, ParsedModel, build_log
from runtime.errors import EngineError
from runtime.requirements import REQUIREMENTS, import_tensorrt

MakeModel = Callable[..., bytes]


@pytest.fixture(scope="module", params=["tensorrt", "tensorrt_rtx"])
def trt(request: pytest.FixtureRequest) -> Any:
    if request.param == "tensorrt_rtx":
        return pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")
    missing = REQUIREMENTS["cuda-tensorrt"]()
    if missing is not None:
        pytest.skip(missing.what)
    return import_tensorrt()


def _half(model_sides: list[str | int]) -> bytes:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, model_sides) for name in "xy")
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], to=TensorProto.FLOAT16),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Cast", ["b"], ["y"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(nodes, "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def test_a_plan_is_built_for_a_shape(trt: Any, make_model: MakeModel) -> None:
    log = build_log(trt)
    model = ParsedModel(trt, log, make_model(radius=2, scale=2), "fp32")
    for shape in ((1, 3, 8, 8), (2, 3, 16, 10)):
        assert model.plan(shape).nbytes > 0
    assert log.errors == []


def test_the_precision_is_that_of_the_file(trt: Any, make_model: MakeModel) -> None:
    log = build_log(trt)
    half = _half(["n", 3, "h", "w"])
    assert ParsedModel(trt, log, half, "fp16").plan((1, 3, 8, 8)).nbytes > 0
    with pytest.raises(EngineError, match="computes in fp16 and the target in fp32"):
        ParsedModel(trt, log, half, "fp32")
    with pytest.raises(EngineError, match="computes in fp32 and the target in fp16"):
        ParsedModel(trt, log, make_model(), "fp16")


def test_what_is_no_restoration_model_is_refused(trt: Any) -> None:
    log = build_log(trt)
    with pytest.raises(EngineError, match=r"TensorRT refused the model: .*parse"):
        ParsedModel(trt, log, b"not a model", "fp32")
    assert log.errors == [], "an error is told once"
    with pytest.raises(EngineError, match=r"has to be float32 \(N, C, H, W\)"):
        ParsedModel(trt, log, _half(["n", 3]), "fp16")


def test_a_shape_the_model_cannot_have_is_refused(trt: Any, make_model: MakeModel) -> None:
    with pytest.raises(EngineError, match=r"The model takes \(-1, 3, -1, -1\)"):
        ParsedModel(trt, build_log(trt), make_model(), "fp32").plan((1, 4, 8, 8))


def test_errors_are_told_with_their_reasons() -> None:
    log = BuildLog(None, ["no tactic", "no memory"])
    assert str(log.error("failed to run")) == "TensorRT failed to run: no tactic; no memory"
    assert str(log.error("failed to run")) == "TensorRT failed to run: it gave no reason"

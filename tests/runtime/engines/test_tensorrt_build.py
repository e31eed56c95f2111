"""Building plans. TensorRT-RTX has the builder of TensorRT and needs no driver for it: `pip install tensorrt-rtx`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from runtime.cuda import cuda_status
from runtime.engines.tensorrt_build import BuildLog, ParsedModel, Profile, build_log, is_rtx, offered_capabilities
from runtime.errors import EngineError
from runtime.requirements import REQUIREMENTS, import_tensorrt

MakeModel = Callable[..., bytes]


@pytest.fixture(scope="module")
def rtx() -> Any:
    return pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")


@pytest.fixture(scope="module", params=["tensorrt", "tensorrt_rtx"])
def trt(request: pytest.FixtureRequest) -> Any:
    if request.param == "tensorrt_rtx":
        return pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")
    missing = REQUIREMENTS["cuda-tensorrt"]()
    if missing is not None:
        pytest.skip(missing.what)
    return import_tensorrt()


def _elsewhere(trt: Any) -> tuple[str, ...]:
    """A GPU to build for: TensorRT-RTX needs none at hand, TensorRT takes no other."""
    return ("8.6",) if is_rtx(trt) else ()


def _graph(nodes: list[Any], sides: list[str | int], weights: list[Any] | None = None) -> bytes:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, sides) for name in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y], weights or [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def _half(sides: list[str | int]) -> bytes:
    return _graph(
        [
            helper.make_node("Cast", ["x"], ["a"], to=TensorProto.FLOAT16),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("Cast", ["b"], ["y"], to=TensorProto.FLOAT),
        ],
        sides,
    )


def _quantized(zero: Any) -> bytes:
    weights = [numpy_helper.from_array(np.float32(0.01), "scale"), numpy_helper.from_array(zero, "zero")]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    return _graph(nodes, ["n", 3, "h", "w"], weights)


@pytest.mark.parametrize(
    "profile", [Profile.fixed(1, 8, 8), Profile.fixed(2, 16, 10), Profile((1, 8, 8), (2, 16, 16), (4, 32, 24))], ids=str
)
def test_a_plan_is_built_for_the_shapes_of_a_profile(trt: Any, make_model: MakeModel, profile: Profile) -> None:
    log = build_log(trt)
    model = ParsedModel(trt, log, make_model(radius=2, scale=2), "fp32")
    assert model.plan(profile, _elsewhere(trt)).nbytes > 0
    assert log.errors == []


def test_the_precision_is_that_of_the_file(trt: Any, make_model: MakeModel) -> None:
    log = build_log(trt)
    half = _half(["n", 3, "h", "w"])
    assert ParsedModel(trt, log, half, "fp16").plan(Profile.fixed(1, 8, 8), _elsewhere(trt)).nbytes > 0
    with pytest.raises(EngineError, match="computes in fp16 and the target in fp32"):
        ParsedModel(trt, log, half, "fp32")
    with pytest.raises(EngineError, match="computes in fp32 and the target in fp16"):
        ParsedModel(trt, log, make_model(), "fp16")
    for precision in ("fp32", "fp16"):
        with pytest.raises(EngineError, match=f"computes in int8 and the target in {precision}"):
            ParsedModel(trt, log, _quantized(np.int8(0)), precision)


def test_our_int8_files_are_not_for_tensorrt(rtx: Any) -> None:
    """Their activations are uint8, with a zero point; it takes symmetric int8."""
    with pytest.raises(EngineError, match="TensorRT refused the model"):
        ParsedModel(rtx, build_log(rtx), _quantized(np.uint8(128)), "fp32")


def test_what_is_no_restoration_model_is_refused(trt: Any) -> None:
    log = build_log(trt)
    with pytest.raises(EngineError, match=r"TensorRT refused the model: .*parse"):
        ParsedModel(trt, log, b"not a model", "fp32")
    assert log.errors == [], "an error is told once"
    with pytest.raises(EngineError, match=r"has to be float32 \(N, C, H, W\)"):
        ParsedModel(trt, log, _half(["n", 3]), "fp16")


def test_a_shape_the_model_cannot_have_is_refused(trt: Any) -> None:
    fixed = _half([1, 3, 16, "w"])
    for wrong in (Profile.fixed(1, 8, 8), Profile((1, 16, 8), (1, 16, 8), (2, 16, 8))):
        with pytest.raises(EngineError, match=r"takes \(1, 3, 16, -1\).* cannot be built for"):
            ParsedModel(trt, build_log(trt), fixed, "fp16").plan(wrong, _elsewhere(trt))
    with pytest.raises(EngineError, match="any number of channels"):
        ParsedModel(trt, build_log(trt), _half(["n", "c", "h", "w"]), "fp16").plan(Profile.fixed(1, 8, 8))


def test_every_capability_on_offer_can_be_built_for(rtx: Any, make_model: MakeModel) -> None:
    model = ParsedModel(rtx, build_log(rtx), make_model(), "fp32")
    offered = tuple(offered_capabilities(rtx))
    assert {"7.5", "8.0", "8.6", "8.9", "12.0"} <= set(offered)
    assert offered == tuple(sorted(offered, key=lambda name: tuple(map(int, name.split(".")))))
    for wanted in ((name,) for name in offered):
        assert model.plan(Profile.fixed(1, 8, 8), wanted).nbytes > 0
    assert model.plan(Profile.fixed(1, 8, 8), offered).nbytes > 0


@pytest.mark.parametrize("unknown", ["9.0", "10.0", "sm86", ""])
def test_an_unknown_capability_is_refused(rtx: Any, make_model: MakeModel, unknown: str) -> None:
    model = ParsedModel(rtx, build_log(rtx), make_model(), "fp32")
    with pytest.raises(EngineError, match=rf"no engine for compute capability {unknown}; it offers 7\.5, 8\.0, 8\.6"):
        model.plan(Profile.fixed(1, 8, 8), ("8.6", unknown))


def test_the_gpu_at_hand_is_wanted_where_none_is_named(rtx: Any, make_model: MakeModel) -> None:
    if cuda_status().available:
        pytest.skip("this machine has a driver")
    with pytest.raises(EngineError, match=r"could not build an engine for 1x8x8: .*CUDA driver"):
        ParsedModel(rtx, build_log(rtx), make_model(), "fp32").plan(Profile.fixed(1, 8, 8))


@pytest.mark.parametrize(
    ("smallest", "usual", "largest"),
    [((0, 8, 8), (1, 8, 8), (1, 8, 8)), ((1, 8, 8), (1, 9, 8), (1, 8, 8)), ((2, 8, 8), (1, 8, 8), (2, 8, 8))],
)
def test_a_profile_out_of_order_is_refused(smallest: Any, usual: Any, largest: Any) -> None:
    with pytest.raises(EngineError, match="smallest <= usual <= largest"):
        Profile(smallest, usual, largest)


def test_a_profile_knows_what_it_holds() -> None:
    profile = Profile((1, 8, 16), (2, 8, 16), (4, 32, 16))
    assert all(profile.holds(shape) for shape in ((1, 3, 8, 16), (4, 3, 32, 16), (3, 1, 9, 16)))
    assert not any(profile.holds(shape) for shape in ((5, 3, 8, 16), (1, 3, 7, 16), (1, 3, 33, 16), (1, 3, 8, 17)))
    assert (str(profile), str(Profile.fixed(1, 8, 8))) == ("1x8x16 to 4x32x16, usually 2x8x16", "1x8x8")


def test_errors_are_told_with_their_reasons() -> None:
    log = BuildLog(None, ["no tactic", "no memory"])
    assert str(log.error("failed to run")) == "TensorRT failed to run: no tactic; no memory"
    assert str(log.error("failed to run")) == "TensorRT failed to run: it gave no reason"

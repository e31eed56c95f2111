from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from runtime.engine import ENGINES, engine_version, open_engine
from runtime.errors import EngineError, TargetError
from runtime.requirements import DISTRIBUTIONS, REQUIREMENTS
from runtime.target import TARGETS, Target

ONE_THREAD = Target("cpu", "onnxruntime", "fp32", 1)

_IN_FP32 = [Target(*backend.split("-"), "fp32") for backend in ENGINES]
HERE = [target for target in _IN_FP32 if target.missing() is None]
"""A target of every engine that this machine has."""
KINDS = [target.kind for target in HERE]


def test_it_computes_what_the_graph_says(make_model: Callable[..., bytes]) -> None:
    batch = np.random.default_rng(0).random((2, 3, 5, 7), dtype=np.float32)
    engine = open_engine(make_model(kernel="identity", scale=2), ONE_THREAD)
    result = engine.run(batch)
    assert engine.target == ONE_THREAD
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, batch.repeat(2, axis=2).repeat(2, axis=3))


def test_a_path_and_its_bytes_are_the_same_model(make_model: Callable[..., bytes], tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(make_model())
    batch = np.random.default_rng(0).random((1, 3, 8, 8), dtype=np.float32)
    from_path, from_bytes = open_engine(path, ONE_THREAD), open_engine(path.read_bytes(), ONE_THREAD)
    np.testing.assert_array_equal(from_path.run(batch), from_bytes.run(batch))


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_and_waiting_are_as_the_target_says(make_model: Callable[..., bytes], threads: int) -> None:
    engine = open_engine(make_model(), Target("cpu", "onnxruntime", "fp32", threads))
    options = engine._session.get_session_options()  # type: ignore[attr-defined]
    assert options.intra_op_num_threads == threads
    assert options.inter_op_num_threads == 1
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.parametrize(
    "target",
    [
        Target("cuda", "onnxruntime", "int8"),
        Target("cpu", "tensorrt", "fp32", 1),
        Target("cpu", "onnxruntime", "fp16", 1),
    ],
)
def test_a_target_that_does_not_exist_is_refused(make_model: Callable[..., bytes], target: Target) -> None:
    with pytest.raises(TargetError, match="cpu-onnxruntime-fp32"):
        open_engine(make_model(), target)
    with pytest.raises(TargetError, match="cpu-onnxruntime-fp32"):
        engine_version(target)


@pytest.mark.parametrize("slug", [slug for slug in TARGETS if Target.parse(slug).on_gpu])
def test_a_gpu_target_without_a_gpu_is_refused_and_runs_nowhere_else(
    make_model: Callable[..., bytes], slug: str
) -> None:
    target = Target.parse(slug)
    missing = target.missing()
    if missing is None:
        pytest.skip("this machine has what the target needs")
    for attempt in (lambda: open_engine(make_model(), target), lambda: engine_version(target)):
        with pytest.raises(TargetError) as caught:
            attempt()
        assert missing.what in str(caught.value)
        assert missing.remedy in str(caught.value)
        assert slug in str(caught.value)


def _model(*inputs: onnx.ValueInfoProto, outputs: list[onnx.ValueInfoProto], nodes: list[onnx.NodeProto]) -> bytes:
    graph = helper.make_graph(nodes, "g", list(inputs), outputs)
    content: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    ).SerializeToString()
    return content


def _pictures(name: str, kind: int = TensorProto.FLOAT, sides: tuple[str | int, ...] = ("n", 3, "h", "w")) -> Any:
    return helper.make_tensor_value_info(name, kind, sides)


def _same(kind: int, sides: tuple[str | int, ...]) -> bytes:
    """A model that gives its input."""
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    return _model(_pictures("x", kind, sides), outputs=[_pictures("y", kind, sides)], nodes=nodes)


MALFORMED: dict[str, bytes] = {
    "no model": b"not a model",
    "nothing": b"",
    "integers": _same(TensorProto.INT64, ("n", 3, "h", "w")),
    "doubles": _same(TensorProto.DOUBLE, ("n", 3, "h", "w")),
    "halves": _same(TensorProto.FLOAT16, ("n", 3, "h", "w")),
    "no pictures": _same(TensorProto.FLOAT, ("n", 3)),
    "two inputs": _model(
        _pictures("a"), _pictures("b"), outputs=[_pictures("y")], nodes=[helper.make_node("Add", ["a", "b"], ["y"])]
    ),
    "two outputs": _model(
        _pictures("x"),
        outputs=[_pictures("y"), _pictures("z")],
        nodes=[helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["z"])],
    ),
    "unknown operation": _model(
        _pictures("x"), outputs=[_pictures("y")], nodes=[helper.make_node("Frobnicate", ["x"], ["y"])]
    ),
}


@pytest.mark.parametrize("target", HERE, ids=KINDS)
@pytest.mark.parametrize("fault", [*MALFORMED, "half a file"])
def test_no_engine_takes_a_malformed_model(
    make_model: Callable[..., bytes], tmp_path: Path, target: Target, fault: str
) -> None:
    whole = make_model()
    path = tmp_path / "odd.onnx"
    path.write_bytes(MALFORMED.get(fault, whole[: len(whole) // 2]))
    batch = np.zeros((1, 3, 8, 8), dtype=np.float32)
    for model in (path, path.read_bytes()):
        with pytest.raises(EngineError):
            open_engine(model, target).run(batch)
    # the check is not that nothing runs
    path.write_bytes(whole)
    assert open_engine(path, target).run(batch).shape == batch.shape


@pytest.mark.parametrize("target", HERE, ids=KINDS)
def test_an_absent_file_is_named(tmp_path: Path, target: Target) -> None:
    with pytest.raises(EngineError, match=r"no model file .*absent\.onnx"):
        open_engine(tmp_path / "absent.onnx", target)


@pytest.mark.parametrize("target", HERE, ids=KINDS)
@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((1, 4, 8, 8), dtype=np.float32),
        np.zeros((3, 8, 8), dtype=np.float32),
        np.zeros((1, 3, 8, 8), dtype=np.float64),
        np.zeros((0, 3, 8, 8), dtype=np.float32),
        np.zeros((1, 3, 0, 8), dtype=np.float32),
    ],
    ids=lambda batch: f"{batch.dtype}{batch.shape}",
)
def test_no_engine_takes_a_wrong_batch(make_model: Callable[..., bytes], target: Target, batch: np.ndarray) -> None:
    engine = open_engine(make_model(), target)
    for _ in range(2):
        with pytest.raises(EngineError, match="shape"):
            engine.run(batch)
        assert engine.run(np.zeros((1, 3, 8, 8), dtype=np.float32)).shape == (1, 3, 8, 8)


@pytest.mark.parametrize("target", HERE, ids=KINDS)
def test_engines_agree(make_model: Callable[..., bytes], target: Target) -> None:
    """In any order of sizes, from memory of any layout; and a result stays what it is."""
    model = make_model(radius=2, scale=2)
    engine, reference = open_engine(model, target), open_engine(model, ONE_THREAD)
    random = np.random.default_rng(0)
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    for shape in ((1, 3, 9, 14), (2, 3, 7, 5), (1, 3, 9, 14), (1, 3, 20, 6)):
        batch = random.random(shape, dtype=np.float32)
        layouts = (batch, batch[:, :, ::-1], np.asfortranarray(batch))
        kept += [(engine.run(given), reference.run(np.ascontiguousarray(given))) for given in layouts]
    for got, expected in kept:
        np.testing.assert_allclose(got, expected, atol=1e-5)
    # planted fault: the answer to the batch before
    assert np.abs(kept[0][0] - kept[1][1]).max() > 1e-3


def test_a_file_that_onnx_runtime_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(EngineError, match=r"text\.onnx was refused"):
        open_engine(tmp_path / "text.onnx", ONE_THREAD)


@pytest.mark.parametrize("target", HERE, ids=KINDS)
def test_threads_may_share_an_engine(make_model: Callable[..., bytes], target: Target) -> None:
    engine = open_engine(make_model(radius=2), target)
    batches = [np.random.default_rng(i).random((1, 3, 20 + i, 30), dtype=np.float32) for i in range(8)]
    alone = [engine.run(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for together, expected in zip(pool.map(engine.run, batches * 4), alone * 4, strict=True):
            np.testing.assert_array_equal(together, expected)


def test_the_version_names_engine_and_number() -> None:
    assert engine_version(ONE_THREAD) == f"onnxruntime {onnxruntime.__version__}"


def test_every_target_has_an_engine() -> None:
    backends = {Target.parse(slug).backend for slug in TARGETS}
    assert backends == set(ENGINES) == set(REQUIREMENTS) == set(DISTRIBUTIONS)

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from runtime.engine import ENGINES, engine_version, open_engine
from runtime.errors import EngineError, TargetError
from runtime.requirements import DISTRIBUTIONS, REQUIREMENTS
from runtime.target import TARGETS, Target

ONE_THREAD = Target("cpu", "onnxruntime", "fp32", 1)


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


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"no model file .*absent\.onnx"):
        open_engine(tmp_path / "absent.onnx", ONE_THREAD)
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(EngineError, match=r"text\.onnx was refused"):
        open_engine(tmp_path / "text.onnx", ONE_THREAD)
    with pytest.raises(EngineError, match="refused"):
        open_engine(b"not a model", ONE_THREAD)


@pytest.mark.parametrize(("kind", "shape"), [(TensorProto.FLOAT, ["n", 3]), (TensorProto.INT64, ["n", 3, "h", "w"])])
def test_a_model_of_another_form_is_refused(kind: int, shape: list[str | int]) -> None:
    values = [helper.make_tensor_value_info(name, kind, shape) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [values[0]], [values[1]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(EngineError, match=r"has to be float32 \(N, C, H, W\)"):
        open_engine(model.SerializeToString(), ONE_THREAD)


def test_a_model_of_two_inputs_is_refused() -> None:
    a, b, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 4, 4]) for name in "aby")
    graph = helper.make_graph([helper.make_node("Add", ["a", "b"], ["y"])], "g", [a, b], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(EngineError, match="one input and one output; this one has 2 and 1"):
        open_engine(model.SerializeToString(), ONE_THREAD)


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((1, 4, 8, 8), dtype=np.float32),
        np.zeros((3, 8, 8), dtype=np.float32),
        np.zeros((1, 3, 8, 8), dtype=np.float64),
    ],
)
def test_a_wrong_batch_is_refused(make_model: Callable[..., bytes], batch: np.ndarray) -> None:
    with pytest.raises(EngineError, match="shape"):
        open_engine(make_model(), ONE_THREAD).run(batch)


def test_threads_may_share_an_engine(make_model: Callable[..., bytes]) -> None:
    engine = open_engine(make_model(radius=2), ONE_THREAD)
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

"""What can be tried of it without a GPU: everything but the provider, with the buffers in the processor's memory."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from runtime.engines.batches import Shape
from runtime.engines.onnxruntime_cuda import BoundSession, fixed_session, read_precision
from runtime.engines.onnxruntime_session import PROVIDERS
from runtime.errors import EngineError

MakeModel = Callable[..., bytes]


def _bind(model: bytes, shape: Shape) -> BoundSession:
    session = fixed_session(onnxruntime, model, shape, PROVIDERS["cpu"], {})
    return BoundSession(onnxruntime, session, shape, "cpu")


def _noted(model: bytes, precision: str) -> bytes:
    proto = onnx.load_from_string(model)
    entry = proto.metadata_props.add()
    entry.key, entry.value = "millisight.precision", precision
    return proto.SerializeToString()


def test_sizes_are_fixed_before_anything_runs(make_model: MakeModel) -> None:
    session = fixed_session(onnxruntime, make_model(scale=2), (2, 3, 6, 10), PROVIDERS["cpu"], {})
    assert session.get_inputs()[0].shape == [2, 3, 6, 10]
    assert session.get_outputs()[0].shape == [2, 3, 12, 20]


def test_shape_arithmetic_folds_away(tmp_path: Path) -> None:
    """A graph that computes a size from its input, which ONNX Runtime would place on the processor."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, "h", "w"]) for name in "xy")
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("Add", ["x", "zeros"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    path = str(tmp_path / "optimised.onnx")

    def nodes_left(fix: bool) -> set[str]:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = path
        options.log_severity_level = 3
        for name, size in (("n", 1), ("h", 4), ("w", 4)) if fix else ():
            options.add_free_dimension_override_by_name(name, size)
        onnxruntime.InferenceSession(model, options, providers=[PROVIDERS["cpu"]])
        return {node.op_type for node in onnx.load(path).graph.node}

    assert "Shape" not in nodes_left(fix=True)
    assert "Shape" in nodes_left(fix=False)  # planted fault: without fixed sizes it stays
    batch = np.random.default_rng(0).random((1, 3, 4, 4), dtype=np.float32)
    np.testing.assert_array_equal(_bind(model, (1, 3, 4, 4)).run(batch), batch)


def test_a_bound_session_computes_what_the_graph_says(make_model: MakeModel) -> None:
    model = make_model(radius=2, scale=2)
    free = onnxruntime.InferenceSession(model, providers=[PROVIDERS["cpu"]])
    bound = _bind(model, (2, 3, 6, 10))
    results = []
    for seed in range(3):
        batch = np.random.default_rng(seed).random((2, 3, 6, 10), dtype=np.float32)
        results.append(bound.run(batch))
        np.testing.assert_allclose(results[-1], free.run(None, {"x": batch})[0], atol=1e-6)
    assert not np.array_equal(results[0], results[1]), "results share memory"
    # arrays that are not contiguous are read as what they are
    flipped = batch[..., ::-1]
    np.testing.assert_allclose(bound.run(flipped), free.run(None, {"x": np.ascontiguousarray(flipped)})[0], atol=1e-6)


def test_timed_runs_are_counted_and_leave_the_input_alone(make_model: MakeModel) -> None:
    bound = _bind(make_model(kernel="identity"), (1, 3, 8, 8))
    batch = np.random.default_rng(0).random((1, 3, 8, 8), dtype=np.float32)
    bound.run(batch)
    assert bound.seconds(3) > 0
    np.testing.assert_array_equal(bound.run(batch), batch)


def test_threads_may_share_a_bound_session(make_model: MakeModel) -> None:
    bound = _bind(make_model(kernel="identity"), (1, 3, 16, 16))
    batches = [np.random.default_rng(i).random((1, 3, 16, 16), dtype=np.float32) for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for got, expected in zip(pool.map(bound.run, batches * 4), batches * 4, strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (1, 1, 8, 8)])
def test_a_shape_the_model_cannot_have_is_refused(make_model: MakeModel, shape: Shape) -> None:
    with pytest.raises(EngineError, match=r"takes \['n', 3, 'h', 'w'\], got a batch of shape"):
        _bind(make_model(), shape)


@pytest.mark.parametrize(
    ("sides", "message"), [(["n", 3, "s", "s"], "got a batch of shape"), ([None, 3, 8, 8], "without a name")]
)
def test_sizes_that_cannot_be_fixed_are_refused(sides: list[str | int | None], message: str) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, sides) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(EngineError, match=message):
        _bind(model.SerializeToString(), (1, 3, 8, 6))


def test_a_file_says_what_it_computes_in(make_model: MakeModel) -> None:
    assert read_precision(onnxruntime, make_model()) == "fp32"
    assert read_precision(onnxruntime, _noted(make_model(), "fp16")) == "fp16"
    with pytest.raises(EngineError, match="refused"):
        read_precision(onnxruntime, b"not a model")

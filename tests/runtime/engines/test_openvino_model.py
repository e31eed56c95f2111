from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from runtime.engines.openvino_model import OpenVinoModel
from runtime.errors import EngineError
from runtime.requirements.openvino import import_openvino
from runtime.target import TARGETS, Target

pytest.importorskip("openvino", reason="needs openvino")

MakeModel = Callable[..., bytes]
TARGET = Target("cpu", "openvino", "fp32", 1)


def _read(content: bytes, target: Target = TARGET) -> OpenVinoModel:
    return OpenVinoModel(import_openvino(), content, target)


def _noted(model: bytes, **notes: str) -> bytes:
    proto = onnx.load_from_string(model)
    for key, value in notes.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = f"millisight.{key}", value
    content: bytes = proto.SerializeToString()
    return content


def _graph(nodes: list[onnx.NodeProto], *weights: tuple[str, np.ndarray], sides: tuple[str | int, ...]) -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, sides)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)
    initializers = [numpy_helper.from_array(array, name) for name, array in weights]
    graph = helper.make_graph(nodes, "g", [x], [y], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.parametrize("threads", [1, 2])
def test_it_is_compiled_as_the_target_says(make_model: MakeModel, threads: int) -> None:
    model = _read(make_model(), Target("cpu", "openvino", "fp32", threads))
    for shape in (None, (1, 3, 8, 8)):
        compiled = model.compile(shape)._request.get_compiled_model()
        assert compiled.get_property("INFERENCE_NUM_THREADS") == threads
        assert compiled.get_property("NUM_STREAMS") == 1
        assert compiled.get_property("ENABLE_CPU_PINNING") is False
        assert compiled.get_property("EXECUTION_DEVICES") == ["CPU"]
        # what a processor that has bf16 would take by itself
        assert compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"
        assert compiled.input(0).get_partial_shape().is_static == (shape is not None)


def test_another_device_than_asked_for_is_refused(make_model: MakeModel) -> None:
    """Every target of an Intel GPU, where there is none: nothing of it runs on the processor."""
    gpus = [Target.parse(slug) for slug in TARGETS if slug.startswith("intelgpu-openvino-fp")]
    assert gpus
    for target in gpus:
        if target.missing() is None:
            pytest.skip("this machine has an Intel GPU")
        with pytest.raises(EngineError, match=r"OpenVINO refused the model for any size: .*[Gg][Pp][Uu]"):
            _read(make_model(), target).compile(None)


@pytest.mark.parametrize("multiple", ["0", "-4", "4.0", "", "many"])
def test_notes_that_make_no_sense_are_refused(make_model: MakeModel, multiple: str) -> None:
    with pytest.raises(EngineError, match=f"notes a multiple of '{multiple}'"):
        _read(_noted(make_model(), multiple=multiple))


def test_sizes_are_checked_before_openvino_sees_them(make_model: MakeModel) -> None:
    model = _read(_noted(make_model(), multiple="4"))
    model.check_size((2, 3, 8, 12))
    for shape in ((1, 3, 6, 8), (1, 3, 8, 6)):
        with pytest.raises(EngineError, match="heights and widths that are multiples of 4"):
            model.check_size(shape)
    with pytest.raises(EngineError, match=r"takes \[\?,3,\?,\?\], got a batch of shape \(1, 4, 8, 8\)"):
        model.check_size((1, 4, 8, 8))


def test_a_file_of_one_size_takes_only_that() -> None:
    model = _read(_graph([helper.make_node("Relu", ["x"], ["y"])], sides=(1, 3, 8, 8)))
    model.check_size((1, 3, 8, 8))
    for shape in ((2, 3, 8, 8), (1, 3, 8, 16)):
        with pytest.raises(EngineError, match=r"takes \[1,3,8,8\]"):
            model.check_size(shape)


def test_a_model_that_shrinks_pictures_is_noticed() -> None:
    weight = ("w", np.ones((3, 3, 2, 2), dtype=np.float32))
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 2])]
    compiled = _read(_graph(nodes, weight, sides=("n", 3, "h", "w"))).compile(None)
    compiled.bind(np.ones((1, 3, 8, 8), dtype=np.float32))
    compiled.compute()
    with pytest.raises(EngineError, match=r"gave \(1, 3, 4, 4\) for a batch of shape \(1, 3, 8, 8\)"):
        compiled.result()


def test_a_batch_is_not_copied_unless_its_memory_is_of_no_use(make_model: MakeModel) -> None:
    compiled = _read(make_model(kernel="identity")).compile(None)
    batch = np.random.default_rng(0).random((1, 3, 8, 10), dtype=np.float32)
    reversed_, locked = batch[..., ::-1], batch.copy()
    locked.flags.writeable = False
    for given, copied in ((batch, False), (reversed_, True), (locked, True)):
        compiled.bind(given)
        assert np.shares_memory(given, compiled._input) is not copied
        compiled.compute()
        np.testing.assert_array_equal(compiled.result(), given)


def test_an_error_is_told_in_one_line(make_model: MakeModel) -> None:
    with pytest.raises(EngineError) as caught:
        _read(make_model()[:60])
    assert "refused by OpenVINO" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert ".cpp" not in str(caught.value)

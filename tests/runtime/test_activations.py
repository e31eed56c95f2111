"""What a network holds at a time, counted from its graph."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from runtime.activations import activation_bytes
from runtime.errors import EngineError

pytest.importorskip("openvino")


def chain(widths: list[int], *, keep_first: bool = False) -> bytes:
    """Convolutions one after the other, with so many channels each; the last adds to what the first made, if asked."""
    nodes, constants, entry, channels = [], [], "image", 3
    for number, width in enumerate(widths):
        constants.append(numpy_helper.from_array(np.ones((width, channels, 1, 1), np.float32), f"weights{number}"))
        nodes.append(helper.make_node("Conv", [entry, f"weights{number}"], [f"made{number}"]))
        entry, channels = f"made{number}", width
    if keep_first:
        nodes.append(helper.make_node("Add", ["made0", entry], ["sum"]))
        entry = "sum"
    sides = ["n", 3, "h", "w"], ["n", channels, "h", "w"]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, sides[0])],
        [helper.make_tensor_value_info(entry, TensorProto.FLOAT, sides[1])],
        constants,
    )
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    )


def channels_held(graph: bytes, batch: int = 1) -> float:
    return activation_bytes(graph, (batch, 3, 8, 16)) / (4 * 8 * 16)


def test_an_operation_holds_what_goes_in_and_what_comes_out() -> None:
    # 3 -> 4 -> 10 -> 3: the third convolution has 10 and 3 channels in its hands, the second 4 and 10.
    assert channels_held(chain([4, 10, 3])) == 14


def test_what_is_read_again_is_held_until_then() -> None:
    # The 4 channels of the first are there while 10 become 4.
    assert channels_held(chain([4, 10, 4], keep_first=True)) == 4 + 10 + 4


def test_a_batch_takes_as_much_for_each_picture() -> None:
    assert channels_held(chain([4, 10, 3]), batch=3) == 3 * 14


def test_what_is_no_graph_or_takes_no_such_picture_is_refused() -> None:
    with pytest.raises(EngineError, match="cannot be worked out"):
        activation_bytes(b"no graph", (1, 3, 8, 8))
    with pytest.raises(EngineError, match="cannot be worked out"):
        activation_bytes(chain([4]), (1, 5, 8, 8))


def test_a_size_that_follows_from_values_is_refused() -> None:
    graph = helper.make_graph(
        [helper.make_node("NonZero", ["image"], ["where"])],
        "open",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("where", TensorProto.INT64, [4, "k"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    with pytest.raises(EngineError, match="does not follow from the input's"):
        activation_bytes(model.SerializeToString(), (1, 3, 8, 8))

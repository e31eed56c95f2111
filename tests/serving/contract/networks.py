"""Networks that behave while they are loaded, warmed up and timed, and not on tiles that are white all over."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

# One step is a product of two matrices of this side: about a millisecond of one core.
SIDE = 256
STEPS_OF_WHITE = 100


def _model(nodes: list[NodeProto], constants: dict[str, np.ndarray]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "moody",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("restored", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _whiteness() -> list[NodeProto]:
    """Makes `white`: 1 for a batch without anything else, 0 as soon as one value is below 0.9."""
    return [
        helper.make_node("ReduceMin", ["image"], ["darkest"], keepdims=0),
        helper.make_node("Sub", ["darkest", "limit"], ["above"]),
        helper.make_node("Relu", ["above"], ["part"]),
        helper.make_node("Mul", ["part", "ten"], ["white"]),
    ]


_WHITENESS = {"limit": np.asarray(np.float32(0.9)), "ten": np.asarray(np.float32(10.001))}


def dawdling_network() -> bytes:
    """Gives back what it gets; a white tile takes a twentieth of a second or more, any other no time.

    So a request can be admitted by what was measured and then miss its deadline.
    """
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "matrix"], ["next"]),
            helper.make_node("Identity", ["go_on"], ["still"]),
        ],
        "step",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [SIDE, SIDE]),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [SIDE, SIDE]),
        ],
    )
    nodes = [
        *_whiteness(),
        helper.make_node("Mul", ["white", "steps"], ["wanted"]),
        helper.make_node("Cast", ["wanted"], ["turns"], to=TensorProto.INT64),
        helper.make_node("Loop", ["turns", "", "zeros"], ["end"], body=body),
        helper.make_node("ReduceMax", ["end"], ["nothing"], keepdims=0),
        helper.make_node("Add", ["image", "nothing"], ["restored"]),
    ]
    constants = {
        "steps": np.asarray(np.float32(STEPS_OF_WHITE)),
        "zeros": np.zeros((SIDE, SIDE), np.float32),
        "matrix": np.random.default_rng(1).random((SIDE, SIDE), dtype=np.float32),
    }
    return _model(nodes, constants | _WHITENESS)


def nan_network() -> bytes:
    """Gives back what it gets, but NaN for a white tile."""
    nodes = [
        *_whiteness(),
        helper.make_node("Sub", ["half", "white"], ["left"]),
        helper.make_node("Sqrt", ["left"], ["root"]),
        helper.make_node("Mul", ["root", "zero"], ["nothing"]),
        helper.make_node("Add", ["image", "nothing"], ["restored"]),
    ]
    constants = {"half": np.asarray(np.float32(0.5)), "zero": np.asarray(np.float32(0))}
    return _model(nodes, constants | _WHITENESS)


def infinite_network() -> bytes:
    """Gives back what it gets, but infinity for a white tile."""
    nodes = [
        *_whiteness(),
        helper.make_node("Mul", ["white", "steep"], ["power"]),
        helper.make_node("Exp", ["power"], ["large"]),
        helper.make_node("Mul", ["image", "large"], ["restored"]),
    ]
    return _model(nodes, {"steep": np.asarray(np.float32(200))} | _WHITENESS)

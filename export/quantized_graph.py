"""Which values of a graph become eight-bit integers, and the nodes that make them so.

A file in int8 is an ordinary graph with QuantizeLinear and DequantizeLinear (QDQ) pairs. An engine that finds a pair
before every input of a node computes that node in integers. So the rule here is short: **a quantized node reads its
inputs through pairs, every other node reads what it always read.**
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from export.errors import ExportError

__all__ = ["QuantizableGraph", "Range", "drop_unused_weights", "node_name", "write_qdq"]

_JOINTS = frozenset({"Add", "Concat", "DepthToSpace", "Mul", "Sub"})
"""What lies between convolutions and has an integer form. Activations are not here: engines fuse them."""
_GLOBAL_POOLS = frozenset({"GlobalAveragePool", "GlobalMaxPool"})
_REDUCTIONS = frozenset({"ReduceMean", "ReduceMax"})
_LEVELS = 255
_WEIGHT_LEVELS = 127
"""-127 to 127: one code unused, so that the weights' zero is in the middle."""


@dataclass(frozen=True)
class Range:
    """The values that a tensor's eight bits span; what lies outside is clipped.

    Attributes:
        low: At most 0, so that zero, which convolutions pad with, has a code of its own.
        high: At least 0.
    """

    low: float
    high: float

    @property
    def scale(self) -> np.float32:
        """Between two neighbouring codes; 1/255 for a tensor that was never anything but zero."""
        return np.float32((self.high - self.low) / _LEVELS or 1 / _LEVELS)

    @property
    def zero_point(self) -> np.uint8:
        """The code of zero."""
        return np.uint8(np.clip(round(-self.low / float(self.scale)), 0, _LEVELS))


def node_name(node: NodeProto) -> str:
    """Name of a node, or of its first output where it has none."""
    return str(node.name or node.output[0])


class QuantizableGraph:
    """What quantization has to know of a graph, found by structure and never by names.

    Args:
        model: Simplified.

    Raises:
        ExportError: Two nodes have one name.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes: dict[str, NodeProto] = {node_name(node): node for node in model.graph.node}
        if len(self.nodes) != len(model.graph.node):
            raise ExportError("two nodes of the graph have the same name; export it again with names")
        self.weights: dict[str, TensorProto] = {entry.name: entry for entry in model.graph.initializer}
        self._readers: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    @property
    def image(self) -> str:
        """Name of the graph's input."""
        return str(self.model.graph.input[0].name)

    @cached_property
    def convolutions(self) -> tuple[str, ...]:
        """Convolutions that may be quantized, in the order of the graph.

        Not among them are those on globally pooled values (squeeze-excitation: no time to gain, and a wrong gate is
        wrong for the whole picture) and those with no other convolution before or behind them (a fixed enlargement
        beside the network, whose error nothing would mend).
        """
        return tuple(name for name in self._plain if name in self._behind_one or name in self._before_one)

    @cached_property
    def joints(self) -> tuple[str, ...]:
        """Additions and the like that may be quantized: with a plain convolution before and behind them.

        Without one behind, what they give is the picture itself, and its rounding would stay in it.
        """
        return tuple(
            name
            for name, node in self.nodes.items()
            if node.op_type in _JOINTS
            and all(source not in self.weights and self._is_float(source) for source in node.input)
            and node.output[0] not in self._pooled
            and name in self._behind_one
            and name in self._before_one
        )

    @property
    def quantizable(self) -> tuple[str, ...]:
        """Convolutions, then joints."""
        return (*self.convolutions, *self.joints)

    def weight(self, name: str) -> NDArray[np.float32]:
        """The weight of a convolution, (out, in, height, width)."""
        found: NDArray[np.float32] = numpy_helper.to_array(self.weights[self.nodes[name].input[1]])
        return found

    def quantized_tensors(self, quantized: Collection[str]) -> list[str]:
        """What has to get a pair when these nodes are quantized: their inputs but for weights, without repeats."""
        nodes = [self.nodes[name] for name in self.quantizable if name in quantized]
        return list(dict.fromkeys(name for node in nodes for name in _data_inputs(node)))

    def reads_pairs(self, node: NodeProto, quantized: Collection[str]) -> bool:
        """Whether a node reads the rounded values of tensors that have a pair.

        A quantized node does. One that could be quantized and is not, does not: that is what leaving it out means.
        One that has no integer form, such as an activation or a pooling, follows those that read it, so that the
        full value need not be kept for it alone.
        """
        if node.op_type == "Conv" or node.op_type in _JOINTS:
            return node_name(node) in quantized
        if node.output[0] in self._pooled:
            return True
        readers = [reader for output in node.output for reader in self._readers.get(output, [])]
        return bool(readers) and all(self.reads_pairs(reader, quantized) for reader in readers)

    @cached_property
    def _pooled(self) -> frozenset[str]:
        """Tensors that hold one value a channel."""
        found: set[str] = set()
        for node in self.model.graph.node:
            sources = [name for name in node.input if name and name not in self.weights]
            if self._pools(node) or (sources and all(name in found for name in sources)):
                found.update(node.output)
        return frozenset(found)

    def _pools(self, node: NodeProto) -> bool:
        if node.op_type in _GLOBAL_POOLS:
            return True
        if node.op_type not in _REDUCTIONS:
            return False
        axes = next((list(entry.ints) for entry in node.attribute if entry.name == "axes"), [])
        if len(node.input) > 1 and node.input[1] in self.weights:
            axes = numpy_helper.to_array(self.weights[node.input[1]]).ravel().tolist()
        return {axis % 4 for axis in axes} == {2, 3}

    @cached_property
    def _plain(self) -> tuple[str, ...]:
        return tuple(name for name, node in self.nodes.items() if self._is_plain_convolution(node))

    def _is_plain_convolution(self, node: NodeProto) -> bool:
        if node.op_type != "Conv" or node.input[0] in self._pooled:
            return False
        weight = self.weights.get(node.input[1])
        return weight is not None and weight.data_type == TensorProto.FLOAT and len(weight.dims) == 4

    @cached_property
    def _behind_one(self) -> frozenset[str]:
        """Nodes with a plain convolution somewhere before them."""
        found, plain, reached = set(), set(self._plain), set()
        for name, node in self.nodes.items():  # ONNX orders nodes so that each comes behind those it reads
            if any(source in reached for source in node.input):
                found.add(name)
            if name in found or name in plain:
                reached.update(node.output)
        return frozenset(found)

    @cached_property
    def _before_one(self) -> frozenset[str]:
        """Nodes with a plain convolution somewhere behind them."""
        found, plain, wanted = set(), set(self._plain), set()
        for name, node in reversed(self.nodes.items()):
            if any(output in wanted for output in node.output):
                found.add(name)
            if name in found or name in plain:
                wanted.update(node.input)
        return frozenset(found)

    @cached_property
    def _types(self) -> dict[str, int]:
        graph = onnx.shape_inference.infer_shapes(self.model).graph
        values = (*graph.value_info, *graph.input, *graph.output)
        return {value.name: value.type.tensor_type.elem_type for value in values}

    def _is_float(self, name: str) -> bool:
        return self._types.get(name) == TensorProto.FLOAT


def write_qdq(graph: QuantizableGraph, quantized: Collection[str], ranges: Mapping[str, Range]) -> onnx.ModelProto:
    """A copy of the graph in which some nodes read eight-bit values.

    Activations get one scale and zero point a tensor, uint8; weights one scale an output channel, int8, symmetric.

    Args:
        graph: Of the simplified model.
        quantized: Names of quantizable nodes.
        ranges: Of every tensor of `graph.quantized_tensors(quantized)`.
    """
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    tensors = set(graph.quantized_tensors(quantized))
    weights: set[str] = set()
    nodes: list[NodeProto] = []

    def add_pair(tensor: str) -> None:
        scale, zero = np.array(ranges[tensor].scale), np.array(ranges[tensor].zero_point)
        inputs = [tensor, *_constants(model, tensor, scale, zero)]
        nodes.append(helper.make_node("QuantizeLinear", inputs, [f"{tensor}_int8"], f"{tensor}_quantize"))
        nodes.append(_dequantize(model, tensor, scale, zero))

    if graph.image in tensors:
        add_pair(graph.image)
    for name, original in graph.nodes.items():
        node = NodeProto()
        node.CopyFrom(original)
        if graph.reads_pairs(original, quantized):
            node.input[:] = [f"{source}_dequantized" if source in tensors else source for source in original.input]
        if original.op_type == "Conv" and name in quantized:
            weight = original.input[1]
            if weight not in weights:  # tied cells share theirs
                weights.add(weight)
                codes, scale = _rounded(graph.weight(name))
                model.graph.initializer.append(numpy_helper.from_array(codes, f"{weight}_int8"))
                nodes.append(_dequantize(model, weight, scale, np.zeros(len(scale), np.int8)))
            node.input[1] = f"{weight}_dequantized"
        nodes.append(node)
        for output in original.output:
            if output in tensors:
                add_pair(output)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    drop_unused_weights(model)
    # Shapes and types that were noted for tensors before would be wrong now.
    del model.graph.value_info[:]
    return model


def _data_inputs(node: NodeProto) -> list[str]:
    """Inputs that are pictures or features; of a convolution, the first."""
    return [node.input[0]] if node.op_type == "Conv" else list(node.input)


def _rounded(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    largest = np.abs(weight).max(axis=(1, 2, 3))
    scale = np.where(largest > 0, largest, 1).astype(np.float32) / np.float32(_WEIGHT_LEVELS)
    return np.round(weight / scale[:, None, None, None]).astype(np.int8), scale


def _constants(model: onnx.ModelProto, name: str, scale: NDArray[np.float32], zero: NDArray[np.generic]) -> list[str]:
    """Names of a tensor's scale and zero point, written to the model the first time they are asked for."""
    names = [f"{name}_scale", f"{name}_zero_point"]
    if not any(entry.name == names[0] for entry in model.graph.initializer):
        for constant, value in zip(names, (scale, zero), strict=True):
            model.graph.initializer.append(numpy_helper.from_array(value, constant))
    return names


def _dequantize(model: onnx.ModelProto, name: str, scale: NDArray[np.float32], zero: NDArray[np.generic]) -> NodeProto:
    inputs = [f"{name}_int8", *_constants(model, name, scale, zero)]
    node = helper.make_node("DequantizeLinear", inputs, [f"{name}_dequantized"], f"{name}_dequantize")
    if scale.ndim:
        node.attribute.append(helper.make_attribute("axis", 0))
    return node


def drop_unused_weights(model: onnx.ModelProto) -> None:
    """Remove what no node reads."""
    used = {name for node in model.graph.node for name in node.input}
    unused = [place for place, entry in enumerate(model.graph.initializer) if entry.name not in used]
    for place in reversed(unused):
        del model.graph.initializer[place]

"""What a network holds while it runs, counted from its graph: nothing is run, so every machine counts the same.

OpenVINO reads the graph and works its sizes out; any other reader would give the same ones.
"""

import math
from collections.abc import Iterator
from typing import Any

from runtime.engines.batches import Shape
from runtime.errors import EngineError
from runtime.requirements.openvino import import_openvino

__all__ = ["activation_bytes"]

_FLOAT_BYTES = 4


def activation_bytes(graph: bytes, shape: Shape) -> int:
    """The most that the tensors between a network's operations take at one moment, as float32, in bytes.

    Operations run one after another in the graph's order, and a tensor is given up after the last that reads it. An
    engine fuses operations and needs less, or copies into layouts of its own and needs more: this is what its memory is
    in proportion to, not its memory.

    Args:
        graph: An ONNX file.
        shape: (N, 3, H, W) of what goes in.

    Raises:
        TargetError: If OpenVINO is missing.
        EngineError: If it cannot read the graph, or the graph's sizes do not follow from its input's.
    """
    openvino: Any = import_openvino()
    try:
        model = openvino.Core().read_model(graph)
        model.reshape(list(shape))
    except _failure_types(openvino) as error:
        raise EngineError(f"The sizes of a graph for {shape} cannot be worked out: {error}") from error
    operations = [operation for operation in model.get_ordered_ops() if operation.get_type_name() != "Constant"]
    last_reader = {source: number for number, operation in enumerate(operations) for source in _sources(operation)}
    held: dict[tuple[str, int], int] = {}
    most = 0
    for number, operation in enumerate(operations):
        held.update(_made_by(operation))
        most = max(most, sum(held.values()))
        held = {name: size for name, size in held.items() if last_reader.get(name, -1) > number}
    return most


def _sources(operation: Any) -> Iterator[tuple[str, int]]:
    """The names of the tensors that an operation reads."""
    for entry in operation.inputs():
        source = entry.get_source_output()
        yield source.get_node().get_friendly_name(), source.get_index()


def _made_by(operation: Any) -> dict[tuple[str, int], int]:
    """The names of the tensors that an operation makes, and their bytes.

    Raises:
        EngineError: If a size is left open.
    """
    made = {}
    for output in operation.outputs():
        name = operation.get_friendly_name()
        if output.get_partial_shape().is_dynamic:
            raise EngineError(
                f"The operation '{name}' of the graph gives {output.get_partial_shape()}: its size does not follow "
                "from the input's. Export the network again."
            )
        made[name, output.get_index()] = _FLOAT_BYTES * math.prod(output.get_shape())
    return made


def _failure_types(openvino: Any) -> tuple[type[Exception], ...]:
    """What OpenVINO raises on a graph; the exceptions of its front ends share no base class but Exception."""
    own = (kind for kind in vars(openvino.frontend).values() if isinstance(kind, type) and issubclass(kind, Exception))
    return (*own, RuntimeError, ValueError)

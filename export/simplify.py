"""A smaller graph that computes the same: what tracing leaves behind is folded and dropped."""

import importlib

import onnx
from google.protobuf.message import DecodeError

from export.errors import ExportError

__all__ = ["simplify"]

_REMEDY = "pip install '.[export]'"


def simplify(model: bytes) -> bytes:
    """Fold constants and drop nodes that change nothing, such as the shape arithmetic of a padding.

    Names, dynamic dimensions, metadata and opset stay as they are.

    Args:
        model: An ONNX file's bytes.

    Returns:
        The simpler file, or `model` itself, unchanged, where nothing could be folded.

    Raises:
        ExportError: onnxslim is not installed, the model is not readable, or the result is not a valid ONNX model.
    """
    try:
        onnxslim = importlib.import_module("onnxslim")
    except ImportError as error:
        raise ExportError(f"the package onnxslim cannot be imported ({error}); {_REMEDY}") from error
    before = read_model(model)
    # onnxslim works in the object that it is given.
    after: onnx.ModelProto = onnxslim.slim(read_model(model))
    if _nodes(after) == _nodes(before):
        return model
    _restore_frame(after, before)
    checked(after, "the simplified graph")
    data: bytes = after.SerializeToString(deterministic=True)
    return data


def read_model(model: bytes) -> onnx.ModelProto:
    """Parse an ONNX file.

    Raises:
        ExportError: The bytes are no ONNX file.
    """
    try:
        return onnx.load_from_string(model)
    except DecodeError as error:
        raise ExportError(f"these bytes are no ONNX file ({error}); pass what export_onnx returned") from error


def checked(model: onnx.ModelProto, what: str) -> onnx.ModelProto:
    """The model, if it is valid.

    Args:
        model: With all its shapes to be inferred.
        what: For the message.

    Raises:
        ExportError: It is not valid ONNX.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"{what} is not valid ONNX: {error}") from error
    return model


def _nodes(model: onnx.ModelProto) -> list[bytes]:
    return [node.SerializeToString(deterministic=True) for node in model.graph.node]


def _restore_frame(after: onnx.ModelProto, before: onnx.ModelProto) -> None:
    """Give a file back what is around its nodes: what it promises to those who use it."""
    after.ir_version = before.ir_version
    for name in ("opset_import", "metadata_props"):
        del getattr(after, name)[:]
        getattr(after, name).extend(getattr(before, name))
    for name in ("input", "output"):
        del getattr(after.graph, name)[:]
        getattr(after.graph, name).extend(getattr(before.graph, name))
    # onnxslim notes shapes under names of its own making, others in each process; engines infer them again.
    del after.graph.value_info[:]

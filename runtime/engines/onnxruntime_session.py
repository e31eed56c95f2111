"""Sessions of ONNX Runtime on exactly the provider that was asked for."""

import contextlib
import importlib
import io
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from runtime.errors import EngineError, TargetError

__all__ = ["PROVIDERS", "cuda_fault", "failure_types", "open_session", "session_options", "single_input_and_output"]

PROVIDERS: Mapping[str, str] = MappingProxyType({"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"})
"""Device to the name of ONNX Runtime's execution provider."""

# One Relu over one number: enough to see whether a provider's libraries load.
_SMALLEST_MODEL = (
    b'\x08\x08:3\n\x0c\n\x01x\x12\x01y"\x04Relu\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x11"
)


def session_options(ort: Any, threads: int) -> Any:
    """All graph optimisations, one operator at a time on `threads` threads, which do not spin while they wait."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def open_session(
    ort: Any,
    source: bytes | str,
    options: Any,
    provider: str,
    provider_options: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    """Open a model on one provider and no other.

    Args:
        ort: The module onnxruntime.
        source: An ONNX file's bytes, or its path.
        options: From `session_options`.
        provider: Of `PROVIDERS`.
        provider_options: What that provider is told.

    Raises:
        EngineError: If ONNX Runtime refuses the model.
        TargetError: If it would run on another provider.
    """
    if provider != PROVIDERS["cpu"]:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        session = ort.InferenceSession(
            source,
            sess_options=options,
            providers=[(provider, dict(provider_options))],
            enable_fallback=0,  # else a failed provider is replaced by another one, with a line on stdout
        )
    except failure_types() as error:
        name = "The model" if isinstance(source, bytes) else f"The model {source}"
        raise EngineError(f"{name} was refused by ONNX Runtime on {provider}: {error}") from error
    # Asked for a provider it cannot load, ONNX Runtime may run on another one and say so only in its log.
    actual = session.get_providers()[0]
    if actual != provider:
        raise TargetError(f"{provider} was asked for, but ONNX Runtime would run on {actual}.")
    return session


def cuda_fault(ort: Any) -> str:
    """Why the CUDA provider does not start, empty if it does. Asked by starting it: lists of providers prove nothing.

    Not yet run on a GPU.
    """
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        if hasattr(ort, "preload_dlls"):  # finds the CUDA libraries of Python packages; tells what it lacks on stdout
            ort.preload_dlls()
        try:
            open_session(ort, _SMALLEST_MODEL, session_options(ort, 1), PROVIDERS["cuda"])
        except (EngineError, TargetError) as error:
            return " ".join([str(error), *said.getvalue().split()]).rstrip(".")
    return ""


def failure_types() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: its own exceptions share no base class but Exception."""
    state = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    names = (
        "EPFail",
        "Fail",
        "InvalidArgument",
        "InvalidGraph",
        "InvalidProtobuf",
        "ModelLoaded",
        "NoModel",
        "NoSuchFile",
        "NotImplemented",
        "RuntimeException",
    )
    own = tuple(getattr(state, name) for name in names if hasattr(state, name))
    return (*own, ValueError, RuntimeError)


def single_input_and_output(session: Any) -> tuple[Any, Any]:
    """The one input and the one output of a restoration model: nodes with `name` and `shape`.

    Raises:
        EngineError: If there are more, or one is not float32 NCHW.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise EngineError(
            f"A restoration model has one input and one output; this one has {len(inputs)} and {len(outputs)}."
        )
    for role, node in (("input", inputs[0]), ("output", outputs[0])):
        if node.type != "tensor(float)" or len(node.shape) != 4:
            raise EngineError(
                f"The {role} '{node.name}' is {node.type} of shape {node.shape}; it has to be float32 (N, C, H, W)."
            )
    return inputs[0], outputs[0]

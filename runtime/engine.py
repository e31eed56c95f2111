"""Engines: a compiled model that maps a batch of pictures to a batch of pictures on one target."""

import importlib
import importlib.metadata
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import EngineError, TargetError
from runtime.target import Target, import_onnxruntime

__all__ = ["ENGINES", "Engine", "OnnxRuntimeEngine", "engine_version", "open_engine"]

_EXECUTION_PROVIDERS: Mapping[str, str] = MappingProxyType({"cpu": "CPUExecutionProvider"})


class Engine(Protocol):
    """A model ready to run. `run` may be called from several threads at once."""

    @property
    def target(self) -> Target:
        """Where it runs."""

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (N, C, H, W) to (N, C, scale*H, scale*W), float32.

        Raises:
            EngineError: If the engine refuses the batch.
        """


class OnnxRuntimeEngine:
    """ONNX Runtime on the processor, with the settings under which the latency tables are measured.

    Use `open_engine`. All graph optimisations, one operator at a time, `target.threads` threads inside an operator.
    Threads do not spin while they wait: with several sessions in one process, spinning pools take the cores from the
    session that works and cost a factor of 3 to 5.

    Args:
        model: Path of an ONNX file, or its bytes.
        target: A target whose engine is `onnxruntime`.

    Raises:
        EngineError: If the model is not readable, or does not have one float32 NCHW input and one output.
        TargetError: If ONNX Runtime is missing, or would run somewhere else than asked.
    """

    def __init__(self, model: Path | bytes, target: Target) -> None:
        ort: Any = import_onnxruntime()
        self._target = target
        self._failures = _failure_types()
        provider = _EXECUTION_PROVIDERS[target.device]

        options = ort.SessionOptions()
        options.intra_op_num_threads = target.threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")

        source = model if isinstance(model, bytes) else str(model)
        try:
            self._session = ort.InferenceSession(source, sess_options=options, providers=[provider])
        except self._failures as error:
            name = "The model" if isinstance(model, bytes) else f"The model {model}"
            raise EngineError(f"{name} was refused by ONNX Runtime: {error}") from error
        # Asked for a provider it cannot load, ONNX Runtime runs on another one and says so only in its log.
        actual = self._session.get_providers()[0]
        if actual != provider:
            raise TargetError(f"Target '{target.slug}' needs {provider}, but ONNX Runtime would run on {actual}.")
        self._input, self._output = _single_input_and_output(self._session)

    @property
    def target(self) -> Target:
        """Where it runs."""
        return self._target

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (N, C, H, W) to (N, C, scale*H, scale*W), float32.

        Raises:
            EngineError: If ONNX Runtime refuses the batch, for example because of its shape.
        """
        if batch.ndim != 4 or batch.dtype != np.float32:
            raise EngineError(f"An engine takes float32 of shape (N, C, H, W), got {batch.dtype} {batch.shape}.")
        try:
            (result,) = self._session.run([self._output], {self._input: batch})
        except self._failures as error:
            raise EngineError(f"ONNX Runtime failed on a batch of shape {batch.shape}: {error}") from error
        return np.asarray(result, dtype=np.float32)


ENGINES: Mapping[str, Callable[[Path | bytes, Target], Engine]] = MappingProxyType({"onnxruntime": OnnxRuntimeEngine})
"""Engine name to what opens a model with it. A new engine is one line here and its targets in `runtime.target`."""

_DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")}
)


def open_engine(model: Path | bytes, target: Target) -> Engine:
    """Load a model on a target, never silently on another.

    Args:
        model: Path of an ONNX file, or its bytes.
        target: Where to run it.

    Raises:
        TargetError: If the target does not exist in this version or is not available on this machine.
        EngineError: If the model is not readable or not of the right form.
    """
    target.check_exists()
    if isinstance(model, Path) and not model.is_file():
        raise EngineError(f"There is no model file {model}.")
    return ENGINES[target.engine](model, target)


def engine_version(target: Target) -> str:
    """Version of the engine a target uses, for example `"onnxruntime 1.31.1"`, from its metadata.

    Raises:
        TargetError: If the target does not exist or its engine is not installed.
    """
    target.check_exists()
    for name in _DISTRIBUTIONS[target.engine]:
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    raise TargetError(f"The engine '{target.engine}' is not installed. Install it with: pip install '.[cpu]'")


def _failure_types() -> tuple[type[Exception], ...]:
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


def _single_input_and_output(session: Any) -> tuple[str, str]:
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
    return str(inputs[0].name), str(outputs[0].name)

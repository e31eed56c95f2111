"""ONNX Runtime on a GPU. Written against its documented API; not yet run on a GPU."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.clock import repeated
from runtime.engines.batches import PerShape, Shape, check_batch
from runtime.engines.onnxruntime_session import (
    PROVIDERS,
    failure_types,
    open_session,
    session_options,
    single_input_and_output,
)
from runtime.errors import EngineError
from runtime.requirements import import_onnxruntime
from runtime.target import Target

__all__ = ["BoundSession", "OnnxRuntimeCudaEngine", "fixed_session", "read_precision"]

# The graph of kernels is recorded at the first run and replayed as one launch from then on: launches one by one would
# take longer than the small kernels of a restoration network. TF32 is not fp32, so it is off.
_CUDA_OPTIONS = {"device_id": "0", "enable_cuda_graph": "1", "use_tf32": "0"}


class OnnxRuntimeCudaEngine:
    """ONNX Runtime on the first visible GPU.

    A session is made for each shape when it first comes, with every size fixed: what is left then are computations of
    the GPU alone, which is what lets CUDA record them as one graph and lets the processor be refused as a place to fall
    back to. Serving and timing replay the same recorded graph. Not yet run on a GPU.

    Args:
        model: Path of an ONNX file, or its bytes.
        target: `cuda-onnxruntime-*`.

    Raises:
        EngineError: If the model is not readable, does not have one float32 NCHW input and one output, or computes in
            another precision than the target's.
        TargetError: If ONNX Runtime, its CUDA provider, the driver or the GPU is missing.
    """

    def __init__(self, model: Path | bytes, target: Target) -> None:
        target.check_available()
        self._ort: Any = import_onnxruntime("gpu")
        self._target = target
        self._model = model if isinstance(model, bytes) else model.read_bytes()
        found = read_precision(self._ort, self._model)
        if found != target.precision:
            raise EngineError(
                f"The model computes in {found} and the target is {target.slug}; "
                f"export the network with precision='{target.precision}'."
            )
        self._sessions = PerShape(self._bind)

    @property
    def target(self) -> Target:
        """Where it runs."""
        return self._target

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (N, C, H, W) to (N, C, scale*H, scale*W), float32. The first batch of a shape takes long.

        Raises:
            EngineError: If ONNX Runtime refuses the batch or the model in its shape.
        """
        return self._sessions[check_batch(batch)].run(batch)

    def timer(self, batch: NDArray[np.float32]) -> Callable[[], float]:
        """A function that runs this batch and returns the seconds of one run, copies left out.

        Wall time around as many runs as it takes to fill about a millisecond, from the first launch until the GPU is
        done with the last.

        Raises:
            EngineError: If ONNX Runtime refuses the batch or the model in its shape.
        """
        session = self._bind(check_batch(batch))  # its own, so that it stays when others are dropped
        session.run(batch)
        return repeated(session.seconds)

    def _bind(self, shape: Shape) -> "BoundSession":
        session = fixed_session(self._ort, self._model, shape, PROVIDERS["cuda"], _CUDA_OPTIONS)
        return BoundSession(self._ort, session, shape, "cuda")


class BoundSession:
    """A session of one shape with its input and output in the memory of a device. Safe between threads.

    Args:
        ort: The module onnxruntime.
        session: From `fixed_session`.
        shape: (N, C, H, W) of the input.
        device: Where the buffers are: `"cuda"`; tests without a GPU bind them on the `"cpu"`.

    Raises:
        EngineError: If the shape of the output does not follow from that of the input.
    """

    def __init__(self, ort: Any, session: Any, shape: Shape, device: str) -> None:
        image, restored = single_input_and_output(session)
        if not all(isinstance(side, int) for side in restored.shape):
            raise EngineError(
                f"The output of the model is {restored.shape} for an input of {shape}: its size is unknown."
            )
        self._session = session
        self._failures = failure_types()
        self._lock = threading.Lock()
        # The graph reads and writes these addresses for ever, so they live as long as the session.
        self._input = ort.OrtValue.ortvalue_from_shape_and_type(list(shape), np.float32, device, 0)
        self._output = ort.OrtValue.ortvalue_from_shape_and_type(list(restored.shape), np.float32, device, 0)
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input(image.name, self._input)
        self._binding.bind_ortvalue_output(restored.name, self._output)
        # Runs are queued one behind the other; waiting is done once, by `synchronize_outputs`.
        self._queued = ort.RunOptions()
        self._queued.add_run_config_entry("disable_synchronize_execution_providers", "1")

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Copy a batch of this session's shape to the device, run it, copy the result back.

        Raises:
            EngineError: If ONNX Runtime fails.
        """
        with self._lock:
            try:
                self._input.update_inplace(np.ascontiguousarray(batch))
            except self._failures as error:
                raise EngineError(f"ONNX Runtime refused a batch of shape {batch.shape}: {error}") from error
            self._launch(1)
            return np.array(self._output.numpy(), dtype=np.float32)

    def seconds(self, runs: int) -> float:
        """Run so many times on what the input holds and return the wall time until the last is done.

        Raises:
            EngineError: If ONNX Runtime fails.
        """
        with self._lock:
            start = time.perf_counter()
            self._launch(runs)
            return time.perf_counter() - start

    def _launch(self, runs: int) -> None:
        try:
            for _ in range(runs):
                self._session.run_with_iobinding(self._binding, self._queued)
            self._binding.synchronize_outputs()
        except self._failures as error:
            raise EngineError(f"ONNX Runtime failed on the device: {error}") from error


def fixed_session(ort: Any, model: bytes, shape: Shape, provider: str, options: dict[str, str]) -> Any:
    """A session whose free dimensions are fixed to a shape, so that shape arithmetic folds away.

    Raises:
        EngineError: If the model is refused, or if its input cannot have this shape.
        TargetError: If ONNX Runtime would run elsewhere.
    """
    image, _ = single_input_and_output(_look(ort, model))
    settings = session_options(ort, 1)
    for name, size in _free_dimensions(image.shape, shape).items():
        settings.add_free_dimension_override_by_name(name, size)
    return open_session(ort, model, settings, provider, options)


def read_precision(ort: Any, model: bytes) -> str:
    """What `export.export_onnx` noted a model computes in; fp32 if it noted nothing.

    Raises:
        EngineError: If the model is not readable, or does not have one float32 NCHW input and one output.
    """
    session = _look(ort, model)
    single_input_and_output(session)
    return str(session.get_modelmeta().custom_metadata_map.get("millisight.precision", "fp32"))


def _look(ort: Any, model: bytes) -> Any:
    """A session that is only looked at, never run: it tells names, sizes and metadata."""
    options = session_options(ort, 1)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return open_session(ort, model, options, PROVIDERS["cpu"])


def _free_dimensions(sides: list[int | str | None], shape: Shape) -> dict[str, int]:
    free: dict[str, int] = {}
    for side, size in zip(sides, shape, strict=True):
        known = free.setdefault(side, size) if isinstance(side, str) else side
        if known is None:
            raise EngineError(f"The model's input {sides} has a free size without a name; name it, or fix it.")
        if known != size:
            raise EngineError(f"The model takes {sides}, got a batch of shape {shape}.")
    return free

"""TensorRT on a GPU, without torch. Written against its documented API; not yet run on a GPU."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.clock import repeated
from runtime.engines.batches import PerShape, Shape, check_batch
from runtime.engines.cuda_graph import CudaGraph, CudaStream, DeviceBuffer
from runtime.engines.tensorrt_build import BuildLog, ParsedModel, build_log
from runtime.errors import EngineError
from runtime.requirements import import_cuda_bindings, import_tensorrt
from runtime.target import Target

__all__ = ["TensorRtEngine"]


class TensorRtEngine:
    """TensorRT on the first visible GPU.

    An engine is built for each shape when it first comes, which takes seconds to minutes, and is recorded as one CUDA
    graph. Serving and timing replay the same graph. Not yet run on a GPU.

    Args:
        model: Path of an ONNX file, or its bytes.
        target: `cuda-tensorrt-*`.

    Raises:
        EngineError: If TensorRT refuses the model, or the model does not have one float32 NCHW input and one output, or
            computes in another precision than the target's.
        TargetError: If TensorRT, cuda-python, the driver or the GPU is missing.
    """

    def __init__(self, model: Path | bytes, target: Target) -> None:
        # Before any object of TensorRT exists: without a driver they end the process when they go.
        target.check_available()
        self._trt: Any = import_tensorrt()
        self._cuda: Any = import_cuda_bindings()
        self._log = build_log(self._trt)
        self._target = target
        content = model if isinstance(model, bytes) else model.read_bytes()
        self._model = ParsedModel(self._trt, self._log, content, target.precision)
        self._builder_in_use = threading.Lock()
        self._engines = PerShape(self._build)

    @property
    def target(self) -> Target:
        """Where it runs."""
        return self._target

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (N, C, H, W) to (N, C, scale*H, scale*W), float32. The first batch of a shape takes long.

        Raises:
            EngineError: If TensorRT refuses the batch or the model in its shape.
        """
        return self._engines[check_batch(batch)].run(batch)

    def timer(self, batch: NDArray[np.float32]) -> Callable[[], float]:
        """A function that runs this batch and returns the seconds of one run, copies left out.

        Time between two events on the device's stream around as many runs as it takes to fill about a millisecond.

        Raises:
            EngineError: If TensorRT refuses the batch or the model in its shape.
        """
        engine = self._build(check_batch(batch))  # its own, so that it stays when others are dropped
        engine.run(batch)
        return repeated(engine.seconds)

    def _build(self, shape: Shape) -> "_ShapeEngine":
        with self._builder_in_use:
            plan = self._model.plan(shape)
        return _ShapeEngine(self._trt, self._cuda, self._log, plan, shape)


class _ShapeEngine:
    """An engine of one shape with its buffers and its recorded graph. Safe between threads. Not yet run on a GPU."""

    def __init__(self, trt: Any, cuda: Any, log: BuildLog, plan: Any, shape: Shape) -> None:
        self._lock = threading.Lock()
        self._log = log
        self._runtime = trt.Runtime(log.logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise log.error("could not load the engine that it built")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise log.error("could not prepare the engine that it built")
        image, restored = self._names(trt)
        if not self._context.set_input_shape(image, shape):
            raise log.error(f"refused the shape {shape}")
        self._stream = CudaStream(cuda)
        self._input = DeviceBuffer(cuda, shape)
        self._output = DeviceBuffer(cuda, tuple(self._context.get_tensor_shape(restored)))
        for name, buffer in ((image, self._input), (restored, self._output)):
            if not self._context.set_tensor_address(name, buffer.address):
                raise log.error(f"refused the memory for '{name}'")
        self._enqueue()  # what happens at the first run only must not be recorded
        self._stream.wait()
        self._graph = CudaGraph(cuda, self._stream, self._enqueue)

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Copy a batch of this shape to the device, run it, copy the result back."""
        with self._lock:
            self._input.upload(batch, self._stream)
            self._graph.launch()
            return self._output.download(self._stream)

    def seconds(self, runs: int) -> float:
        """Run so many times on what the input holds and return the seconds by the device's events."""
        with self._lock:
            # One run ahead keeps the device busy while the timed ones are queued behind it.
            self._graph.launch()
            return self._stream.seconds(lambda: self._launch(runs))

    def _launch(self, runs: int) -> None:
        for _ in range(runs):
            self._graph.launch()

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(int(self._stream.handle)):
            raise self._log.error("failed to run")

    def _names(self, trt: Any) -> tuple[str, str]:
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        inputs = [name for name in names if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        outputs = [name for name in names if name not in inputs]
        if len(inputs) != 1 or len(outputs) != 1:
            raise EngineError(f"An engine has one input and one output; this one has {inputs} and {outputs}.")
        return inputs[0], outputs[0]

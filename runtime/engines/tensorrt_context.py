"""A plan on the GPU, and one execution context with its recorded graph for each shape that it runs.

Written against the documented API of TensorRT 10, 11 and TensorRT-RTX; not yet run on a GPU.
"""

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.engines.batches import Shape
from runtime.engines.cuda_graph import CudaGraph, CudaStream, DeviceBuffer, DeviceMemory
from runtime.engines.tensorrt_build import BuildLog, Profile, is_rtx
from runtime.errors import EngineError

__all__ = ["JitCache", "LoadedPlan", "ShapeRun"]


class JitCache:
    """Kernels that TensorRT-RTX compiled on this GPU, so that each is compiled once. Not yet run on a GPU.

    Args:
        path: A file that keeps them from one process to the next; None keeps them in memory. TensorRT-RTX itself
            refuses the content if another version wrote it or it is of another GPU; it is then written anew.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._cache: Any = None

    def attach(self, config: Any) -> bool:
        """Have a runtime configuration use the cache. False if TensorRT-RTX refuses it."""
        if self._cache is None:
            self._cache = config.create_runtime_cache()
            if self._path is not None and self._path.is_file():
                self._cache.deserialize(self._path.read_bytes())
        return bool(config.set_runtime_cache(self._cache))

    def save(self) -> None:
        """Write the file, if there is one; another process sees the old one or the new one, never a part."""
        if self._path is None or self._cache is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
        part.write_bytes(bytes(self._cache.serialize()))
        part.replace(self._path)


class LoadedPlan:
    """A plan on the device. Its shapes run one at a time: they share a stream and the memory for intermediate results.

    Args:
        trt: The module tensorrt or tensorrt_rtx.
        cuda: The module `cuda.bindings.runtime`.
        log: Where errors go.
        plan: From `ParsedModel.plan`, or from a file.
        profile: The batches that it takes.
        jit: Where TensorRT-RTX keeps its kernels.

    Attributes:
        profile: The batches that it takes.
        lock: To be held while anything of it runs.
        stream: Where it runs.
        image: Name of its input.
        restored: Name of its output.

    Raises:
        EngineError: If TensorRT cannot load it, or it does not have one input and one output.
    """

    def __init__(self, trt: Any, cuda: Any, log: BuildLog, plan: Any, profile: Profile, jit: JitCache) -> None:
        self.profile = profile
        self.lock = threading.Lock()
        self.jit = jit
        self.cuda = cuda
        self.log = log
        self._trt = trt
        self._runtime = trt.Runtime(log.logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise log.error("could not load the engine")
        self.image, self.restored = self._names()
        self.stream = CudaStream(cuda)
        size = int(self._engine.device_memory_size_v2)
        self._scratch, self._size = DeviceMemory(cuda, max(size, 1)), size

    def context(self, shape: Shape) -> Any:
        """An execution context set to a shape.

        A recorded graph wants a context of its own; the memory for intermediate results may be the same for all.

        Raises:
            EngineError: If TensorRT refuses.
        """
        context = self._rtx_context() if is_rtx(self._trt) else self._engine.create_execution_context(self._by_us)
        if context is None:
            raise self.log.error("could not prepare the engine")
        if self._size:
            context.set_device_memory(self._scratch.address, self._size)
        if not context.set_input_shape(self.image, shape):
            raise self.log.error(f"refused the shape {shape}")
        return context

    @property
    def _by_us(self) -> Any:
        return self._trt.ExecutionContextAllocationStrategy.USER_MANAGED

    def _rtx_context(self) -> Any:
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(self._by_us)
        # By default it runs a slower kernel until the right one is compiled, and the graph would record that one.
        eager = self._trt.DynamicShapesKernelSpecializationStrategy.EAGER
        config.dynamic_shapes_kernel_specialization_strategy = eager
        if not self.jit.attach(config):
            raise self.log.error("refused its cache of compiled kernels")
        return self._engine.create_execution_context(config)

    def _names(self) -> tuple[str, str]:
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        inputs = [name for name in names if self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT]
        outputs = [name for name in names if name not in inputs]
        if len(inputs) != 1 or len(outputs) != 1:
            raise EngineError(f"An engine has one input and one output; this one has {inputs} and {outputs}.")
        return inputs[0], outputs[0]


class ShapeRun:
    """One shape of a plan, with its buffers and its recorded graph. Safe between threads. Not yet run on a GPU.

    Args:
        plan: Of an engine whose profile holds the shape.
        shape: (N, C, H, W) of the input.

    Raises:
        EngineError: If TensorRT refuses the shape, or the device has no room.
    """

    def __init__(self, plan: LoadedPlan, shape: Shape) -> None:
        self._plan = plan
        with plan.lock:
            self._context = plan.context(shape)
            self._input = DeviceBuffer(plan.cuda, shape)
            self._output = DeviceBuffer(plan.cuda, tuple(self._context.get_tensor_shape(plan.restored)))
            for name, buffer in ((plan.image, self._input), (plan.restored, self._output)):
                if not self._context.set_tensor_address(name, buffer.address):
                    raise plan.log.error(f"refused the memory for '{name}'")
            self._enqueue()  # what happens at the first run only must not be recorded
            plan.stream.wait()
            plan.jit.save()
            self._graph = CudaGraph(plan.cuda, plan.stream, self._enqueue) if self._can_be_recorded() else None

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Copy a batch of this shape to the device, run it, copy the result back."""
        with self._plan.lock:
            self._input.upload(batch, self._plan.stream)
            self._launch(1)
            return self._output.download(self._plan.stream)

    def seconds(self, runs: int) -> float:
        """Run so many times on what the input holds and return the seconds by the device's events."""
        with self._plan.lock:
            # One run ahead keeps the device busy while the timed ones are queued behind it.
            self._launch(1)
            return self._plan.stream.seconds(lambda: self._launch(runs))

    def _launch(self, runs: int) -> None:
        launch = self._enqueue if self._graph is None else self._graph.launch
        for _ in range(runs):
            launch()

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(int(self._plan.stream.handle)):
            raise self._plan.log.error("failed to run")

    def _can_be_recorded(self) -> bool:
        # Only newer modules tell; all networks here have sizes that follow from the input's, which can be recorded.
        tells = getattr(self._context, "is_stream_capturable", None)
        return tells is None or bool(tells(int(self._plan.stream.handle)))

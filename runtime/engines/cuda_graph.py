"""Memory, a stream, events and a recorded graph of the CUDA runtime, through cuda-python.

Each frees what it holds when it goes. Written against the documented API; not yet run on a GPU.
"""

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import EngineError

__all__ = ["CudaGraph", "CudaStream", "DeviceBuffer", "DeviceMemory", "checked"]


def checked(api: Any, name: str, *arguments: Any) -> Any:
    """Call a function of the CUDA runtime.

    Args:
        api: The module `cuda.bindings.runtime`.
        name: For example `"cudaMalloc"`.
        arguments: Its arguments.

    Returns:
        What it returns beside its status, None if nothing.

    Raises:
        EngineError: If its status is not success; the message has CUDA's name for it.
    """
    status, *values = getattr(api, name)(*arguments)
    if status != api.cudaError_t.cudaSuccess:
        raise EngineError(f"{name} failed: {status.name}. Check `nvidia-smi` for memory, other processes and faults.")
    return values[0] if values else None


class DeviceMemory:
    """Memory of the device, aligned for anything.

    Args:
        api: The module `cuda.bindings.runtime`.
        size: In bytes, at least 1.

    Raises:
        EngineError: If the device has no room.
    """

    def __init__(self, api: Any, size: int) -> None:
        self.address = int(checked(api, "cudaMalloc", size))
        weakref.finalize(self, api.cudaFree, self.address)


class DeviceBuffer:
    """Memory of the device for one float32 array.

    Args:
        api: The module `cuda.bindings.runtime`.
        shape: Of the array.

    Raises:
        EngineError: If the device has no room.
    """

    def __init__(self, api: Any, shape: tuple[int, ...]) -> None:
        self._api = api
        self._host = np.zeros(shape, dtype=np.float32)
        self._memory = DeviceMemory(api, self._host.nbytes)
        self.address = self._memory.address

    def upload(self, array: NDArray[np.float32], stream: "CudaStream") -> None:
        """Queue the copy of an array of this shape to the device."""
        np.copyto(self._host, array, casting="no")
        kind = self._api.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(self.address, self._host.ctypes.data, kind, stream)

    def download(self, stream: "CudaStream") -> NDArray[np.float32]:
        """Wait for all that is queued and return the content."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(self._host.ctypes.data, self.address, kind, stream)
        stream.wait()
        return self._host.copy()

    def _copy(self, destination: int, source: int, kind: Any, stream: "CudaStream") -> None:
        checked(self._api, "cudaMemcpyAsync", destination, source, self._host.nbytes, kind, stream.handle)


class CudaStream:
    """A queue of work for the device, which does not wait for other queues, and a stopwatch in it.

    Args:
        api: The module `cuda.bindings.runtime`.

    Raises:
        EngineError: If CUDA refuses.
    """

    def __init__(self, api: Any) -> None:
        self._api = api
        self.handle = checked(api, "cudaStreamCreateWithFlags", api.cudaStreamNonBlocking)
        weakref.finalize(self, api.cudaStreamDestroy, self.handle)
        self._start, self._end = (checked(api, "cudaEventCreate") for _ in range(2))
        for event in (self._start, self._end):
            weakref.finalize(self, api.cudaEventDestroy, event)

    def wait(self) -> None:
        """Wait until everything queued is done."""
        checked(self._api, "cudaStreamSynchronize", self.handle)

    def seconds(self, queue_work: Callable[[], None]) -> float:
        """Seconds between the events before and after some work, by the device's clock.

        Args:
            queue_work: Queues the work on this stream, and only queues it.
        """
        checked(self._api, "cudaEventRecord", self._start, self.handle)
        queue_work()
        checked(self._api, "cudaEventRecord", self._end, self.handle)
        checked(self._api, "cudaEventSynchronize", self._end)
        return float(checked(self._api, "cudaEventElapsedTime", self._start, self._end)) / 1000.0


class CudaGraph:
    """Work recorded once, launched as a whole from then on.

    Args:
        api: The module `cuda.bindings.runtime`.
        stream: Where it is recorded and launched.
        queue_work: Queues the work on the stream, with the same addresses for ever. Called once.

    Raises:
        EngineError: If the work cannot be recorded.
    """

    def __init__(self, api: Any, stream: CudaStream, queue_work: Callable[[], None]) -> None:
        self._api = api
        self._stream = stream
        mode = api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        checked(api, "cudaStreamBeginCapture", stream.handle, mode)
        try:
            queue_work()
        finally:
            # The stream stays in capture until this is called, whatever became of the work.
            graph = checked(api, "cudaStreamEndCapture", stream.handle)
        try:
            self._graph = checked(api, "cudaGraphInstantiate", graph, 0)
        finally:
            checked(api, "cudaGraphDestroy", graph)
        weakref.finalize(self, api.cudaGraphExecDestroy, self._graph)

    def launch(self) -> None:
        """Queue one run."""
        checked(self._api, "cudaGraphLaunch", self._graph, self._stream.handle)

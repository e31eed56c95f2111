"""Order of the calls and release of what they give, against a CUDA of plain functions over this process' memory.

What the real functions answer is for `test_gpu.py`, and for the last test here where cuda-python is installed.
"""

import ctypes
import enum
import gc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from runtime.cuda import cuda_status
from runtime.engines.cuda_graph import CudaGraph, CudaStream, DeviceBuffer, checked
from runtime.errors import EngineError


class Status(enum.IntEnum):
    cudaSuccess = 0  # noqa: N815
    cudaErrorMemoryAllocation = 2  # noqa: N815


class HostCuda:
    """The functions that `cuda_graph` calls. Work runs at once, unless a stream is being captured."""

    def __init__(self) -> None:
        self.memory: dict[int, Any] = {}
        self.handles: set[str] = set()
        self.graphs: dict[str, list[Callable[[], None]]] = {}
        self.capturing: list[Callable[[], None]] | None = None
        self.log: list[str] = []
        self.room = 1 << 20

    def api(self) -> SimpleNamespace:
        names = [name for name in dir(self) if name.startswith("cuda")]
        return SimpleNamespace(
            cudaError_t=Status,
            cudaStreamNonBlocking=1,
            cudaMemcpyKind=SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2),
            cudaStreamCaptureMode=SimpleNamespace(cudaStreamCaptureModeThreadLocal=1),
            **{name: getattr(self, name) for name in names},
        )

    def do(self, name: str, work: Callable[[], None]) -> None:
        if self.capturing is not None:
            self.capturing.append(work)
        else:
            self.log.append(name)
            work()

    def cudaMalloc(self, size: int) -> tuple[Status, int | None]:  # noqa: N802
        if size > self.room:
            return Status.cudaErrorMemoryAllocation, None
        block = ctypes.create_string_buffer(size)
        self.memory[ctypes.addressof(block)] = block
        return Status.cudaSuccess, ctypes.addressof(block)

    def cudaFree(self, address: int) -> tuple[Status]:  # noqa: N802
        del self.memory[address]
        return (Status.cudaSuccess,)

    def cudaMemcpyAsync(self, to: int, source: int, size: int, kind: int, stream: str) -> tuple[Status]:  # noqa: N802
        assert (to if kind == 1 else source) in self.memory
        assert stream in self.handles
        self.do(f"copy {kind}", lambda: ctypes.memmove(to, source, size) and None)
        return (Status.cudaSuccess,)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Status, str]:  # noqa: N802
        assert flags == 1
        return self._new("stream")

    def cudaEventCreate(self) -> tuple[Status, str]:  # noqa: N802
        return self._new("event")

    def cudaStreamDestroy(self, handle: str) -> tuple[Status]:  # noqa: N802
        self.handles.remove(handle)
        return (Status.cudaSuccess,)

    cudaEventDestroy = cudaGraphExecDestroy = cudaGraphDestroy = cudaStreamDestroy  # noqa: N815

    def cudaStreamSynchronize(self, _: str) -> tuple[Status]:  # noqa: N802
        self.log.append("wait")
        return (Status.cudaSuccess,)

    def cudaEventRecord(self, event: str, stream: str) -> tuple[Status]:  # noqa: N802
        assert {event, stream} <= self.handles
        self.log.append(event)
        return (Status.cudaSuccess,)

    def cudaEventSynchronize(self, event: str) -> tuple[Status]:  # noqa: N802
        self.log.append(f"wait {event}")
        return (Status.cudaSuccess,)

    def cudaEventElapsedTime(self, start: str, end: str) -> tuple[Status, float]:  # noqa: N802
        return Status.cudaSuccess, 2.5 if self.log.index(start) < self.log.index(end) else -1.0

    def cudaStreamBeginCapture(self, _: str, mode: int) -> tuple[Status]:  # noqa: N802
        assert mode == 1
        self.capturing = []
        return (Status.cudaSuccess,)

    def cudaStreamEndCapture(self, _: str) -> tuple[Status, str]:  # noqa: N802
        assert self.capturing is not None
        status, graph = self._new("graph")
        self.graphs[graph], self.capturing = self.capturing, None
        return status, graph

    def cudaGraphInstantiate(self, graph: str, flags: int) -> tuple[Status, str]:  # noqa: N802
        assert flags == 0
        status, launchable = self._new("launchable")
        self.graphs[launchable] = self.graphs[graph]
        return status, launchable

    def cudaGraphLaunch(self, graph: str, _: str) -> tuple[Status]:  # noqa: N802
        assert graph in self.handles
        for work in self.graphs[graph]:
            self.do("work", work)
        return (Status.cudaSuccess,)

    def _new(self, kind: str) -> tuple[Status, str]:
        handle = f"{kind} {len(self.handles)}"
        self.handles.add(handle)
        return Status.cudaSuccess, handle


def test_an_array_goes_to_the_device_and_back() -> None:
    cuda = HostCuda()
    stream, buffer = CudaStream(cuda.api()), DeviceBuffer(cuda.api(), (2, 3))
    array = np.arange(12, dtype=np.float32).reshape(3, 4)[:2, 1:]
    buffer.upload(array, stream)
    got = buffer.download(stream)
    np.testing.assert_array_equal(got, array)
    assert cuda.log == ["copy 1", "copy 2", "wait"], "what is read must have arrived"
    buffer.upload(array + 1, stream)
    np.testing.assert_array_equal(got, array, "a result must not change later")


def test_a_graph_records_once_and_runs_at_each_launch() -> None:
    cuda = HostCuda()
    stream, done, recorded = CudaStream(cuda.api()), [], []

    def queue_work() -> None:
        recorded.append(1)
        cuda.do("work", lambda: done.append(1))

    graph = CudaGraph(cuda.api(), stream, queue_work)
    assert (len(recorded), len(done)) == (1, 0)
    for _ in range(3):
        graph.launch()
    assert (len(recorded), len(done)) == (1, 3)


def test_time_is_read_between_two_events_around_the_work() -> None:
    cuda = HostCuda()
    stream = CudaStream(cuda.api())
    assert stream.seconds(lambda: cuda.do("work", lambda: None)) == pytest.approx(2.5e-3)
    start, work, end, wait = cuda.log
    assert (work, wait) == ("work", f"wait {end}")
    assert start != end


def test_a_capture_ends_even_if_the_work_fails() -> None:
    cuda = HostCuda()
    stream = CudaStream(cuda.api())

    def fail() -> None:
        raise EngineError("no kernel")

    with pytest.raises(EngineError, match="no kernel"):
        CudaGraph(cuda.api(), stream, fail)
    assert cuda.capturing is None


def test_a_failed_call_says_which_and_why() -> None:
    with pytest.raises(EngineError, match="cudaMalloc failed: cudaErrorMemoryAllocation"):
        DeviceBuffer(HostCuda().api(), (1, 3, 1000, 1000))


def test_everything_is_given_back() -> None:
    cuda = HostCuda()
    stream = CudaStream(cuda.api())
    held = [stream, DeviceBuffer(cuda.api(), (4, 4)), CudaGraph(cuda.api(), stream, lambda: None)]
    assert cuda.memory
    assert cuda.handles
    held.clear()
    del stream
    gc.collect()
    assert not cuda.memory
    assert not cuda.handles


def test_the_real_functions_exist_and_answer_in_words() -> None:
    api = pytest.importorskip("cuda.bindings.runtime", reason="needs cuda-python")
    planted = HostCuda().api()
    assert [name for name in vars(planted) if not hasattr(api, name)] == []
    for group in ("cudaMemcpyKind", "cudaStreamCaptureMode"):
        assert [name for name in vars(getattr(planted, group)) if not hasattr(getattr(api, group), name)] == []
    if cuda_status().available:
        assert checked(api, "cudaGetDeviceCount") >= 1
    else:
        with pytest.raises(EngineError, match=r"cudaStreamCreateWithFlags failed: cudaError\w+"):
            CudaStream(api)

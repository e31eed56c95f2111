"""What is asked of TensorRT to run a plan, and in which order, against one of plain functions.

That the real modules have these names is tested here too. What they answer is for `test_gpu.py`.
"""

import ctypes
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from runtime.cuda import cuda_status
from runtime.engines.tensorrt_build import BuildLog, Profile
from runtime.engines.tensorrt_context import JitCache, LoadedPlan, ShapeRun
from runtime.errors import EngineError

ROOT = Path(__file__).parents[3]
OK = SimpleNamespace(name="cudaSuccess")
PROFILE = Profile((1, 4, 4), (2, 4, 4), (4, 8, 8))


class HostCuda:
    """The CUDA runtime, on the processor: what is queued runs at once, unless it is being recorded."""

    def __init__(self) -> None:
        self.blocks: dict[int, Any] = {}
        self.recording: list[Any] | None = None
        self.launches = 0
        self.cudaError_t = SimpleNamespace(cudaSuccess=OK)
        self.cudaStreamNonBlocking = 1
        self.cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
        self.cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def cudaMalloc(self, size: int) -> tuple[Any, int]:  # noqa: N802
        block = ctypes.create_string_buffer(size)
        self.blocks[ctypes.addressof(block)] = block
        return OK, ctypes.addressof(block)

    def cudaFree(self, address: int) -> None:  # noqa: N802
        del self.blocks[address]

    def cudaMemcpyAsync(self, to: int, source: int, size: int, *_: Any) -> tuple[Any]:  # noqa: N802
        ctypes.memmove(to, source, size)
        return (OK,)

    def cudaStreamBeginCapture(self, *_: Any) -> tuple[Any]:  # noqa: N802
        self.recording = []
        return (OK,)

    def cudaStreamEndCapture(self, _: Any) -> tuple[Any, Any]:  # noqa: N802
        recorded, self.recording = self.recording, None
        return OK, recorded

    def cudaGraphInstantiate(self, graph: Any, _: int) -> tuple[Any, Any]:  # noqa: N802
        return OK, graph

    def cudaGraphLaunch(self, graph: Any, _: Any) -> tuple[Any]:  # noqa: N802
        self.launches += 1
        for work in graph:
            work()
        return (OK,)

    def cudaEventElapsedTime(self, *_: Any) -> tuple[Any, float]:  # noqa: N802
        return OK, 3.0

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cuda"):
            raise AttributeError(name)
        return lambda *_: (OK, 7)


class HostTensorRt:
    """TensorRT whose every plan multiplies by the byte that it consists of. Notes what it was asked for."""

    ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="by us", STATIC="by it")
    DynamicShapesKernelSpecializationStrategy = SimpleNamespace(EAGER="eager", LAZY="lazy")
    TensorIOMode = SimpleNamespace(INPUT="in", OUTPUT="out")

    def __init__(self, name: str, cuda: HostCuda, capturable: bool = True) -> None:
        self.__name__ = name
        self.cuda, self.capturable = cuda, capturable
        self.configs: list[Any] = []
        self.loaded: list[bytes] = []
        self.scratch: set[int] = set()
        self.runs = 0

    def Runtime(self, _: Any) -> Any:  # noqa: N802
        return SimpleNamespace(deserialize_cuda_engine=lambda plan: HostEngine(self, plan) if plan else None)


class HostEngine:
    num_io_tensors, device_memory_size_v2 = 2, 64

    def __init__(self, trt: HostTensorRt, plan: bytes) -> None:
        self.trt, self.factor = trt, plan[0]

    def get_tensor_name(self, index: int) -> str:
        return ("y", "x")[index]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name == "x" else "out"

    def create_runtime_config(self) -> Any:
        config = HostConfig(self.trt)
        self.trt.configs.append(config)
        return config

    def create_execution_context(self, how: Any) -> Any:
        if self.trt.__name__ == "tensorrt_rtx":
            assert (how.strategy, how.dynamic_shapes_kernel_specialization_strategy) == ("by us", "eager")
            assert how.cache is not None
        else:
            assert how == "by us"
        return HostContext(self)


class HostConfig:
    dynamic_shapes_kernel_specialization_strategy = "lazy"
    cache = strategy = None

    def __init__(self, trt: HostTensorRt) -> None:
        self.trt = trt

    def set_execution_context_allocation_strategy(self, strategy: str) -> None:
        self.strategy = strategy  # type: ignore[assignment]

    def create_runtime_cache(self) -> Any:
        kept = self.trt.loaded
        return SimpleNamespace(serialize=lambda: b"kernels", deserialize=lambda blob: kept.append(blob) or True)

    def set_runtime_cache(self, cache: Any) -> bool:
        self.cache = cache
        return True


class HostContext:
    def __init__(self, engine: HostEngine) -> None:
        self.engine, self.trt = engine, engine.trt
        self.addresses: dict[str, int] = {}

    def set_device_memory(self, address: int, size: int) -> None:
        assert address in self.trt.cuda.blocks
        assert size == self.engine.device_memory_size_v2
        self.trt.scratch.add(address)

    def set_input_shape(self, name: str, shape: Any) -> bool:
        self.shape = shape
        return name == "x" and shape[1] == 3

    def get_tensor_shape(self, name: str) -> Any:
        assert name == "y"
        return self.shape

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return address in self.trt.cuda.blocks

    def is_stream_capturable(self, _: int) -> bool:
        return self.trt.capturable

    def execute_async_v3(self, _: int) -> bool:
        count = int(np.prod(self.shape))

        def work() -> None:
            self.trt.runs += 1
            x, y = (np.ctypeslib.as_array((ctypes.c_float * count).from_address(self.addresses[n])) for n in "xy")
            np.multiply(x, self.engine.factor, out=y)

        if self.trt.cuda.recording is None:
            work()
        else:
            self.trt.cuda.recording.append(work)
        return True


def _plan(trt: HostTensorRt, jit: JitCache | None = None, plan: bytes = b"\x02") -> LoadedPlan:
    return LoadedPlan(trt, trt.cuda, BuildLog(None, []), plan, PROFILE, jit or JitCache())


def _batch(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt_rtx"])
def test_shapes_of_a_plan_are_recorded_and_share_its_scratch_memory(name: str) -> None:
    trt = HostTensorRt(name, HostCuda())
    plan = _plan(trt)
    small, large = (ShapeRun(plan, shape) for shape in ((1, 3, 4, 4), (4, 3, 8, 8)))
    assert len(trt.scratch) == 1
    assert (trt.runs, trt.cuda.launches) == (2, 0), "each ran once before it was recorded"
    for run, shape in ((small, (1, 3, 4, 4)), (large, (4, 3, 8, 8)), (small, (1, 3, 4, 4))):
        np.testing.assert_array_equal(run.run(_batch(*shape)), 2 * _batch(*shape))
    assert trt.cuda.launches == 3
    assert small.seconds(5) == pytest.approx(3e-3)
    assert trt.cuda.launches == 3 + 1 + 5
    # planted fault: another plan would be seen
    other = ShapeRun(_plan(trt, plan=b"\x03"), (1, 3, 4, 4))
    assert not np.array_equal(other.run(_batch(1, 3, 4, 4)), 2 * _batch(1, 3, 4, 4))


def test_what_cannot_be_recorded_runs_all_the_same() -> None:
    trt = HostTensorRt("tensorrt_rtx", HostCuda(), capturable=False)
    run = ShapeRun(_plan(trt), (1, 3, 4, 4))
    np.testing.assert_array_equal(run.run(_batch(1, 3, 4, 4)), 2 * _batch(1, 3, 4, 4))
    assert trt.cuda.launches == 0


def test_memory_is_given_back() -> None:
    trt = HostTensorRt("tensorrt_rtx", HostCuda())
    plan = _plan(trt)
    run = ShapeRun(plan, (1, 3, 4, 4))
    assert len(trt.cuda.blocks) == 3
    del run
    assert len(trt.cuda.blocks) == 1
    del plan
    assert trt.cuda.blocks == {}


def test_a_plan_that_does_not_load_and_a_shape_that_it_refuses_are_errors() -> None:
    trt = HostTensorRt("tensorrt", HostCuda())
    with pytest.raises(EngineError, match="could not load the engine"):
        _plan(trt, plan=b"")
    with pytest.raises(EngineError, match=r"refused the shape \(1, 4, 4, 4\)"):
        ShapeRun(_plan(trt), (1, 4, 4, 4))


def test_kernels_are_kept_for_all_plans_and_for_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "kernels"
    trt, jit = HostTensorRt("tensorrt_rtx", HostCuda()), JitCache(path)
    for _ in range(2):
        ShapeRun(_plan(trt, jit), (1, 3, 4, 4))
    assert len({id(config.cache) for config in trt.configs}) == 1
    assert (path.read_bytes(), trt.loaded) == (b"kernels", [])
    assert list(path.parent.iterdir()) == [path], "no part is left behind"
    ShapeRun(_plan(trt, JitCache(path)), (1, 3, 4, 4))
    assert trt.loaded == [b"kernels"]


def test_the_real_module_has_these_names() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")
    pairs = {
        trt.ICudaEngine: HostEngine,
        trt.IExecutionContext: HostContext,
        trt.IRuntimeConfig: HostConfig,
        trt.ExecutionContextAllocationStrategy: HostTensorRt.ExecutionContextAllocationStrategy,
        trt.DynamicShapesKernelSpecializationStrategy: HostTensorRt.DynamicShapesKernelSpecializationStrategy,
        trt.TensorIOMode: HostTensorRt.TensorIOMode,
    }
    ours = {"cache", "strategy"}
    for real, planted in pairs.items():
        names = [name for name in vars(planted) if not name.startswith("_") and name not in ours]
        assert [name for name in names if not hasattr(real, name)] == []
    assert all(hasattr(trt.IRuntimeCache, name) for name in ("serialize", "deserialize"))
    assert hasattr(trt.Runtime, "deserialize_cuda_engine")


def test_the_real_runtime_is_not_reached_without_a_driver(tmp_path: Path) -> None:
    """Nor is a module touched whose objects end the process, as those of `tensorrt` do without a driver."""
    if cuda_status().available:
        pytest.skip("this machine has a driver")
    ends = "import os\nclass Builder:\n    def __init__(self, *_):\n        os._exit(11)\nRuntime = ILogger = Builder\n"
    (tmp_path / "tensorrt_rtx.py").write_text(ends)
    bindings = tmp_path / "cuda" / "bindings"
    bindings.mkdir(parents=True)
    (bindings / "runtime.py").write_text("def cudaMalloc(size): raise AssertionError\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from runtime import Target, TargetError, open_engine\n"
        "try: open_engine(b'', Target.parse('cuda-tensorrtrtx-fp16'))\n"
        "except TargetError as error: print(error)\n"
    )

    def ended(more: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code + more], cwd=ROOT, capture_output=True, text=True, check=False
        )

    assert ended().returncode == 0
    assert re.search(re.escape(cuda_status().missing), ended().stdout)
    assert ended("import tensorrt_rtx; tensorrt_rtx.Runtime()").returncode == 11, "the planted fault"


def test_without_a_driver_a_real_plan_does_not_load() -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")
    if cuda_status().available:
        pytest.skip("this machine has a driver")
    code = (
        "import tensorrt_rtx as trt\n"
        "from runtime.engines.tensorrt_build import Profile, build_log\n"
        "from runtime.engines.tensorrt_context import JitCache, LoadedPlan\n"
        "from runtime.errors import EngineError\n"
        "try: LoadedPlan(trt, None, build_log(trt), b'not an engine', Profile.fixed(1, 8, 8), JitCache())\n"
        "except EngineError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "TensorRT could not load the engine: " in done.stdout

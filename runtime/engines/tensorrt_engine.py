"""TensorRT and TensorRT-RTX on a GPU, without torch. Written against their documented API; not yet run on a GPU."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.clock import repeated
from runtime.engines.batches import PerShape, Shape, check_batch
from runtime.engines.stored import StoredEngine, read_stored, warn_not_used
from runtime.engines.tensorrt_build import ParsedModel, Profile, build_log
from runtime.engines.tensorrt_context import JitCache, LoadedPlan, ShapeRun
from runtime.errors import EngineError
from runtime.requirements import import_cuda_bindings, import_tensorrt
from runtime.target import Target

__all__ = ["TensorRtEngine"]


class TensorRtEngine:
    """TensorRT or TensorRT-RTX on the first visible GPU.

    Batches inside the profile, if there is one, share one engine. For each other shape one is built when it first
    comes, which takes seconds to minutes. Every shape is recorded as a CUDA graph; serving and timing replay the same
    one. Not yet run on a GPU.

    Args:
        model: Path of an ONNX file, or its bytes.
        target: `cuda-tensorrt-*` or `cuda-tensorrtrtx-*`.
        stored: An engine built from this model ahead of time, with its profile. If it does not fit this machine or
            does not load, a `FallbackWarning` says so and one is built here for the same profile.
        profile: The batches to build one engine for at once; `stored` brings its own.
        jit_cache: A file that keeps what TensorRT-RTX compiles for this GPU from one process to the next.

    Raises:
        EngineError: If TensorRT refuses the model, or the model does not have one float32 NCHW input and one output, or
            computes in another precision than the target's; if both a stored engine and a profile are given.
        TargetError: If TensorRT, cuda-python, the driver or the GPU is missing.
    """

    def __init__(
        self,
        model: Path | bytes,
        target: Target,
        stored: StoredEngine | None = None,
        profile: Profile | None = None,
        jit_cache: Path | None = None,
    ) -> None:
        # Before any object of TensorRT exists: without a driver those of `tensorrt` end the process when they go.
        target.check_available()
        if stored is not None and profile is not None:
            raise EngineError("A stored engine has a profile of its own: give one of the two.")
        self._trt: Any = import_tensorrt(target.engine)
        self._cuda: Any = import_cuda_bindings()
        self._log = build_log(self._trt)
        self._target = target
        content = model if isinstance(model, bytes) else model.read_bytes()
        self._model = ParsedModel(self._trt, self._log, content, target.precision)
        self._builder_in_use = threading.Lock()
        self._jit = JitCache(jit_cache)
        self._shared = None if profile is None else self._build(profile)
        if stored is not None:
            self._shared = self._open(stored, content)
        self._runs = PerShape(self._prepare)

    @property
    def target(self) -> Target:
        """Where it runs."""
        return self._target

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (N, C, H, W) to (N, C, scale*H, scale*W), float32. The first batch of a shape takes long.

        Raises:
            EngineError: If TensorRT refuses the batch or the model in its shape.
        """
        return self._runs[check_batch(batch)].run(batch)

    def timer(self, batch: NDArray[np.float32]) -> Callable[[], float]:
        """A function that runs this batch and returns the seconds of one run, copies left out.

        Time between two events on the device's stream around as many runs as it takes to fill about a millisecond.

        Raises:
            EngineError: If TensorRT refuses the batch or the model in its shape.
        """
        run = self._prepare(check_batch(batch))  # its own, so that it stays when others are dropped
        run.run(batch)
        return repeated(run.seconds)

    def _prepare(self, shape: Shape) -> ShapeRun:
        if self._shared is not None and self._shared.profile.holds(shape):
            return ShapeRun(self._shared, shape)
        batch, _, height, width = shape
        return ShapeRun(self._build(Profile.fixed(batch, height, width)), shape)

    def _build(self, profile: Profile) -> LoadedPlan:
        with self._builder_in_use:
            plan = self._model.plan(profile)
        return self._load(plan, profile)

    def _open(self, stored: StoredEngine, model: bytes) -> LoadedPlan:
        profile = Profile(stored.record.smallest, stored.record.usual, stored.record.largest)
        plan = read_stored(stored, self._target, model)
        if plan is None:
            return self._build(profile)
        try:
            return self._load(plan, profile)
        except EngineError as error:
            warn_not_used(stored, str(error).removesuffix("."))
            return self._build(profile)

    def _load(self, plan: Any, profile: Profile) -> LoadedPlan:
        return LoadedPlan(self._trt, self._cuda, self._log, plan, profile, self._jit)

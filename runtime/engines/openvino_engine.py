"""OpenVINO on the processor or on an Intel GPU; written against its documented API for the latter and not run there."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.clock import clock_for
from runtime.engines.batches import Shape, check_batch
from runtime.engines.openvino_model import CompiledModel, OpenVinoModel
from runtime.errors import EngineError
from runtime.requirements.openvino import import_openvino
from runtime.target import Target

__all__ = ["OpenVinoEngine"]


class OpenVinoEngine:
    """OpenVINO with the settings under which it serves.

    Use `open_engine`. `target.threads` threads, one run at a time: calls from several threads wait for each other, so
    more cores are put to use by more threads in the target.

    The shape that comes first, in a service its tile, is compiled for; all others share a second model that takes any
    size. One picture therefore gives the same bits however often it is restored, and no more than two models are ever
    compiled, whatever sizes come. (Compiled for its size a model of the zoo is 2 to 12 % faster in fp32 and 7 to 13 %
    in int8, and compiling takes 0.1 to 0.5 s.)

    Args:
        model: Path of an ONNX file, or its bytes.
        target: `cpu-openvino-*` or `intelgpu-openvino-*`.

    Raises:
        EngineError: If the model is not readable, does not have one float32 NCHW input and one output, or computes in
            int8 and the target does not, or the other way round.
        TargetError: If OpenVINO or the GPU is missing.
    """

    def __init__(self, model: Path | bytes, target: Target) -> None:
        target.check_available()
        self._target = target
        content = model if isinstance(model, bytes) else model.read_bytes()
        self._model = OpenVinoModel(import_openvino(), content, target)
        self._lock = threading.Lock()
        self._first: tuple[Shape, CompiledModel] | None = None
        self._others: CompiledModel | None = None

    @property
    def target(self) -> Target:
        """Where it runs."""
        return self._target

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (N, C, H, W) to (N, C, scale*H, scale*W), float32. The first batches of two sizes take longer.

        Raises:
            EngineError: If the model does not take the batch, or OpenVINO fails on it.
            TargetError: If OpenVINO would run on another device.
        """
        shape = check_batch(batch)
        self._model.check_size(shape)
        with self._lock:
            compiled = self._compiled(shape)
            compiled.bind(batch)
            try:
                compiled.compute()
            except EngineError:
                # What takes any size may fail on good sizes after a bad one; the next batch gets a new one.
                if compiled is self._others:
                    self._others = None
                raise
            return compiled.result()

    def timer(self, batch: NDArray[np.float32]) -> Callable[[], float]:
        """A function that runs this batch once and returns the seconds it took, by the target's clock.

        The model is compiled for this shape, as for the first one that is served. On a processor the time is that of
        `run`, with the copy of the result; on an Intel GPU neither picture is copied, but for what its driver does.

        Raises:
            EngineError: If the model does not take the batch, or OpenVINO fails on it.
            TargetError: If OpenVINO would run on another device.
        """
        shape = check_batch(batch)
        self._model.check_size(shape)
        compiled = self._model.compile(shape)
        compiled.bind(batch)
        compiled.compute()
        compiled.result()
        now, on_gpu = clock_for(self._target).now, self._target.on_gpu

        def once() -> float:
            start = now()
            compiled.compute()
            if not on_gpu:
                compiled.result()
            return now() - start

        return once

    def _compiled(self, shape: Shape) -> CompiledModel:
        if self._first is None:
            self._first = (shape, self._model.compile(shape))
        if self._first[0] == shape:
            return self._first[1]
        if self._others is None:
            self._others = self._model.compile(None)
        return self._others

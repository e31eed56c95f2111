"""Engines: a compiled model that maps a batch of pictures to a batch of pictures on one target."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.engines.onnxruntime_cpu import OnnxRuntimeEngine
from runtime.engines.onnxruntime_cuda import OnnxRuntimeCudaEngine
from runtime.engines.openvino_engine import OpenVinoEngine
from runtime.engines.stored import StoredEngine
from runtime.engines.tensorrt_engine import TensorRtEngine
from runtime.errors import EngineError
from runtime.requirements import installed_version
from runtime.target import Target

__all__ = ["ENGINES", "STORED_ENGINES", "Engine", "engine_version", "open_engine"]


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

    def timer(self, batch: NDArray[np.float32]) -> Callable[[], float]:
        """A function that runs this batch once and returns the seconds it took, copies to and from a device left out.

        Raises:
            EngineError: If the engine refuses the batch, here or at the first run.
        """


ENGINES: Mapping[str, Callable[[Path | bytes, Target], Engine]] = MappingProxyType(
    {
        "cpu-onnxruntime": OnnxRuntimeEngine,
        "cpu-openvino": OpenVinoEngine,
        "intelgpu-openvino": OpenVinoEngine,
        "cuda-onnxruntime": OnnxRuntimeCudaEngine,
        "cuda-tensorrt": TensorRtEngine,
        "cuda-tensorrtrtx": TensorRtEngine,
    }
)
"""Device and engine to what opens a model with it. A new engine is a line here, its needs in `runtime.requirements`
and its targets in `runtime.target`."""


STORED_ENGINES: Mapping[str, Callable[[Path | bytes, Target, StoredEngine], Engine]] = MappingProxyType(
    {"cuda-tensorrt": TensorRtEngine, "cuda-tensorrtrtx": TensorRtEngine}
)
"""Device and engine to what opens an engine that was built ahead of time, for those that can."""


def open_engine(model: Path | bytes, target: Target, stored: StoredEngine | None = None) -> Engine:
    """Load a model on a target, never silently on another.

    Args:
        model: Path of an ONNX file, or its bytes.
        target: Where to run it.
        stored: An engine that was built from this model ahead of time. If it does not fit this machine, a
            `FallbackWarning` says why, and an engine is built from the model instead.

    Raises:
        TargetError: If the target does not exist in this version or is not available on this machine.
        EngineError: If the model is not readable or not of the right form, or the target takes no stored engine.
    """
    target.check_exists()
    if isinstance(model, Path) and not model.is_file():
        raise EngineError(f"There is no model file {model}.")
    if stored is None:
        return ENGINES[target.backend](model, target)
    if target.backend not in STORED_ENGINES:
        raise EngineError(
            f"{target.backend} runs ONNX files and takes no stored engine such as {stored.path.name}; "
            f"these do: {', '.join(STORED_ENGINES)}."
        )
    return STORED_ENGINES[target.backend](model, target, stored)


def engine_version(target: Target) -> str:
    """Version of the engine a target uses, for example `"onnxruntime 1.31.1"`, from its metadata.

    Where an engine only builds, and what it builds runs elsewhere, ask `runtime.requirements.installed_version`.

    Raises:
        TargetError: If the target does not exist, its engine is not installed, or, for a GPU, if anything that it needs
            is missing on this machine.
    """
    target.check_exists()
    if target.on_gpu:
        target.check_available()
    return installed_version(target.backend)

"""Engines: a compiled model that maps a batch of pictures to a batch of pictures on one target."""

import importlib.metadata
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.engines.onnxruntime_cpu import OnnxRuntimeEngine
from runtime.engines.onnxruntime_cuda import OnnxRuntimeCudaEngine
from runtime.engines.tensorrt_engine import TensorRtEngine
from runtime.errors import EngineError
from runtime.requirements import DISTRIBUTIONS, Missing
from runtime.target import Target

__all__ = ["ENGINES", "Engine", "engine_version", "open_engine"]


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
        "cuda-onnxruntime": OnnxRuntimeCudaEngine,
        "cuda-tensorrt": TensorRtEngine,
    }
)
"""Device and engine to what opens a model with it. A new engine is a line here, its needs in `runtime.requirements`
and its targets in `runtime.target`."""


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
    return ENGINES[target.backend](model, target)


def engine_version(target: Target) -> str:
    """Version of the engine a target uses, for example `"onnxruntime 1.31.1"`, from its metadata.

    Raises:
        TargetError: If the target does not exist, its engine is not installed, or, for a GPU, if anything that it needs
            is missing on this machine.
    """
    target.check_exists()
    if target.on_gpu:
        target.check_available()
    for name in DISTRIBUTIONS[target.backend]:
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    missing = target.missing() or Missing(
        f"The engine of '{target.slug}' is not a package that pip installed", "Install it with pip"
    )
    raise missing.error()

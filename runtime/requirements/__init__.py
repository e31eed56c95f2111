"""What each engine needs of a machine: looked for once, a missing one is a value with the command that mends it.

One file an engine; a new engine is a line in both tables here.
"""

import importlib.metadata
from collections.abc import Callable, Mapping
from types import MappingProxyType

from runtime.requirements.missing import Missing
from runtime.requirements.onnxruntime import import_onnxruntime, missing_on_cuda, missing_on_processor
from runtime.requirements.openvino import missing_for_intel_gpu, missing_for_openvino
from runtime.requirements.tensorrt import (
    import_cuda_bindings,
    import_tensorrt,
    missing_for_tensorrt,
    missing_for_tensorrtrtx,
)

__all__ = [
    "DISTRIBUTIONS",
    "REQUIREMENTS",
    "Missing",
    "find_version",
    "import_cuda_bindings",
    "import_onnxruntime",
    "import_tensorrt",
    "installed_version",
]

DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cpu-onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"),
        "cpu-openvino": ("openvino",),
        "intelgpu-openvino": ("openvino",),
        "cuda-onnxruntime": ("onnxruntime-gpu",),
        "cuda-tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
        "cuda-tensorrtrtx": ("tensorrt-rtx", "tensorrt-rtx-cu13", "tensorrt-rtx-cu12"),
    }
)
"""Device and engine to the distributions that may hold the engine, the first installed one counts."""

REQUIREMENTS: Mapping[str, Callable[[], Missing | None]] = MappingProxyType(
    {
        "cpu-onnxruntime": missing_on_processor,
        "cpu-openvino": missing_for_openvino,
        "intelgpu-openvino": missing_for_intel_gpu,
        "cuda-onnxruntime": missing_on_cuda,
        "cuda-tensorrt": missing_for_tensorrt,
        "cuda-tensorrtrtx": missing_for_tensorrtrtx,
    }
)
"""Device and engine to a function that says what is missing for it, or None."""


def find_version(backend: str) -> str | None:
    """The same as `installed_version`, or None if no package has the engine."""
    for name in DISTRIBUTIONS[backend]:
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def installed_version(backend: str) -> str:
    """The installed engine, whether or not the machine has what running it needs: `"tensorrt-rtx 1.7.1.116"`.

    Args:
        backend: Device and engine: `Target.backend`.

    Raises:
        TargetError: If no package has it.
    """
    if (found := find_version(backend)) is not None:
        return found
    missing = REQUIREMENTS[backend]() or Missing(
        f"The engine of {backend} is not a package that pip installed", "Install it with pip"
    )
    raise missing.error()

"""What TensorRT and TensorRT-RTX need."""

import functools
from collections.abc import Mapping
from types import MappingProxyType, ModuleType
from typing import Any

from runtime.cuda import cuda_status
from runtime.engines.tensorrt_build import offered_capabilities
from runtime.requirements.gpu import missing_gpu
from runtime.requirements.missing import Missing, find, require, together

__all__ = [
    "import_cuda_bindings",
    "import_tensorrt",
    "missing_for_tensorrt",
    "missing_for_tensorrtrtx",
    "unsupported_capability",
]

_REMEDY = "pip install '.[tensorrt]'"
_MODULES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "tensorrt": ("tensorrt", _REMEDY),
        "tensorrtrtx": ("tensorrt_rtx", "pip install '.[tensorrt-rtx]' cuda-python"),
    }
)
"""`Target.engine` to its module and the command that installs what running it needs."""


def import_tensorrt(engine: str = "tensorrt") -> ModuleType:
    """Import TensorRT or TensorRT-RTX.

    Objects of TensorRT must not be made before a driver was found: without one they end the process. Builders of
    TensorRT-RTX need no driver.

    Args:
        engine: `Target.engine`: `"tensorrt"` or `"tensorrtrtx"`.

    Raises:
        TargetError: If it is not installed or its libraries do not load.
    """
    module, remedy = _MODULES[engine]
    return require(find(module, "Builder", remedy))


def import_cuda_bindings() -> ModuleType:
    """Import the CUDA runtime of cuda-python.

    Raises:
        TargetError: If it is not installed or its libraries do not load.
    """
    return require(find("cuda.bindings.runtime", "cudaMalloc", _REMEDY))


@functools.cache
def missing_for_tensorrt() -> Missing | None:
    """What is missing for TensorRT. Asked once per process."""
    return _missing("tensorrt")


@functools.cache
def missing_for_tensorrtrtx() -> Missing | None:
    """What is missing for TensorRT-RTX. Asked once per process."""
    return _missing("tensorrtrtx")


def unsupported_capability(trt: Any, capability: str) -> Missing | None:
    """TensorRT-RTX knows the GPUs of workstations and notebooks, and not, for example, the H100 and H200.

    Args:
        trt: The module tensorrt_rtx.
        capability: Compute capability of a GPU: `"9.0"`.
    """
    offered = offered_capabilities(trt)
    if capability in offered:
        return None
    return Missing(
        f"The installed TensorRT-RTX has no engines for compute capability {capability}, only for {', '.join(offered)}",
        "Use a cuda-tensorrt target on this GPU",
    )


def _missing(engine: str) -> Missing | None:
    name, remedy = _MODULES[engine]
    module = find(name, "Builder", remedy)
    bindings = find("cuda.bindings.runtime", "cudaMalloc", remedy)
    gpu = missing_gpu()
    missing = [gpu, *(found if isinstance(found, Missing) else None for found in (module, bindings))]
    if gpu is None and not isinstance(bindings, Missing):
        missing.append(_refused_driver(bindings, name))
    if gpu is None and engine == "tensorrtrtx" and not isinstance(module, Missing):
        missing.append(unsupported_capability(module, cuda_status().capability))
    return together(missing)


def _refused_driver(bindings: ModuleType, module: str) -> Missing | None:
    """The driver may be older than the CUDA that the bindings were built with."""
    error, _ = bindings.cudaGetDeviceCount()
    if error == bindings.cudaError_t.cudaSuccess:
        return None
    newest = cuda_status().cuda
    return Missing(
        f"The driver supports CUDA {newest} and refuses the installed cuda-python ({error.name})",
        f"Update the driver, or: pip install 'cuda-python<{int(newest.partition('.')[0]) + 1}' and the {module} for it",
    )

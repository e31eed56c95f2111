"""What each engine needs of a machine: looked for once, a missing one is a value with the command that mends it."""

import functools
import importlib
import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, ModuleType

from runtime.cuda import cuda_status
from runtime.engines.onnxruntime_session import cuda_fault
from runtime.errors import TargetError

__all__ = ["DISTRIBUTIONS", "REQUIREMENTS", "Missing", "import_cuda_bindings", "import_onnxruntime", "import_tensorrt"]

_ONNXRUNTIME_REMEDY = "Uninstall every onnxruntime* package, if there is one, then: pip install '.[{extra}]'"
_CUDA_LIBRARIES_REMEDY = (
    "Install the CUDA and cuDNN libraries that it was built for: pip install 'onnxruntime-gpu[cuda,cudnn]'"
)
_TENSORRT_REMEDY = "pip install '.[tensorrt]'"


@dataclass(frozen=True)
class Missing:
    """Something an engine needs and this machine lacks.

    Attributes:
        what: A sentence without its full stop.
        remedy: What to do, likewise.
    """

    what: str
    remedy: str

    def error(self) -> TargetError:
        """The same as an exception."""
        return TargetError(f"{self.what}. {self.remedy}.")


DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cpu-onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"),
        "cuda-onnxruntime": ("onnxruntime-gpu",),
        "cuda-tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
    }
)
"""Device and engine to the distributions that may hold the engine, the first installed one counts."""


def import_onnxruntime(extra: str = "cpu") -> ModuleType:
    """Import ONNX Runtime at the moment it is needed.

    Args:
        extra: The extra of this package that installs it: `cpu` or `gpu`.

    Raises:
        TargetError: If it is not installed, its libraries do not load, or its installation is damaged.
    """
    return _require(_find_onnxruntime(extra))


def import_tensorrt() -> ModuleType:
    """Import TensorRT. Its objects must not be made before a driver was found: without one they end the process.

    Raises:
        TargetError: If it is not installed or its libraries do not load.
    """
    return _require(_find("tensorrt", "Builder", _TENSORRT_REMEDY))


def import_cuda_bindings() -> ModuleType:
    """Import the CUDA runtime of cuda-python.

    Raises:
        TargetError: If it is not installed or its libraries do not load.
    """
    return _require(_find("cuda.bindings.runtime", "cudaMalloc", _TENSORRT_REMEDY))


def _processor_onnxruntime() -> Missing | None:
    found = _find_onnxruntime("cpu")
    return found if isinstance(found, Missing) else None


@functools.cache
def _cuda_onnxruntime() -> Missing | None:
    remedy = _ONNXRUNTIME_REMEDY.format(extra="gpu")
    found = _find_onnxruntime("gpu")
    missing = [_gpu()]
    if isinstance(found, Missing):
        missing.append(found)
    # A wheel that lists the provider may still be unable to load it; one that does not list it surely is.
    elif "CUDAExecutionProvider" not in found.get_available_providers():
        missing.append(Missing("The onnxruntime that is installed was built without CUDA", remedy))
    elif missing == [None] and (fault := cuda_fault(found)):
        missing.append(Missing(f"The CUDA provider of ONNX Runtime does not start ({fault})", _CUDA_LIBRARIES_REMEDY))
    return _together(missing)


@functools.cache
def _cuda_tensorrt() -> Missing | None:
    tensorrt = _find("tensorrt", "Builder", _TENSORRT_REMEDY)
    bindings = _find("cuda.bindings.runtime", "cudaMalloc", _TENSORRT_REMEDY)
    gpu = _gpu()
    missing = [gpu, *(found if isinstance(found, Missing) else None for found in (tensorrt, bindings))]
    if gpu is None and not isinstance(bindings, Missing):
        missing.append(_refused_driver(bindings))
    return _together(missing)


REQUIREMENTS: Mapping[str, Callable[[], Missing | None]] = MappingProxyType(
    {
        "cpu-onnxruntime": _processor_onnxruntime,
        "cuda-onnxruntime": _cuda_onnxruntime,
        "cuda-tensorrt": _cuda_tensorrt,
    }
)
"""Device and engine to a function that says what is missing for it, or None."""


def _gpu() -> Missing | None:
    status = cuda_status()
    return None if status.available else Missing(status.missing, status.remedy)


def _refused_driver(bindings: ModuleType) -> Missing | None:
    """The driver may be older than the CUDA that the bindings were built with."""
    error, _ = bindings.cudaGetDeviceCount()
    if error == bindings.cudaError_t.cudaSuccess:
        return None
    newest = cuda_status().cuda
    return Missing(
        f"The driver supports CUDA {newest} and refuses the installed cuda-python ({error.name})",
        f"Update the driver, or: pip install 'cuda-python<{int(newest.partition('.')[0]) + 1}' and the tensorrt for it",
    )


def _together(parts: Sequence[Missing | None]) -> Missing | None:
    missing = [part for part in parts if part is not None]
    if not missing:
        return None
    remedies = dict.fromkeys(part.remedy for part in missing)
    return Missing(". ".join(part.what for part in missing), ". ".join(remedies))


def _find_onnxruntime(extra: str) -> ModuleType | Missing:
    remedy = _ONNXRUNTIME_REMEDY.format(extra=extra)
    try:
        module = importlib.import_module("onnxruntime")
    except (ImportError, OSError) as error:  # OSError: a shared library it links is absent
        return Missing(f"The package onnxruntime cannot be imported ({error})", remedy)
    # Uninstalling one of two clashing onnxruntime wheels leaves an empty folder that still imports.
    if not hasattr(module, "InferenceSession"):
        return Missing(
            "The package onnxruntime is an empty folder, as two clashing variants of it leave behind", remedy
        )
    return module


def _find(name: str, attribute: str, remedy: str) -> ModuleType | Missing:
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError) as error:
        return Missing(f"The package {name} cannot be imported ({error})", remedy)
    if not hasattr(module, attribute):
        return Missing(f"The package {name} is damaged: it has no {attribute}", remedy)
    return module


def _require(found: ModuleType | Missing) -> ModuleType:
    if isinstance(found, Missing):
        raise found.error()
    return found

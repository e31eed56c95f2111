"""What ONNX Runtime needs, on the processor and on CUDA."""

import functools
import importlib
from types import ModuleType

from runtime.engines.onnxruntime_session import cuda_fault
from runtime.requirements.gpu import missing_gpu
from runtime.requirements.missing import Missing, require, together

__all__ = ["import_onnxruntime", "missing_on_cuda", "missing_on_processor"]

_REMEDIES = {
    "cpu": "pip install '.[cpu]'",
    # The wheel without CUDA writes the same folder, and has to go first.
    "gpu": "pip uninstall -y onnxruntime && pip install '.[gpu]'",
}
_CUDA_LIBRARIES_REMEDY = (
    "Install the CUDA and cuDNN libraries that it was built for: pip install 'onnxruntime-gpu[cuda,cudnn]'"
)


def import_onnxruntime(extra: str = "cpu") -> ModuleType:
    """Import ONNX Runtime at the moment it is needed.

    Args:
        extra: The extra of this package that installs it: `cpu` or `gpu`.

    Raises:
        TargetError: If it is not installed, its libraries do not load, or its installation is damaged.
    """
    return require(_find_onnxruntime(extra))


def missing_on_processor() -> Missing | None:
    """What is missing for ONNX Runtime on the processor."""
    found = _find_onnxruntime("cpu")
    return found if isinstance(found, Missing) else None


@functools.cache
def missing_on_cuda() -> Missing | None:
    """What is missing for ONNX Runtime on CUDA. Asked once per process."""
    remedy = _REMEDIES["gpu"]
    found = _find_onnxruntime("gpu")
    missing = [missing_gpu()]
    if isinstance(found, Missing):
        missing.append(found)
    # A wheel that lists the provider may still be unable to load it; one that does not list it surely is.
    elif "CUDAExecutionProvider" not in found.get_available_providers():
        missing.append(Missing("The onnxruntime that is installed was built without CUDA", remedy))
    elif missing == [None] and (fault := cuda_fault(found)):
        missing.append(Missing(f"The CUDA provider of ONNX Runtime does not start ({fault})", _CUDA_LIBRARIES_REMEDY))
    return together(missing)


def _find_onnxruntime(extra: str) -> ModuleType | Missing:
    remedy = _REMEDIES[extra]
    try:
        module = importlib.import_module("onnxruntime")
    except (ImportError, OSError) as error:  # OSError: a shared library it links is absent
        return Missing(f"The package onnxruntime cannot be imported ({error})", remedy)
    # Uninstalling one of two clashing onnxruntime wheels leaves an empty folder that still imports.
    if not hasattr(module, "InferenceSession"):
        return Missing(
            "The package onnxruntime is an empty folder, as two clashing variants of it leave behind",
            f"pip uninstall -y onnxruntime onnxruntime-gpu && pip install '.[{extra}]'",
        )
    return module

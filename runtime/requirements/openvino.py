"""What OpenVINO needs, on the processor and on an Intel GPU, and that it stays silent."""

import functools
import sys
from types import ModuleType

from runtime.requirements.missing import Missing, find, require

__all__ = [
    "import_openvino",
    "intel_gpu_name",
    "missing_for_intel_gpu",
    "missing_for_openvino",
    "mute_telemetry",
]

_REMEDY = "pip install '.[openvino]'"
_GPU_REMEDY = (
    "Install Intel's compute runtime for the GPU (its OpenCL and Level Zero drivers), or use a cpu-openvino target"
)


def import_openvino() -> ModuleType:
    """Import OpenVINO at the moment it is needed, silenced by `mute_telemetry`.

    Raises:
        TargetError: If it is not installed or its libraries do not load.
    """
    return require(_find_openvino())


def mute_telemetry() -> None:
    """Keep the OpenVINO of this process from reporting its use. Call it before the first import.

    Importing openvino sends an event to Google Analytics from a child process and writes an id of the user to
    `~/intel`, unless the user or a CI variable forbids it. It does so through the package openvino-telemetry, which
    comes with it, and does without where that cannot be imported. A name that maps to None in `sys.modules` cannot be.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def missing_for_openvino() -> Missing | None:
    """What is missing for OpenVINO on the processor."""
    found = _find_openvino()
    return found if isinstance(found, Missing) else None


def missing_for_intel_gpu() -> Missing | None:
    """What is missing for OpenVINO on an Intel GPU. Asked once per process."""
    found = _intel_gpu()
    return found if isinstance(found, Missing) else None


def intel_gpu_name() -> str:
    """Name of the Intel GPU that OpenVINO uses, the first it finds. Not run on an Intel GPU.

    Raises:
        TargetError: If OpenVINO is missing or finds none.
    """
    found = _intel_gpu()
    if isinstance(found, Missing):
        raise found.error()
    return found


@functools.cache
def _intel_gpu() -> str | Missing:
    found = _find_openvino()
    if isinstance(found, Missing):
        return found
    core = found.Core()
    devices = core.available_devices
    if any(device.split(".")[0] == "GPU" for device in devices):
        return str(core.get_property("GPU", "FULL_DEVICE_NAME"))
    return Missing(f"OpenVINO finds no Intel GPU here, only {', '.join(devices) or 'nothing'}", _GPU_REMEDY)


def _find_openvino() -> ModuleType | Missing:
    mute_telemetry()
    return find("openvino", "Core", _REMEDY)

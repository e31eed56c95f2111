"""Asks the CUDA driver what there is and writes the answer as JSON.

`runtime.cuda` runs this file in a child process, because a broken driver may take the process with it. Standard library
only. Written against the documented CUDA driver API and NVML; the answer of a real GPU has not been seen yet.
"""

import ctypes
import json
import sys

__all__ = ["NO_DEVICE", "NO_DRIVER", "probe"]

NO_DRIVER = "no-driver"
NO_DEVICE = "no-device"

# CUdevice_attribute and CUresult of cuda.h
_MAJOR, _MINOR = 75, 76
_ERROR_NO_DEVICE = 100
_TEXT = 96


class _CallError(Exception):
    """A call did not answer 0."""

    def __init__(self, name: str, code: int) -> None:
        super().__init__(f"{name} answered {code}")
        self.code = code


def probe(cuda: str = "libcuda.so.1", nvml: str = "libnvidia-ml.so.1") -> dict[str, str | int]:
    """What the driver says of the first visible device.

    Args:
        cuda: The driver's library.
        nvml: The library that knows the driver's version; may be absent.

    Returns:
        `device`, `cuda`, `capability`, `memory_mib`, `pci`, and `driver` if NVML answers; or `missing` in words with
        `kind`, which is one of the constants of this module.
    """
    try:
        library = ctypes.CDLL(cuda)
    except OSError as error:
        return {"kind": NO_DRIVER, "missing": f"The NVIDIA driver cannot be loaded ({error})"}
    try:
        return _first_device(library) | _driver_version(nvml)
    except _CallError as error:
        if error.code == _ERROR_NO_DEVICE:
            return {"kind": NO_DEVICE, "missing": f"The CUDA driver sees no GPU ({error})"}
        return {"kind": NO_DRIVER, "missing": f"The NVIDIA driver does not work ({error}; see CUresult in cuda.h)"}


def _first_device(library: ctypes.CDLL) -> dict[str, str | int]:
    count, device, number = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    memory = ctypes.c_size_t()
    name, pci = ctypes.create_string_buffer(_TEXT), ctypes.create_string_buffer(_TEXT)
    _call(library, "cuInit", ctypes.c_uint(0))
    _call(library, "cuDriverGetVersion", ctypes.byref(number))
    version = number.value
    _call(library, "cuDeviceGetCount", ctypes.byref(count))
    if count.value < 1:
        raise _CallError("cuDeviceGetCount", _ERROR_NO_DEVICE)
    _call(library, "cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
    _call(library, "cuDeviceGetName", name, ctypes.c_int(_TEXT), device)
    _call(library, "cuDeviceGetPCIBusId", pci, ctypes.c_int(_TEXT), device)
    _call(library, "cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    capability = []
    for attribute in (_MAJOR, _MINOR):
        _call(library, "cuDeviceGetAttribute", ctypes.byref(number), ctypes.c_int(attribute), device)
        capability.append(str(number.value))
    return {
        "device": name.value.decode(errors="replace"),
        "cuda": f"{version // 1000}.{version % 1000 // 10}",
        "capability": ".".join(capability),
        "memory_mib": memory.value // 2**20,
        "pci": pci.value.decode(errors="replace"),
    }


def _driver_version(nvml: str) -> dict[str, str | int]:
    text = ctypes.create_string_buffer(_TEXT)
    try:
        library = ctypes.CDLL(nvml)
        _call(library, "nvmlInit_v2")
        _call(library, "nvmlSystemGetDriverVersion", text, ctypes.c_uint(_TEXT))
    except (OSError, _CallError):
        return {}  # a driver without NVML, as in some containers: all but its version is known
    return {"driver": text.value.decode(errors="replace")}


def _call(library: ctypes.CDLL, name: str, *arguments: object) -> None:
    code = getattr(library, name)(*arguments)
    if code != 0:
        raise _CallError(name, code)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(probe(*sys.argv[1:])))

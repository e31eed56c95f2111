"""The GPU of this machine: whether there is one that answers, and the clocks it runs at.

Written against the documented CUDA driver API and NVML. Not yet run on a GPU.
"""

import functools
import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from runtime.cuda_probe import NO_DEVICE

__all__ = ["CudaStatus", "GpuClocks", "ask", "cuda_status", "gpu_clocks"]

_DRIVER_REMEDY = (
    "Run on a machine with an NVIDIA GPU and its driver; in a container, start it with: docker run --gpus all"
)
_DEVICE_REMEDY = "Check that `nvidia-smi` lists a GPU and that CUDA_VISIBLE_DEVICES does not hide it"
_NVML_REMEDY = "pip install nvidia-ml-py"
_SECONDS = 60.0


class CudaStatus(BaseModel):
    """Whether CUDA can be used here, and on what. The device is the first that CUDA_VISIBLE_DEVICES leaves visible.

    Attributes:
        available: True if the driver answers and has a device.
        missing: What is missing, empty if available.
        remedy: What to do about it, empty if available.
        device: Name of the GPU, for example `"NVIDIA H200"`.
        driver: Version of the driver, empty if NVML does not say.
        cuda: The newest CUDA version the driver supports, for example `"13.0"`.
        capability: Compute capability, for example `"9.0"`.
        memory_mib: Memory of the device in MiB.
        pci: PCI bus id, by which NVML finds the same device.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    available: bool
    missing: str = ""
    remedy: str = ""
    device: str = ""
    driver: str = ""
    cuda: str = ""
    capability: str = ""
    memory_mib: int = 0
    pci: str = ""


class GpuClocks(BaseModel):
    """Clocks and limits of a GPU at this moment. What a GPU does not tell is None.

    Attributes:
        missing: Why nothing could be read, empty if something could.
        graphics_mhz: Clock of the multiprocessors in MHz.
        graphics_max_mhz: The highest it may reach.
        memory_mhz: Clock of the memory in MHz.
        memory_max_mhz: The highest it may reach.
        power_limit_w: Power limit in watts.
        persistence: Whether the driver stays loaded while nothing uses it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    missing: str = ""
    graphics_mhz: int | None = None
    graphics_max_mhz: int | None = None
    memory_mhz: int | None = None
    memory_max_mhz: int | None = None
    power_limit_w: float | None = None
    persistence: bool | None = None


@functools.cache
def cuda_status() -> CudaStatus:
    """Ask the driver, once per process and in a child: a broken driver must not end ours."""
    return ask([sys.executable, "-I", str(Path(__file__).with_name("cuda_probe.py"))])


def ask(command: Sequence[str], seconds: float = _SECONDS) -> CudaStatus:
    """Run a program that answers as `runtime.cuda_probe` does. Whatever goes wrong in it is a value.

    Args:
        command: Program and arguments.
        seconds: How long to wait.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return _missing(f"The NVIDIA driver did not answer within {seconds:g} s")
    except OSError as error:
        return _missing(f"The NVIDIA driver could not be asked ({error})")
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        return _missing(f"Asking the NVIDIA driver ended with status {done.returncode} ({last[0]})")
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
        if "missing" in answer:
            return _missing(answer["missing"], _DEVICE_REMEDY if answer.get("kind") == NO_DEVICE else _DRIVER_REMEDY)
        return CudaStatus(available=True, **answer)
    except (json.JSONDecodeError, TypeError, ValidationError):
        return _missing(f"The question for the NVIDIA driver was answered by {done.stdout[:80]!r}")


def gpu_clocks(pci: str) -> GpuClocks:
    """Read clocks, power limit and persistence through NVML (package `nvidia-ml-py`).

    Args:
        pci: PCI bus id of the GPU, as `CudaStatus.pci`: CUDA and NVML number devices differently.
    """
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError as error:
        return GpuClocks(missing=f"the package pynvml cannot be imported ({error}); {_NVML_REMEDY}")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return GpuClocks(missing=f"NVML does not start ({error})")
    try:
        device = nvml.nvmlDeviceGetHandleByPciBusId(pci)
        return _read_clocks(nvml, device)
    except nvml.NVMLError as error:
        return GpuClocks(missing=f"NVML does not find the GPU at {pci} ({error})")
    finally:
        nvml.nvmlShutdown()


def _read_clocks(nvml: Any, device: Any) -> GpuClocks:
    def read(name: str, *arguments: Any) -> int | None:
        call: Callable[..., int] = getattr(nvml, name)
        try:
            return int(call(device, *arguments))
        except nvml.NVMLError:
            return None  # this GPU does not tell, as virtual ones often do not

    graphics, memory = nvml.NVML_CLOCK_GRAPHICS, nvml.NVML_CLOCK_MEM
    milliwatts = read("nvmlDeviceGetPowerManagementLimit")
    persistence = read("nvmlDeviceGetPersistenceMode")
    return GpuClocks(
        graphics_mhz=read("nvmlDeviceGetClockInfo", graphics),
        graphics_max_mhz=read("nvmlDeviceGetMaxClockInfo", graphics),
        memory_mhz=read("nvmlDeviceGetClockInfo", memory),
        memory_max_mhz=read("nvmlDeviceGetMaxClockInfo", memory),
        power_limit_w=None if milliwatts is None else milliwatts / 1000.0,
        persistence=None if persistence is None else bool(persistence),
    )


def _missing(what: str, remedy: str = _DRIVER_REMEDY) -> CudaStatus:
    return CudaStatus(available=False, missing=what, remedy=remedy)

"""GPU figures through NVML (package `nvidia-ml-py`), of every GPU that this machine or container has.

Whether there are GPUs is asked once, when a worker starts, and kept as a value with its reason. Without one there are
no series: a zero would say that a GPU is idle.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from serving.guard.identity import logger
from serving.metrics.definitions import GPU_MEMORY, GPU_MEMORY_TOTAL, GPU_UTILIZATION

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["Gpu", "GpuCollector", "Gpus", "find_gpus"]


class Gpu(Protocol):
    """One GPU. Methods return None for what it does not tell, as a part of a GPU does not tell its utilization."""

    @property
    def label(self) -> str:
        """Which one, as in the label `gpu`."""
        ...

    def memory(self) -> tuple[int, int] | None:
        """Bytes in use, by whomever, and bytes there are."""
        ...

    def utilization(self) -> float | None:
        """Part of the last moments in which it was busy, in [0, 1]."""
        ...


@dataclass(frozen=True)
class Gpus:
    """What there is.

    Attributes:
        devices: In NVML's order; empty without any.
        reason: Why there are none, or how many there are.
    """

    devices: tuple[Gpu, ...]
    reason: str


def find_gpus() -> Gpus:
    """Asks NVML, which stays open for as long as the process lives."""
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ModuleNotFoundError:
        return Gpus((), "no GPU figures: the package nvidia-ml-py is not installed")
    try:
        nvml.nvmlInit()
        count = nvml.nvmlDeviceGetCount()
        devices = tuple(_NvmlGpu(nvml, str(index), nvml.nvmlDeviceGetHandleByIndex(index)) for index in range(count))
    except nvml.NVMLError as error:
        return Gpus((), f"no GPU figures: no NVIDIA driver answers ({error})")
    return Gpus(devices, f"GPU figures of {count} NVIDIA GPU(s)")


class _NvmlGpu:
    """A GPU that NVML knows."""

    def __init__(self, nvml: Any, label: str, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle
        self.label = label
        self._silent: set[str] = set()

    def memory(self) -> tuple[int, int] | None:
        found = self._ask("memory", self._nvml.nvmlDeviceGetMemoryInfo)
        return None if found is None else (int(found.used), int(found.total))

    def utilization(self) -> float | None:
        found = self._ask("utilization", self._nvml.nvmlDeviceGetUtilizationRates)
        return None if found is None else int(found.gpu) / 100

    def _ask(self, what: str, function: Callable[[Any], Any]) -> Any:
        try:
            found = function(self._handle)
        except self._nvml.NVMLError as error:
            # Said once until it answers again: a scrape comes every few seconds.
            if what not in self._silent:
                self._silent.add(what)
                logger.warning("GPU %s does not tell its %s: %s", self.label, what, error)
            return None
        self._silent.discard(what)
        return found


class GpuCollector:
    """The GPU families of the exposition.

    Args:
        gpus: What there is; see `find_gpus`.
    """

    def __init__(self, gpus: Gpus) -> None:
        self._gpus = gpus

    def collect(self) -> Iterator[Metric]:
        """Yields what the GPUs tell now, and no family of which none tells anything."""
        from prometheus_client.core import GaugeMetricFamily

        families = (GPU_MEMORY, GPU_MEMORY_TOTAL, GPU_UTILIZATION)
        used, total, busy = (GaugeMetricFamily(each.name, each.help, labels=each.labels) for each in families)
        for gpu in self._gpus.devices:
            memory, utilization = gpu.memory(), gpu.utilization()
            if memory is not None:
                used.add_metric([gpu.label], memory[0])
                total.add_metric([gpu.label], memory[1])
            if utilization is not None:
                busy.add_metric([gpu.label], utilization)
        yield from (family for family in (used, total, busy) if family.samples)

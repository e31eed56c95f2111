from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from serving.metrics.gpu import GpuCollector, Gpus, find_gpus

# A driver of planted answers, with the signatures of nvml.h. The second GPU tells no utilization, as parts of GPUs do.
DRIVER = """
#include <stddef.h>
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned gpu, memory; } Utilization;
int nvmlInitWithFlags(unsigned flags) { return flags; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = (void *)(size_t)(index + 1); return 0; }
int nvmlDeviceGetMemoryInfo(void *device, Memory *memory) {
    memory->total = 1ull << 40;
    memory->used = (size_t)device << 33;
    memory->free = memory->total - memory->used;
    return 0;
}
int nvmlDeviceGetUtilizationRates(void *device, Utilization *rates) {
    rates->gpu = 75;
    return device == (void *)2 ? 3 : 0;
}
const char *nvmlErrorString(int code) { return "not supported"; }
"""
ASK = """
import json, logging, sys
from serving.metrics.gpu import GpuCollector, find_gpus
logging.basicConfig(stream=sys.stderr, format="%(message)s")
gpus = find_gpus()
collector = GpuCollector(gpus)
list(collector.collect())
samples = [sample for family in collector.collect() for sample in family.samples]
print(json.dumps([gpus.reason, *((sample.name, sample.labels["gpu"], sample.value) for sample in samples)]))
"""


@dataclass(frozen=True)
class KnownGpu:
    label: str
    known: tuple[int, int] | None
    busy: float | None

    def memory(self) -> tuple[int, int] | None:
        return self.known

    def utilization(self) -> float | None:
        return self.busy


def read(*devices: KnownGpu) -> dict[str, dict[str, float]]:
    families = GpuCollector(Gpus(devices, "known")).collect()
    return {each.name: {sample.labels["gpu"]: sample.value for sample in each.samples} for each in families}


def test_every_gpu_has_its_figures() -> None:
    assert read(KnownGpu("0", (1, 4), 0.5), KnownGpu("1", (2, 4), 0.0)) == {
        "restore_gpu_memory_used_bytes": {"0": 1, "1": 2},
        "restore_gpu_memory_total_bytes": {"0": 4, "1": 4},
        "restore_gpu_utilization_ratio": {"0": 0.5, "1": 0.0},
    }


def test_what_a_gpu_does_not_tell_is_absent_and_never_zero() -> None:
    assert read(KnownGpu("0", (1, 4), None)) == {
        "restore_gpu_memory_used_bytes": {"0": 1},
        "restore_gpu_memory_total_bytes": {"0": 4},
    }
    assert read(KnownGpu("0", None, None)) == read() == {}


def test_a_machine_without_a_driver_has_no_series_and_says_why() -> None:
    gpus = find_gpus()
    if gpus.devices:
        pytest.skip("this machine has an NVIDIA GPU")
    assert "no NVIDIA driver answers" in gpus.reason
    assert list(GpuCollector(gpus).collect()) == []


def test_without_the_package_there_are_no_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert find_gpus() == Gpus((), "no GPU figures: the package nvidia-ml-py is not installed")


def test_what_a_driver_says_is_read_through_nvml(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a C compiler (cc)")
    source = tmp_path / "driver.c"
    source.write_text(DRIVER)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", tmp_path / "libnvidia-ml.so.1", source], check=True)
    environment = os.environ | {"LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", ASK], env=environment, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == [
        "GPU figures of 2 NVIDIA GPU(s)",
        ["restore_gpu_memory_used_bytes", "0", 2**33],
        ["restore_gpu_memory_used_bytes", "1", 2**34],
        ["restore_gpu_memory_total_bytes", "0", 2**40],
        ["restore_gpu_memory_total_bytes", "1", 2**40],
        ["restore_gpu_utilization_ratio", "0", 0.75],
    ]
    assert done.stderr.count("GPU 1 does not tell its utilization") == 1  # two scrapes, said once


@pytest.mark.gpu
def test_a_real_gpu_tells() -> None:
    gpus = find_gpus()
    if not gpus.devices:
        pytest.skip(gpus.reason)
    for gpu in gpus.devices:
        memory, utilization = gpu.memory(), gpu.utilization()
        assert memory is not None
        assert 0 <= memory[0] <= memory[1]
        assert utilization is None or 0 <= utilization <= 1

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.cuda import CudaStatus, ask, cuda_status, gpu_clocks
from runtime.cuda_probe import probe

PROBE = Path(__file__).parents[2] / "runtime" / "cuda_probe.py"

# A driver of planted answers, with the signatures of cuda.h and nvml.h.
DRIVER = """
#include <stdio.h>
#include <string.h>
int cuInit(unsigned flags) { return flags == 0 ? INIT : 1; }
int cuDriverGetVersion(int *version) { *version = 12080; return 0; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 7; return ordinal == 0 ? 0 : 101; }
int cuDeviceGetName(char *name, int length, int device) { snprintf(name, length, "Planted %d", device); return 0; }
int cuDeviceGetPCIBusId(char *id, int length, int device) { snprintf(id, length, "0000:0%d:00.0", device); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)device << 30; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 9 : attribute == 76 ? 2 : -1; return device == 7 ? 0 : 101;
}
int nvmlInit_v2(void) { return 0; }
int nvmlSystemGetDriverVersion(char *version, unsigned length) { snprintf(version, length, "580.65.06"); return 0; }
"""


def _driver(folder: Path, **planted: str) -> str:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler (cc)")
    source, library = folder / "driver.c", folder / "libplanted.so"
    source.write_text(DRIVER)
    defines = [f"-D{name}={value}" for name, value in ({"INIT": "0", "COUNT": "2"} | planted).items()]
    subprocess.run([compiler, "-shared", "-fPIC", *defines, "-o", str(library), str(source)], check=True)
    return str(library)


def test_what_the_driver_says_is_read(tmp_path: Path) -> None:
    library = _driver(tmp_path)
    status = ask([sys.executable, "-I", str(PROBE), library, library])
    assert status == CudaStatus(
        available=True,
        device="Planted 7",
        driver="580.65.06",
        cuda="12.8",
        capability="9.2",
        memory_mib=7 * 1024,
        pci="0000:07:00.0",
    )
    without_nvml = ask([sys.executable, "-I", str(PROBE), library, str(tmp_path / "absent.so")])
    assert without_nvml == status.model_copy(update={"driver": ""})


@pytest.mark.parametrize(
    ("planted", "missing", "remedy"),
    [
        ({"INIT": "100"}, r"sees no GPU \(cuInit answered 100\)", "CUDA_VISIBLE_DEVICES"),
        ({"COUNT": "0"}, r"sees no GPU", "CUDA_VISIBLE_DEVICES"),
        ({"INIT": "803"}, r"does not work \(cuInit answered 803", "--gpus all"),
        ({"INIT": "*(volatile int *)0"}, r"ended with status -11", "--gpus all"),
    ],
)
def test_a_driver_that_fails_or_crashes_is_a_value(
    tmp_path: Path, planted: dict[str, str], missing: str, remedy: str
) -> None:
    status = ask([sys.executable, "-I", str(PROBE), _driver(tmp_path, **planted)])
    assert not status.available
    assert status == CudaStatus(available=False, missing=status.missing, remedy=status.remedy)
    assert re.search(missing, status.missing)
    assert remedy in status.remedy


def test_no_driver_is_a_value(tmp_path: Path) -> None:
    answer = probe(str(tmp_path / "libcuda.so.1"))
    assert "cannot be loaded" in str(answer["missing"])
    assert "libcuda.so.1" in str(answer["missing"])


def _child(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.mark.parametrize(
    ("code", "missing"),
    [
        ("import os; os.abort()", "ended with status -6"),
        ("raise SystemExit(3)", "ended with status 3"),
        ("raise AttributeError('undefined symbol: cuInit')", "undefined symbol: cuInit"),
        ("print('hello')", "answered by 'hello"),
        ("print('[1]')", "answered by"),
        ('print(\'{"device": 1, "colour": 2}\')', "answered by"),
        ("import time; time.sleep(60)", "did not answer within 0.3 s"),
    ],
)
def test_a_question_that_goes_wrong_is_a_value(code: str, missing: str) -> None:
    status = ask(_child(code), seconds=0.3 if "sleep" in code else 30)
    assert not status.available
    assert missing in status.missing
    assert status.remedy


def test_a_program_that_cannot_be_started_is_a_value(tmp_path: Path) -> None:
    assert "could not be asked" in ask([str(tmp_path / "absent")]).missing


def test_the_good_answer_would_be_seen() -> None:
    """Beside the planted faults: the same way of asking does tell a GPU from none."""
    answer = {"device": "X", "cuda": "13.0", "capability": "9.0", "memory_mib": 1, "pci": "0"}
    assert ask(_child(f"print({json.dumps(answer)!r})")).available


def test_this_machine_is_asked_once_and_answers() -> None:
    status = cuda_status()
    assert status is cuda_status()
    assert status.available == (status.missing == "") == (status.device != "")
    if not status.available:
        assert status.remedy


def test_clocks_that_cannot_be_read_are_a_value() -> None:
    clocks = gpu_clocks("ffff:ff:1f.0")
    assert clocks.missing
    assert clocks.model_dump(exclude={"missing"}, exclude_none=True) == {}


@pytest.mark.gpu
def test_the_clocks_of_a_gpu_are_read() -> None:
    status = cuda_status()
    if not status.available:
        pytest.skip(status.missing)
    pytest.importorskip("pynvml")
    clocks = gpu_clocks(status.pci)
    assert clocks.missing == ""
    assert clocks.graphics_max_mhz is None or clocks.graphics_max_mhz > 0

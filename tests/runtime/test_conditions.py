from pathlib import Path

import pytest

from runtime.conditions import device_name, read_conditions
from runtime.cuda import cuda_status
from runtime.errors import TargetError
from runtime.host import processor_name
from runtime.target import Target

PROCESSOR = Target("cpu", "onnxruntime", "fp32", 1)
GPU = Target("cuda", "tensorrt", "fp16")
CPU0 = "sys/devices/system/cpu/cpu0/cpufreq"


def _write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "conditions"),
    [
        ({}, {}),
        ({"proc/cpuinfo": "processor : 0\n"}, {}),
        ({"proc/cpuinfo": "processor : 0\ncpu MHz\t\t: 2299.998\ncpu MHz : 1.0\n"}, {"frequency_mhz": "2300"}),
        ({"proc/cpuinfo": "cpu MHz : unknown\n"}, {}),
        (
            {
                f"{CPU0}/scaling_governor": "performance\n",
                f"{CPU0}/scaling_cur_freq": "3400123\n",
                f"{CPU0}/cpuinfo_max_freq": "4200000\n",
                "proc/cpuinfo": "cpu MHz : 1000.0\n",
            },
            {"governor": "performance", "frequency_mhz": "3400", "max_frequency_mhz": "4200"},
        ),
        ({f"{CPU0}/scaling_cur_freq": "<unknown>\n"}, {}),
        ({"sys/devices/system/cpu/intel_pstate/no_turbo": "1\n"}, {"turbo": "off"}),
        ({"sys/devices/system/cpu/intel_pstate/no_turbo": "0\n"}, {"turbo": "on"}),
        ({"sys/devices/system/cpu/cpufreq/boost": "1\n"}, {"turbo": "on"}),
        ({"sys/devices/system/cpu/cpufreq/boost": "0\n"}, {"turbo": "off"}),
    ],
)
def test_what_the_system_tells_of_the_processor(
    tmp_path: Path, files: dict[str, str], conditions: dict[str, str]
) -> None:
    assert read_conditions(PROCESSOR, _write(tmp_path, files)) == conditions


def test_conditions_of_this_machine_are_words_and_numbers() -> None:
    for name, value in read_conditions(PROCESSOR).items():
        assert value.strip() == value != "", name


def test_a_device_has_a_name() -> None:
    assert device_name(PROCESSOR) == processor_name()


def test_without_a_gpu_its_name_and_conditions_are_an_error() -> None:
    status = cuda_status()
    if status.available:
        assert device_name(GPU) == status.device
        assert read_conditions(GPU)["cuda"] == status.cuda
        return
    for read in (device_name, read_conditions):
        with pytest.raises(TargetError) as caught:
            read(GPU)
        assert status.missing in str(caught.value)
        assert status.remedy in str(caught.value)

from pathlib import Path

import pytest

from runtime.conditions import device_name, intel_gpu_clocks, read_conditions
from runtime.cuda import cuda_status
from runtime.errors import TargetError
from runtime.host import processor_name
from runtime.target import Target

PROCESSOR = Target("cpu", "onnxruntime", "fp32", 1)
GPU = Target("cuda", "tensorrt", "fp16")
INTEL_GPU = Target("intelgpu", "openvino", "fp16")
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


def test_an_intel_gpu_is_not_asked_of_cuda() -> None:
    missing = INTEL_GPU.missing()
    if missing is None:
        assert device_name(INTEL_GPU)
        assert set(read_conditions(INTEL_GPU)) <= {"graphics_mhz", "graphics_max_mhz"}
        return
    for read in (device_name, read_conditions):
        with pytest.raises(TargetError) as caught:
            read(INTEL_GPU)
        assert str(caught.value) == f"{missing.what}. {missing.remedy}."
        assert "NVIDIA" not in str(caught.value)


CARDS = "sys/class/drm"


@pytest.mark.parametrize(
    ("files", "clocks"),
    [
        ({}, {}),
        ({"card0/device/vendor": "0x10de\n", "card0/gt_act_freq_mhz": "900\n"}, {}),
        (
            {
                "card0/device/vendor": "0x10de\n",
                "card1/device/vendor": "0x8086\n",
                "card1/gt_act_freq_mhz": "350\n",
                "card1/gt_max_freq_mhz": "1300\n",
                "card1-DP-1/device/vendor": "0x8086\n",
            },
            {"graphics_mhz": "350", "graphics_max_mhz": "1300"},
        ),
        (
            {
                "card0/device/vendor": "0x8086\n",
                "card0/device/tile0/gt0/freq0/act_freq": "0\n",
                "card0/device/tile0/gt0/freq0/max_freq": "2450\n",
            },
            {"graphics_mhz": "0", "graphics_max_mhz": "2450"},
        ),
        ({"card0/device/vendor": "0x8086\n", "card0/gt_act_freq_mhz": "unknown\n"}, {}),
    ],
    ids=["none", "another maker's", "i915", "xe", "no number"],
)
def test_what_the_system_tells_of_an_intel_gpu(tmp_path: Path, files: dict[str, str], clocks: dict[str, str]) -> None:
    root = _write(tmp_path, {f"{CARDS}/{name}": text for name, text in files.items()})
    assert intel_gpu_clocks(root) == clocks

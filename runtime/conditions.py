"""Under what conditions something is measured just now: clocks and what governs them, and the device's name."""

from pathlib import Path

from runtime.cuda import cuda_status, gpu_clocks
from runtime.errors import TargetError
from runtime.host import processor_name, read_lines
from runtime.requirements.openvino import intel_gpu_name
from runtime.target import Target

__all__ = ["device_name", "intel_gpu_clocks", "read_conditions"]

_ROOT = Path("/")
_INTEL = "0x8086"
"""Intel's number among the makers of PCI devices."""


def device_name(target: Target) -> str:
    """What a target computes on: the processor's or the GPU's name.

    Raises:
        TargetError: If the target is a GPU and this machine has none.
    """
    if not target.on_gpu:
        return processor_name()
    if target.device == "intelgpu":
        return intel_gpu_name()
    status = cuda_status()
    if not status.available:
        raise TargetError(f"Target '{target.slug}' has no device here. {status.missing}. {status.remedy}.")
    return status.device


def read_conditions(target: Target, root: Path = _ROOT) -> dict[str, str]:
    """What influences times on a target and may change from hour to hour, as far as the system tells.

    Args:
        target: Where is measured.
        root: Where `proc` and `sys` are found; only tests change it.

    Returns:
        For a processor any of `governor`, `frequency_mhz`, `max_frequency_mhz` and `turbo`. For a GPU of NVIDIA
        `driver`, `cuda`, `capability`, `graphics_mhz`, `graphics_max_mhz`, `memory_mhz`, `memory_max_mhz`,
        `power_limit_w`, `persistence`, and `clocks` with the reason if they could not be read. For one of Intel any of
        `graphics_mhz` and `graphics_max_mhz`; not run on one.

    Raises:
        TargetError: If the target is a GPU and this machine has none.
    """
    if not target.on_gpu:
        return _processor_conditions(root)
    device_name(target)  # raises if there is none
    return intel_gpu_clocks(root) if target.device == "intelgpu" else _cuda_conditions()


def intel_gpu_clocks(root: Path = _ROOT) -> dict[str, str]:
    """Clocks of the first Intel GPU as its driver, i915 or xe, tells them. Not run on an Intel GPU.

    Args:
        root: Where `sys` is found; only tests change it.

    Returns:
        Any of `graphics_mhz` and `graphics_max_mhz`.
    """
    cards = sorted((root / "sys/class/drm").glob("card[0-9]"))
    card = next((path for path in cards if _word(path / "device/vendor") == _INTEL), None)
    if card is None:
        return {}
    xe = card / "device/tile0/gt0/freq0"
    found = {
        "graphics_mhz": _word(card / "gt_act_freq_mhz") or _word(xe / "act_freq"),
        "graphics_max_mhz": _word(card / "gt_max_freq_mhz") or _word(xe / "max_freq"),
    }
    return {name: value for name, value in found.items() if value.isdigit()}


def _processor_conditions(root: Path) -> dict[str, str]:
    folder = root / "sys/devices/system/cpu"
    frequency = _megahertz(folder / "cpu0/cpufreq/scaling_cur_freq") or _frequency_of_cpuinfo(root)
    found = {
        "governor": _word(folder / "cpu0/cpufreq/scaling_governor"),
        "frequency_mhz": frequency,
        "max_frequency_mhz": _megahertz(folder / "cpu0/cpufreq/cpuinfo_max_freq"),
        # The one file says whether turbo is switched off, the other whether it is on.
        "turbo": {"0": "on", "1": "off"}.get(_word(folder / "intel_pstate/no_turbo"))
        or {"1": "on", "0": "off"}.get(_word(folder / "cpufreq/boost"), ""),
    }
    return {name: value for name, value in found.items() if value}


def _cuda_conditions() -> dict[str, str]:
    status = cuda_status()
    clocks = gpu_clocks(status.pci)
    found = {"driver": status.driver, "cuda": status.cuda, "capability": status.capability, "clocks": clocks.missing}
    known = {name: value for name, value in found.items() if value}
    for name, value in clocks.model_dump(exclude={"missing"}, exclude_none=True).items():
        known[name] = ("on" if value else "off") if isinstance(value, bool) else f"{value:g}"
    return known


def _frequency_of_cpuinfo(root: Path) -> str:
    for line in read_lines(root / "proc/cpuinfo"):
        key, _, value = line.partition(":")
        if key.strip() == "cpu MHz":
            return f"{float(value):.0f}" if value.strip().replace(".", "", 1).isdigit() else ""
    return ""


def _megahertz(path: Path) -> str:
    kilohertz = _word(path)
    return f"{int(kilohertz) / 1000:.0f}" if kilohertz.isdigit() else ""


def _word(path: Path) -> str:
    lines = read_lines(path)
    return lines[0].strip() if lines else ""

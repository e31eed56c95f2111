"""What this machine is: processor, usable cores, versions. The provenance of every measurement."""

import importlib.metadata
import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict

__all__ = [
    "HostInfo",
    "describe_host",
    "int8_overflows",
    "package_versions",
    "processor_flags",
    "processor_name",
    "read_lines",
    "usable_cores",
]

_ROOT = Path("/")

# Every distribution that writes the `onnxruntime` folder is listed: two of them at once is a broken installation that
# only their metadata shows (the last one installed wins).
_PACKAGES = (
    "bentoml",
    "cuda-bindings",
    "millisight",
    "numpy",
    "nvidia-cudnn-cu12",
    "nvidia-cudnn-cu13",
    "onnx",
    "onnxruntime",
    "onnxruntime-directml",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxslim",
    "openvino",
    "pillow",
    "pydantic",
    "tensorrt",
    "tensorrt-rtx",
    "torch",
)


class HostInfo(BaseModel):
    """The machine and the software a number was measured with.

    Attributes:
        device: Processor model name, for example `"Intel(R) Xeon(R) Platinum 8481C"`.
        cores: Cores this process may use, see `usable_cores`.
        system: Operating system, release and architecture.
        python: Python version.
        packages: Versions of the installed packages that influence speed or results.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str
    cores: int
    system: str
    python: str
    packages: dict[str, str]


def usable_cores(root: Path = _ROOT) -> int:
    """Cores this process may keep busy: the smaller of its affinity and its cgroup quota rounded up, at least 1.

    Args:
        root: Where `proc` and `sys` are found; only tests change it.
    """
    quota = _cgroup_quota(root)
    cores = _affinity()
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def package_versions(names: tuple[str, ...] = _PACKAGES) -> dict[str, str]:
    """Versions of those of `names` that are installed, read from metadata: nothing is imported."""
    versions: dict[str, str] = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def describe_host(root: Path = _ROOT) -> HostInfo:
    """Describe this machine.

    Args:
        root: Where `proc` and `sys` are found; only tests change it.
    """
    return HostInfo(
        device=processor_name(root),
        cores=usable_cores(root),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages=package_versions(),
    )


def _affinity() -> int:
    # Only Linux knows the affinity of a process.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor_name(root: Path = _ROOT) -> str:
    """Model name of the processor, never empty.

    Args:
        root: Where `proc` is found; only tests change it.
    """
    for line in read_lines(root / "proc/cpuinfo"):
        key, _, value = line.partition(":")
        if key.strip() in {"model name", "Model"} and value.strip():
            return value.strip()
    # Arm kernels and other systems give no model name in that file.
    return platform.processor() or platform.machine() or "unknown processor"


def processor_flags(root: Path = _ROOT) -> frozenset[str]:
    """Instruction sets of the processor by the kernel's names; none where the system does not say.

    Args:
        root: Where `proc` is found; only tests change it.
    """
    for line in read_lines(root / "proc/cpuinfo"):
        key, _, value = line.partition(":")
        if key.strip() in {"flags", "Features"}:  # x86 and Arm
            return frozenset(value.split())
    return frozenset()


def int8_overflows(root: Path = _ROOT) -> bool:
    """Whether sums of two int8 products may overflow: on x86 without VNNI, where they are kept in 16 bits.

    Args:
        root: Where `proc` is found; only tests change it.
    """
    flags = processor_flags(root)
    return "sse2" in flags and not flags & {"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"}


def _cgroup_quota(root: Path) -> float | None:
    """The tightest CPU quota in cores over the cgroups this process is in, or None."""
    quotas = [quota for folder in _cgroup_folders(root) if (quota := _folder_quota(folder)) is not None]
    return min(quotas, default=None)


def _cgroup_folders(root: Path) -> Iterator[Path]:
    """Folders that may hold a quota: the process' own cgroup and its ancestors, version 2 and version 1.

    Inside a container the path in /proc/self/cgroup may be that of the host and missing here; its ancestors still
    include the mount itself, which then is the container's own cgroup.
    """
    mount = root / "sys/fs/cgroup"
    for line in read_lines(root / "proc/self/cgroup"):
        fields = line.split(":", 2)
        if len(fields) != 3:
            continue
        _, controllers, path = fields
        if controllers == "":
            bases = [mount, mount / "unified"]
        elif "cpu" in controllers.split(","):
            bases = [mount / controllers, mount / "cpu"]
        else:
            continue
        relative = PurePosixPath(path.strip().lstrip("/"))
        if ".." in relative.parts:  # a cgroup outside of our namespace
            relative = PurePosixPath()
        for base in bases:
            for part in (relative, *relative.parents):
                yield base / part


def _folder_quota(folder: Path) -> float | None:
    for line in read_lines(folder / "cpu.max"):  # version 2: "max 100000" or "150000 100000"
        fields = line.split()
        if len(fields) == 2:
            return _cores(fields[0], fields[1])
    quota, period = (
        read_lines(folder / "cpu.cfs_quota_us"),
        read_lines(folder / "cpu.cfs_period_us"),
    )  # version 1, -1: no limit
    if quota and period:
        return _cores(quota[0], period[0])
    return None


def _cores(quota: str, period: str) -> float | None:
    try:
        microseconds, each = int(quota), int(period)
    except ValueError:  # "max"
        return None
    return microseconds / each if microseconds > 0 and each > 0 else None


def read_lines(path: Path) -> list[str]:
    """Lines of a file of the system, none if it is absent or not readable: this system does not say."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []

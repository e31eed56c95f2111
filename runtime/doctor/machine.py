"""The machine itself: system, cores, processor, and what its instructions can gain."""

import os
import platform
from pathlib import Path

from runtime.doctor.finding import Finding, Section
from runtime.host import processor_flags, processor_name, usable_cores

__all__ = ["look_at_machine"]

_ROOT = Path("/")
_VECTORS = ("avx2", "fma", "avx512f", "asimd", "sve", "sve2")
_INT8 = ("amx_int8", "avx512_vnni", "avx_vnni", "avx_vnni_int8", "i8mm", "asimddp")
_BF16 = ("amx_bf16", "avx512_bf16", "bf16")


def look_at_machine(root: Path = _ROOT) -> Section:
    """Describe the machine.

    Args:
        root: Where `proc` and `sys` are found; only tests change it.
    """
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return Section(
        title="machine",
        findings=(
            Finding(subject="python", state="ok", detail=f"{platform.python_version()} on {system}"),
            Finding(subject="processor", state="ok", detail=processor_name(root)),
            Finding(subject="cores", state="ok", detail=_cores(root)),
            *_instructions(processor_flags(root)),
        ),
    )


def _cores(root: Path) -> str:
    usable, there = usable_cores(root), os.cpu_count() or 1
    if usable >= there:
        return f"{usable} usable"
    return f"{usable} usable of {there}: the affinity of this process or a quota of its cgroup leaves no more"


def _instructions(flags: frozenset[str]) -> tuple[Finding, ...]:
    if not flags:
        unknown = "This system does not say which instructions its processor has"
        return (Finding(subject="instructions", state="missing", detail=unknown),)
    vectors = ", ".join(name for name in _VECTORS if name in flags) or "no wide ones"
    return (
        Finding(subject="instructions", state="ok", detail=f"Vectors: {vectors}"),
        _gain("int8", [name for name in _INT8 if name in flags], "int8 graphs may gain little over fp32"),
        _gain("bf16", [name for name in _BF16 if name in flags], "bf16 would be emulated, slower than fp32"),
    )


def _gain(precision: str, found: list[str], without: str) -> Finding:
    if found:
        return Finding(
            subject=precision, state="ok", detail=f"The processor multiplies {precision}: {', '.join(found)}"
        )
    return Finding(
        subject=precision,
        state="missing",
        detail=f"The processor has no instructions that multiply {precision}: {without}",
    )

"""What this machine has, what it lacks, what is broken, and the command that mends it. Nothing here can crash."""

from collections.abc import Sequence
from pathlib import Path

from runtime.doctor.bundles import look_at_bundle
from runtime.doctor.child import SECONDS
from runtime.doctor.engines import look_at_engine, look_at_engines
from runtime.doctor.finding import Diagnosis, EngineFinding, Finding, Section
from runtime.doctor.gpu import look_at_gpu
from runtime.doctor.machine import look_at_machine
from runtime.doctor.packages import look_at_tools, look_for_clash

__all__ = [
    "Diagnosis",
    "EngineFinding",
    "Finding",
    "Section",
    "diagnose",
    "look_at_bundle",
    "look_at_engine",
    "look_at_engines",
    "look_at_gpu",
    "look_at_machine",
    "look_at_tools",
    "look_for_clash",
]


def diagnose(bundles: Sequence[Path] = (), seconds: float = SECONDS) -> Diagnosis:
    """Look at everything. Native libraries are only touched in children with a time limit.

    Args:
        bundles: Folders of bundles to look at as well.
        seconds: Time limit of one child.
    """
    sections = (look_at_machine(), look_at_gpu(seconds), look_at_engines(seconds), look_at_tools(seconds))
    found = Diagnosis(sections=sections)
    return Diagnosis(sections=(*sections, *(look_at_bundle(folder, found.usable) for folder in bundles)))

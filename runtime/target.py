"""Where a network runs: device, engine, precision, threads, and which of these exist here."""

import importlib
import re
from dataclasses import dataclass
from types import ModuleType

from pydantic import BaseModel, ConfigDict

from runtime.errors import TargetError
from runtime.host import usable_cores

__all__ = ["TARGETS", "Target", "TargetStatus", "import_onnxruntime", "list_targets"]

TARGETS: tuple[str, ...] = ("cpu-onnxruntime-fp32",)
"""Every target this version has an engine for, without its threads."""

_ONNXRUNTIME_REMEDY = "Uninstall every onnxruntime* package, if there is one, then: pip install '.[cpu]'"

_SLUG = re.compile(r"(?P<device>[a-z0-9]+)-(?P<engine>[a-z0-9]+)-(?P<precision>[a-z0-9]+)(-(?P<threads>\d{1,4})t)?")


@dataclass(frozen=True)
class Target:
    """A place to run a network. Times measured on one target say nothing about another.

    Attributes:
        device: For example `"cpu"`.
        engine: For example `"onnxruntime"`.
        precision: For example `"fp32"`.
        threads: Threads one run of the network may use, at least 1.

    Raises:
        TargetError: If `threads` is below 1.
    """

    device: str
    engine: str
    precision: str
    threads: int

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise TargetError(f"A target needs at least 1 thread, got {self.threads}.")

    @property
    def kind(self) -> str:
        """The slug without the threads: `cpu-onnxruntime-fp32`."""
        return f"{self.device}-{self.engine}-{self.precision}"

    @property
    def slug(self) -> str:
        """The name of this target: `cpu-onnxruntime-fp32-2t`."""
        return f"{self.kind}-{self.threads}t"

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Read a slug.

        Args:
            text: `cpu-onnxruntime-fp32`, which takes every usable core, or `cpu-onnxruntime-fp32-1t`.

        Raises:
            TargetError: If no engine exists for it; the message lists what exists.
        """
        match = _SLUG.fullmatch(text.strip())
        if match is None:
            raise TargetError(
                f"'{text}' is not a target. Write device-engine-precision, with -<threads>t if wanted; "
                f"targets that exist: {', '.join(TARGETS)}."
            )
        threads = match["threads"]
        target = cls(
            device=match["device"],
            engine=match["engine"],
            precision=match["precision"],
            threads=usable_cores() if threads is None else int(threads),
        )
        target.check_exists()
        return target

    def check_exists(self) -> None:
        """Make sure that this version has an engine for this target.

        Raises:
            TargetError: If it has none; the message lists what exists.
        """
        if self.kind not in TARGETS:
            raise TargetError(f"No engine for target '{self.kind}'. Targets that exist: {', '.join(TARGETS)}.")


class TargetStatus(BaseModel):
    """Whether a target can be used on this machine.

    Attributes:
        slug: The target without threads.
        available: True if its engine was found and answers.
        missing: What is missing, empty if available.
        remedy: What to do about it, empty if available.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    slug: str
    available: bool
    missing: str = ""
    remedy: str = ""


def list_targets() -> list[TargetStatus]:
    """Probe every target of this version; a missing one is a value, not an exception."""
    return [_status(slug) for slug in TARGETS]


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime at the moment it is needed.

    Raises:
        TargetError: If it is not installed, its libraries do not load, or its installation is damaged.
    """
    missing, module = _try_onnxruntime()
    if module is None:
        raise TargetError(f"{missing}. {_ONNXRUNTIME_REMEDY}.")
    return module


def _try_onnxruntime() -> tuple[str, ModuleType | None]:
    """What is missing, or the module."""
    try:
        module = importlib.import_module("onnxruntime")
    except (ImportError, OSError) as error:  # OSError: a shared library it links is absent
        return f"The package onnxruntime cannot be imported ({error})", None
    # Uninstalling one of two clashing onnxruntime wheels leaves an empty folder that still imports.
    if not hasattr(module, "InferenceSession"):
        return "The package onnxruntime is an empty folder, as two clashing variants of it leave behind", None
    return "", module


def _status(slug: str) -> TargetStatus:
    # Every target so far runs in ONNX Runtime; the next engine brings its own probe.
    missing, module = _try_onnxruntime()
    return TargetStatus(
        slug=slug, available=module is not None, missing=missing, remedy="" if module else _ONNXRUNTIME_REMEDY
    )

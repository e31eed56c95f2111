"""Where a network runs: device, engine, precision, threads, and which of these exist here."""

import re
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from runtime.errors import TargetError
from runtime.host import usable_cores
from runtime.requirements import REQUIREMENTS, Missing

__all__ = ["PLAIN", "TARGETS", "Target", "TargetStatus", "list_targets"]

PLAIN = "cpu-onnxruntime-fp32"
"""The target that every machine can have: what others are compared with, and what is taken where none is named."""

TARGETS: tuple[str, ...] = (
    PLAIN,
    "cpu-onnxruntime-int8",
    "cpu-openvino-fp32",
    "cpu-openvino-int8",
    "intelgpu-openvino-fp32",
    "intelgpu-openvino-fp16",
    "intelgpu-openvino-int8",
    "cuda-onnxruntime-fp32",
    "cuda-onnxruntime-fp16",
    "cuda-tensorrt-fp32",
    "cuda-tensorrt-fp16",
    "cuda-tensorrtrtx-fp32",
    "cuda-tensorrtrtx-fp16",
)
"""Every target this version has an engine for, without its threads."""

_SLUG = re.compile(r"(?P<device>[a-z0-9]+)-(?P<engine>[a-z0-9]+)-(?P<precision>[a-z0-9]+)(-(?P<threads>\d{1,4})t)?")


@dataclass(frozen=True)
class Target:
    """A place to run a network. Times measured on one target say nothing about another.

    Attributes:
        device: `"cpu"`, `"cuda"` or `"intelgpu"`.
        engine: For example `"onnxruntime"`.
        precision: What the graph computes in, `"fp32"`, `"fp16"` or `"int8"`; pictures are float32 on every target.
            Whoever exports a graph for a target passes this on.
        threads: Threads one run of the network may use, at least 1. A GPU target has 1, which only feeds the GPU.

    Raises:
        TargetError: If `threads` is below 1, or above 1 on a GPU.
    """

    device: str
    engine: str
    precision: str
    threads: int = 1

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise TargetError(f"A target needs at least 1 thread, got {self.threads}.")
        if self.on_gpu and self.threads > 1:
            raise TargetError(f"A GPU target takes no threads, got {self.threads}; write '{self.kind}'.")

    @property
    def on_gpu(self) -> bool:
        """Whether networks run on a GPU here."""
        return self.device != "cpu"

    @property
    def backend(self) -> str:
        """Device and engine, `cuda-tensorrt`: what decides which code runs a network."""
        return f"{self.device}-{self.engine}"

    @property
    def kind(self) -> str:
        """The slug without the threads: `cpu-onnxruntime-fp32`."""
        return f"{self.backend}-{self.precision}"

    @property
    def slug(self) -> str:
        """The name of this target: `cpu-onnxruntime-fp32-2t`, `cuda-tensorrt-fp16`."""
        return self.kind if self.on_gpu else f"{self.kind}-{self.threads}t"

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Read a slug. Works on any machine, whatever it has.

        Args:
            text: `cpu-onnxruntime-fp32`, which takes every usable core, or `cpu-onnxruntime-fp32-1t`; on a GPU
                `cuda-tensorrt-fp16`, without threads.

        Raises:
            TargetError: If no engine exists for it; the message lists what exists.
        """
        match = _SLUG.fullmatch(text.strip())
        if match is None:
            raise TargetError(
                f"'{text}' is not a target. Write device-engine-precision, on a processor with -<threads>t if wanted; "
                f"targets that exist: {', '.join(TARGETS)}."
            )
        found = cls(match["device"], match["engine"], match["precision"])
        found.check_exists()
        threads = match["threads"]
        if found.on_gpu:
            if threads is not None:
                raise TargetError(f"A GPU target takes no threads: write '{found.kind}', not '{text.strip()}'.")
            return found
        return cls(found.device, found.engine, found.precision, usable_cores() if threads is None else int(threads))

    def check_exists(self) -> None:
        """Make sure that this version has an engine for this target.

        Raises:
            TargetError: If it has none; the message lists what exists.
        """
        if self.kind not in TARGETS:
            raise TargetError(f"No engine for target '{self.kind}'. Targets that exist: {', '.join(TARGETS)}.")

    def missing(self) -> Missing | None:
        """What this machine lacks for this target, or None. Asked once per process.

        Raises:
            TargetError: If the target does not exist in this version.
        """
        self.check_exists()
        return REQUIREMENTS[self.backend]()

    def check_available(self) -> None:
        """Make sure that this machine has what the target needs.

        Raises:
            TargetError: If the target does not exist, or if something is missing: what, and what to do about it.
        """
        if (missing := self.missing()) is not None:
            raise TargetError(f"Target '{self.slug}' is not available here. {missing.what}. {missing.remedy}.")


class TargetStatus(BaseModel):
    """Whether a target can be used on this machine.

    Attributes:
        slug: The target without threads.
        available: True if everything the target needs was found.
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


def _status(slug: str) -> TargetStatus:
    missing = Target.parse(slug).missing()
    if missing is None:
        return TargetStatus(slug=slug, available=True)
    return TargetStatus(slug=slug, available=False, missing=missing.what, remedy=missing.remedy)

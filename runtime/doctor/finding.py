"""What a look at a machine finds, as values."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["Diagnosis", "EngineFinding", "Finding", "Section", "State"]

State = Literal["ok", "missing", "broken"]
"""`missing`: this machine does without it. `broken`: it is there and does not work."""


class Finding(BaseModel):
    """One thing that was looked at.

    Attributes:
        subject: What was looked at.
        state: See `State`.
        detail: What was found, a sentence without its full stop.
        remedy: The command or action that mends it; empty where there is nothing to mend.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str
    state: State
    detail: str
    remedy: str = ""


class EngineFinding(Finding):
    """An engine on a device. Its subject is the backend, `cpu-openvino`.

    Attributes:
        versions: Distribution to version of what is installed for it.
        device: What it computes on, empty if there is none here.
        driver: Version of the GPU's driver, empty on a processor or if unknown.
        precisions: What this release can run on it, where it is usable.
    """

    versions: dict[str, str]
    device: str
    driver: str
    precisions: tuple[str, ...]


class Section(BaseModel):
    """Findings that belong together.

    Attributes:
        title: Heading.
        findings: In the order in which they are worth reading.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    findings: tuple[EngineFinding | Finding, ...]


class Diagnosis(BaseModel):
    """Everything that was found.

    Attributes:
        sections: Machine, GPU, engines, tools, and one for each bundle.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sections: tuple[Section, ...]

    @property
    def engines(self) -> tuple[EngineFinding, ...]:
        """Every engine of this release, usable or not."""
        return tuple(
            finding for section in self.sections for finding in section.findings if isinstance(finding, EngineFinding)
        )

    @property
    def usable(self) -> tuple[str, ...]:
        """Backends that run here."""
        return tuple(engine.subject for engine in self.engines if engine.state == "ok")

    @property
    def broken(self) -> tuple[Finding, ...]:
        """What is there and does not work."""
        return tuple(f for section in self.sections for f in section.findings if f.state == "broken")

    @property
    def healthy(self) -> bool:
        """Whether an engine is usable and nothing is broken. Hardware that is not there is no illness."""
        return bool(self.usable) and not self.broken

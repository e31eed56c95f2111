"""The manifest of a bundle: what it does, from what it was made, what was measured. Every number names its device."""

import json
import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from runtime.checksums import SUMS_NAME
from runtime.errors import BundleError
from runtime.records import (
    Card,
    EngineRecord,
    LatencyRecord,
    Lineage,
    Part,
    Positive,
    Precision,
    QualityRecord,
    SpeedRecord,
    StepRecord,
    without_threads,
)
from runtime.target import PLAIN
from runtime.tiles import SizeContract

__all__ = ["MANIFEST_NAME", "SCHEMA_VERSIONS", "Manifest", "parse_manifest", "read_schema_version"]

MANIFEST_NAME = "manifest.json"
"""File name of the manifest in a bundle."""

SCHEMA_VERSIONS: tuple[int, ...] = (1, 2)
"""Schema versions this release reads; it writes the last one."""

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

# What schema 1 did not have. A manifest that calls itself 1 and holds one of them was changed by hand.
_SINCE_2 = ("models", "engines", "default_target", "default_reason", "speed", "steps", "card")

Task = Literal["derain", "denoise", "super-resolution"]


class Manifest(Part):
    """Everything a bundle says about itself. Pictures go in and out as RGB in [0, 1].

    Attributes:
        schema_version: Of this document.
        name: Name of the bundle, also usable as a folder name.
        task: What it restores.
        scale: Output pixels per input pixel and side.
        size: Sizes the model takes and how pictures are tiled.
        input_range: Range of the pixel values, in and out.
        color: Order of the channels, in and out.
        receptive_field: Input pixels per side an output pixel depends on; None if on all of them
            (squeeze-and-excitation).
        files: File name to SHA-256; filled in by `write_bundle`.
        models: Precision to the name of the ONNX file that computes in it, each one of `files`.
        engines: Engines built ahead of time, each one of `files`.
        default_target: Slug without threads of the fastest target that passed its gate where the bundle was made.
        default_reason: Why it is that one.
        lineage: What it was made from.
        latency: Promised times.
        speed: Measured times of every target that could run where the bundle was made.
        steps: What each step from weights to engines did, kept or not.
        quality: Measured quality.
        method: Name of the search method.
        parameters: Number of weights.
        card: The prose of the model card; None in a bundle of schema 1, whose card alone holds it.
        created: Moment of creation, ISO 8601.
    """

    schema_version: Literal[2] = 2
    name: str
    task: Task
    scale: Positive
    size: SizeContract
    input_range: Literal["0..1"] = "0..1"
    color: Literal["RGB"] = "RGB"
    receptive_field: Positive | None
    files: dict[str, str] = Field(default_factory=dict)
    models: dict[Precision, str] = Field(default={"fp32": "model.onnx"}, min_length=1)
    engines: list[EngineRecord] = Field(default_factory=list)
    default_target: Annotated[str, Field(pattern=r"^[a-z0-9]+-[a-z0-9]+-(fp32|fp16|int8)$")] = PLAIN
    default_reason: str = ""
    lineage: Lineage
    latency: list[LatencyRecord] = Field(default_factory=list)
    speed: list[SpeedRecord] = Field(default_factory=list)
    steps: list[StepRecord] = Field(default_factory=list)
    quality: list[QualityRecord] = Field(default_factory=list)
    method: str
    parameters: Annotated[int, Field(ge=0)]
    card: Card | None = None
    created: str

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not _FILE_NAME.fullmatch(name):
            raise ValueError(f"'{name}' is not a plain file name (letters, digits, and _ . + - after the first)")
        return name

    @field_validator("models")
    @classmethod
    def _plain_models(cls, models: dict[Precision, str]) -> dict[Precision, str]:
        for name in models.values():
            cls._plain_name(name)
        if len(set(models.values())) < len(models):
            raise ValueError("two precisions share one file")
        return models

    @field_validator("files")
    @classmethod
    def _plain_files(cls, files: dict[str, str]) -> dict[str, str]:
        for name, digest in files.items():
            cls._plain_name(name)
            if name in (MANIFEST_NAME, SUMS_NAME):
                raise ValueError(f"{name} cannot be listed, because it follows from the others")
            if not _SHA256.fullmatch(digest):
                raise ValueError(f"the SHA-256 of '{name}' is not 64 hexadecimal digits")
        return files

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.scale != self.size.scale:
            raise ValueError(f"scale is {self.scale} but size.scale is {self.size.scale}")
        if self.files and (absent := [name for name in self.needed if name not in self.files]):
            raise ValueError(f"{', '.join(absent)} not in files")
        for engine in self.engines:
            graph = self.models.get(engine.precision)
            if self.files and (graph is None or self.files[graph] != engine.source):
                raise ValueError(f"engine '{engine.file}' was built from another graph than this bundle holds")
        return self

    @property
    def needed(self) -> tuple[str, ...]:
        """Names of the files that networks run from: graphs and engines."""
        return (*self.models.values(), *(engine.file for engine in self.engines))

    def why_not(self, precision: str) -> str:
        """Why there is no graph in a precision, as ` (because)`; empty if no step says."""
        reasons = [step.why for step in self.steps if step.name == precision and step.why]
        return f" ({reasons[-1].rstrip('.')})" if reasons else ""

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def parse_manifest(text: str, source: str) -> Manifest:
    """Read the text of a manifest; one of schema 1 is renewed.

    Args:
        text: JSON.
        source: Where it is from, for messages.

    Raises:
        BundleError: If it is not JSON, of a schema version that is not read, or not of the right form; unknown keys
            are errors.
    """
    content = _content(text, source)
    try:
        return Manifest.model_validate(_renewed(content, source) if content["schema_version"] == 1 else content)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'manifest'}: {fault['msg']}" for fault in error.errors()
        )
        raise BundleError(f"{source} is not a valid manifest: {faults}. Export the bundle again.") from error


def read_schema_version(text: str, source: str) -> int:
    """The schema version that a manifest was written in.

    Raises:
        BundleError: If it is not JSON, or of a schema version that is not read.
    """
    return int(_content(text, source)["schema_version"])


def _content(text: str, source: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{source} is not JSON: {error}. Export the bundle again.") from error
    if not isinstance(content, dict) or "schema_version" not in content:
        raise BundleError(f"{source} is not the manifest of a millisight bundle: it has no schema_version.")
    version = content["schema_version"]
    if type(version) is not int or version not in SCHEMA_VERSIONS:
        read = ", ".join(map(str, SCHEMA_VERSIONS))
        raise BundleError(
            f"{source} has schema version {version!r}; this release reads {read}. "
            "Export the bundle again, or install the release that wrote it."
        )
    return content


def _renewed(content: dict[str, Any], source: str) -> dict[str, Any]:
    """A manifest of schema 1 as one of schema 2: it had one graph, in the precision of the target it was made for."""
    if foreign := [key for key in _SINCE_2 if key in content]:
        raise BundleError(
            f"{source} says it has schema version 1, which had no {', '.join(foreign)}: it was changed after it was "
            "written. Copy or export the bundle again."
        )
    old = {key: value for key, value in content.items() if key != "model_file"}
    latency = content.get("latency")
    first = latency[0] if isinstance(latency, list) and latency and isinstance(latency[0], dict) else {}
    target = without_threads(str(first.get("target", PLAIN)))
    return old | {
        "schema_version": 2,
        "models": {"fp16" if target.endswith("-fp16") else "fp32": content.get("model_file", "model.onnx")},
        "default_target": target,
        "default_reason": "it is what the bundle was made for",
    }

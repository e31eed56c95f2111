"""The manifest of a bundle: what it does, from what it was made, what was measured. Every number names its device."""

import json
import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from runtime.errors import BundleError
from runtime.tiles import SizeContract

__all__ = [
    "MANIFEST_NAME",
    "SCHEMA_VERSIONS",
    "LatencyRecord",
    "Lineage",
    "Manifest",
    "QualityRecord",
    "parse_manifest",
]

MANIFEST_NAME = "manifest.json"
"""File name of the manifest in a bundle."""

SCHEMA_VERSIONS: tuple[int, ...] = (1,)
"""Schema versions this release reads."""

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

Task = Literal["derain", "denoise", "super-resolution"]
Positive = Annotated[int, Field(ge=1)]
Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Decibel = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Lineage(_Part):
    """Hashes of what the bundle was made from, so that an answer can be traced back to its training run.

    Attributes:
        genotype: Content hash of the genotype.
        table: Hash of the latency table the search used.
        weights: Hash of the trained weights.
        onnx: Hash of the exported ONNX file.
        code_version: Version or commit of millisight.
        config: Hash of the run's configuration.
    """

    genotype: str
    table: str
    weights: str
    onnx: str
    code_version: str
    config: str


class LatencyRecord(_Part):
    """Time of the network at one size on one target, which may be on another device than the bundle was made on.

    Attributes:
        target: Slug with threads.
        device: Processor or accelerator the network was measured on; if it was not, the latency table was.
        height: Input rows.
        width: Input columns.
        predicted_ms: What the latency model said, milliseconds.
        predicted_error_ms: How far off the model's table is, plus or minus milliseconds; None if nobody wrote it down.
        measured_ms: What the engine took, milliseconds; None if it was not timed, because the device was elsewhere.
        spread: Interquartile range over median of the measured runs; None if there were none.
        budget_ms: What was promised, milliseconds.
        engine_version: Engine and version.
        date: Day of the measurement, ISO 8601; of the table's if the network was not timed.
    """

    target: str
    device: str
    height: Positive
    width: Positive
    predicted_ms: Milliseconds
    predicted_error_ms: Milliseconds | None = None
    measured_ms: Milliseconds | None = None
    spread: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    budget_ms: Milliseconds
    engine_version: str
    date: str

    @model_validator(mode="after")
    def _timed_or_not(self) -> Self:
        if (self.measured_ms is None) != (self.spread is None):
            raise ValueError("measured_ms and spread are of the same runs: give both, or neither if it was not timed")
        return self


class QualityRecord(_Part):
    """Quality on one set of images after one step of the pipeline.

    Attributes:
        step: `torch`, `onnx-fp32` and so on.
        dataset: Name of the images.
        metric: Peak signal-to-noise ratio on RGB or on the luma channel.
        degraded_db: Of the input (upscaled bicubically for super-resolution), dB.
        restored_db: Of the output, dB.
        images: Number of images.
    """

    step: str
    dataset: str
    metric: Literal["psnr-rgb", "psnr-y"]
    degraded_db: Decibel
    restored_db: Decibel
    images: Positive


class Manifest(_Part):
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
        model_file: Name of the ONNX file, one of `files`.
        lineage: What it was made from.
        latency: Measured times.
        quality: Measured quality.
        method: Name of the search method.
        parameters: Number of weights.
        created: Moment of creation, ISO 8601.
    """

    schema_version: Literal[1] = 1
    name: str
    task: Task
    scale: Positive
    size: SizeContract
    input_range: Literal["0..1"] = "0..1"
    color: Literal["RGB"] = "RGB"
    receptive_field: Positive | None
    files: dict[str, str] = Field(default_factory=dict)
    model_file: str = "model.onnx"
    lineage: Lineage
    latency: list[LatencyRecord] = Field(default_factory=list)
    quality: list[QualityRecord] = Field(default_factory=list)
    method: str
    parameters: Annotated[int, Field(ge=0)]
    created: str

    @field_validator("name", "model_file")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not _FILE_NAME.fullmatch(name):
            raise ValueError(f"'{name}' is not a plain file name (letters, digits, and _ . + - after the first)")
        return name

    @field_validator("files")
    @classmethod
    def _plain_files(cls, files: dict[str, str]) -> dict[str, str]:
        for name, digest in files.items():
            cls._plain_name(name)
            if name == MANIFEST_NAME:
                raise ValueError(f"{MANIFEST_NAME} cannot list itself")
            if not _SHA256.fullmatch(digest):
                raise ValueError(f"the SHA-256 of '{name}' is not 64 hexadecimal digits")
        return files

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.scale != self.size.scale:
            raise ValueError(f"scale is {self.scale} but size.scale is {self.size.scale}")
        if self.files and self.model_file not in self.files:
            raise ValueError(f"model_file '{self.model_file}' is not in files")
        return self

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def parse_manifest(text: str, source: str) -> Manifest:
    """Read the text of a manifest.

    Args:
        text: JSON.
        source: Where it is from, for messages.

    Raises:
        BundleError: If it is not JSON, of a schema version that is not read, or not of the right form; unknown keys
            are errors.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{source} is not JSON: {error}. Export the bundle again.") from error
    if not isinstance(content, dict) or "schema_version" not in content:
        raise BundleError(f"{source} is not the manifest of a millisight bundle: it has no schema_version.")
    version = content["schema_version"]
    if version not in SCHEMA_VERSIONS:
        read = ", ".join(map(str, SCHEMA_VERSIONS))
        raise BundleError(
            f"{source} has schema version {version!r}; this release reads {read}. "
            "Export the bundle again, or install the release that wrote it."
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'manifest'}: {fault['msg']}" for fault in error.errors()
        )
        raise BundleError(f"{source} is not a valid manifest: {faults}. Export the bundle again.") from error

"""What a manifest records: where a bundle comes from, what each step did to it, how fast and how good it is."""

import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "Card",
    "EngineRecord",
    "LatencyRecord",
    "Lineage",
    "Precision",
    "QualityRecord",
    "SpeedRecord",
    "StepRecord",
    "StepStatus",
    "without_threads",
]

_THREADS = re.compile(r"-\d+t$")

Precision = Literal["fp32", "fp16", "int8"]
"""What a graph computes in. Pictures go in and come out as float32 in all."""

StepStatus = Literal["ok", "failed", "skipped", "dropped"]
"""`failed`: it could not be done, or what came out is wrong. `dropped`: it was done, and costs too much quality."""

Positive = Annotated[int, Field(ge=1)]
Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Decibel = Annotated[float, Field(allow_inf_nan=False)]
Difference = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def without_threads(slug: str) -> str:
    """A target's slug without its threads, `cpu-openvino-int8` of `cpu-openvino-int8-2t`; also of unknown targets."""
    return _THREADS.sub("", slug)


class Part(BaseModel):
    """A part of a manifest: fixed, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Lineage(Part):
    """Hashes of what the bundle was made from, so that an answer can be traced back to its training run.

    Attributes:
        genotype: Content hash of the genotype.
        table: Hash of the latency table the search used.
        weights: Hash of the trained weights.
        onnx: Hash of the ONNX file that the promise was timed with.
        code_version: Version or commit of millisight.
        config: Hash of the run's configuration.
        calibration: Hash of the images that int8 was calibrated on, empty if there is no such file.
    """

    genotype: str
    table: str
    weights: str
    onnx: str
    code_version: str
    config: str
    calibration: str = ""


class Card(Part):
    """What the model card says in prose, beyond what the rest of the manifest says in numbers.

    Attributes:
        data: Where the training images come from.
        licence: Terms of the weights.
        limits: What not to expect.
        command: How to make the bundle again.
    """

    data: str
    licence: str
    limits: str
    command: str


class LatencyRecord(Part):
    """What was promised: time of the network at one size on one target, maybe on another device than it was made on.

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


class QualityRecord(Part):
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


class StepRecord(Part):
    """One step from the trained network to an engine, and what it did to the same images as every other step.

    Attributes:
        name: `export`, `fold`, `simplify`, `fp16`, `int8`, `build cuda-tensorrtrtx-fp16`, `run cpu-openvino-int8`.
        status: See `StepStatus`.
        why: What was missing, wrong or lost; of a step that is `ok` a remark, mostly empty.
        seconds: What it took, gate included.
        file: The file of the bundle that it wrote, empty if none.
        source: First 16 digits of the SHA-256 of the file that it started from, empty if it started from weights.
        reference: What its output was compared with: `torch`, or `onnx-fp32` where no weights were at hand; empty if
            nothing was compared.
        max_difference: Largest absolute difference of any pixel from the reference, in [0, 1].
        mean_difference: Mean absolute difference.
        reference_db: PSNR of its output against the reference's, dB; None if they are equal.
        db_lost: dB of the task that were lost against the reference, negative where it got better.
        ms: Time of one tile, milliseconds; None where nothing was timed.
        images: Number of images compared.
    """

    name: str
    status: StepStatus
    why: str = ""
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    file: str = ""
    source: str = ""
    reference: Literal["torch", "onnx-fp32", ""] = ""
    max_difference: Difference | None = None
    mean_difference: Difference | None = None
    reference_db: Decibel | None = None
    db_lost: Decibel | None = None
    ms: Milliseconds | None = None
    images: int = 0

    @model_validator(mode="after")
    def _reason(self) -> Self:
        if self.status != "ok" and not self.why:
            raise ValueError(f"step {self.name} is {self.status} and does not say why")
        return self


class SpeedRecord(Part):
    """Time of one batch on one target; all records of one date were timed in turns in one run.

    Attributes:
        target: Slug with threads.
        device: Processor or accelerator.
        engine_version: Engine and version.
        batch: Tiles at a time.
        height: Rows of a tile.
        width: Columns of a tile.
        ms: Of the whole batch, milliseconds.
        spread: Interquartile range over median of the runs.
        date: Moment of the measurement, ISO 8601.
    """

    target: str
    device: str
    engine_version: str
    batch: Positive
    height: Positive
    width: Positive
    ms: Milliseconds
    spread: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    date: str


class EngineRecord(Part):
    """An engine that was built ahead of time. It fits a host that has this version and one of these capabilities.

    Attributes:
        file: Its file in the bundle.
        backend: Device and engine, `cuda-tensorrtrtx`.
        precision: Of the graph it was built from.
        source: SHA-256 of the ONNX file it was built from.
        version: Engine and version that built it, which alone can read it.
        capabilities: Compute capabilities of the GPUs it was built for: `["8.6", "8.9"]`.
        smallest: The smallest (N, H, W) it takes.
        usual: The (N, H, W) it is best at.
        largest: The largest (N, H, W) it takes.
    """

    file: str
    backend: str
    precision: Precision
    source: str
    version: str
    capabilities: tuple[str, ...]
    smallest: tuple[Positive, Positive, Positive]
    usual: tuple[Positive, Positive, Positive]
    largest: tuple[Positive, Positive, Positive]

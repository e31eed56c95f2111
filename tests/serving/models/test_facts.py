from __future__ import annotations

from pathlib import Path

import pytest

from runtime.records import LatencyRecord, QualityRecord, SpeedRecord
from runtime.target import Target
from serving.models.facts import quality_of, speed_of
from tests.servers import write_known_bundle


def quality(step: str, db: float, dataset: str = "kodak") -> QualityRecord:
    return QualityRecord(step=step, dataset=dataset, metric="psnr-y", degraded_db=20, restored_db=db, images=24)


def speed(target: str, ms: float, batch: int = 1) -> SpeedRecord:
    return SpeedRecord(
        target=target, device="Xeon", engine_version="x 1", batch=batch, height=1000, width=500, ms=ms, spread=0.0,
        date="2026-01-01",
    )  # fmt: skip


def promise(target: str, measured_ms: float | None) -> LatencyRecord:
    return LatencyRecord(
        target=target, device="Xeon", height=1000, width=1000, predicted_ms=7, measured_ms=measured_ms,
        spread=None if measured_ms is None else 0.1, budget_ms=9, engine_version="x 1", date="2026-01-01",
    )  # fmt: skip


@pytest.mark.parametrize(("target", "db"), [("cpu-onnxruntime-fp32-2t", 30.0), ("cpu-openvino-int8-1t", 29.5)])
def test_the_db_of_the_graph_that_is_served_counts(tmp_path: Path, target: str, db: float) -> None:
    records = [quality("torch", 31), quality("onnx-fp32", 30), quality("onnx-int8", 29.5)]
    manifest = write_known_bundle(tmp_path / "x", "x", "denoise", quality=records).manifest
    assert quality_of(manifest, Target.parse(target)) == {("kodak", "psnr-y", 24): db}


def test_a_graph_that_nobody_measured_has_no_db(tmp_path: Path) -> None:
    manifest = write_known_bundle(tmp_path / "x", "x", "denoise", quality=[quality("torch", 31)]).manifest
    assert quality_of(manifest, Target.parse("cpu-onnxruntime-fp32-1t")) == {}


def test_times_are_those_of_one_picture_on_this_kind_of_target(tmp_path: Path) -> None:
    records = [
        speed("cpu-onnxruntime-fp32-1t", 50), speed("cpu-onnxruntime-fp32-1t", 1, batch=4),
        speed("cpu-onnxruntime-fp32-2t", 30), speed("cpu-openvino-fp32-1t", 1),
    ]  # fmt: skip
    latency = [promise("cpu-onnxruntime-fp32-1t", 300), promise("cpu-onnxruntime-fp32-4t", 20)]
    manifest = write_known_bundle(tmp_path / "x", "x", "denoise", speed=records, latency=latency).manifest
    times = speed_of(manifest, Target.parse("cpu-onnxruntime-fp32"))
    assert times == {("Xeon", "-1t"): 100, ("Xeon", "-2t"): 60, ("Xeon", "-4t"): 20}  # ms a megapixel


def test_what_was_only_predicted_is_no_measured_time(tmp_path: Path) -> None:
    latency = [promise("cuda-tensorrt-fp16", None)]
    manifest = write_known_bundle(tmp_path / "x", "x", "denoise", latency=latency).manifest
    assert speed_of(manifest, Target.parse("cuda-tensorrt-fp16")) == {}
    latency = [promise("cuda-tensorrt-fp16", 5)]
    manifest = write_known_bundle(tmp_path / "x", "x", "denoise", latency=latency).manifest
    assert speed_of(manifest, Target.parse("cuda-tensorrt-fp16")) == {("Xeon", ""): 5}

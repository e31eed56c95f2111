"""What a manifest's records, a calibration and runs say of costs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.bundle import Bundle
from runtime.manifest import Manifest
from runtime.records import SpeedRecord
from runtime.target import Target
from serving.scheduling import TileCosts
from serving.scheduling.interfaces import FloatArray
from serving.scheduling.records import Line, batch_of

ZOO = Path(__file__).parents[3] / "zoo"
GPU, CPU = Target("cuda", "tensorrt", "fp16"), Target("cpu", "openvino", "int8", 2)
TILE = (512, 512)


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return Bundle.load(ZOO / "denoise").manifest


def with_speed(manifest: Manifest, target: str, times: dict[int, float]) -> Manifest:
    speed = [
        SpeedRecord(
            target=target, device="made up", engine_version="1", batch=batch, height=512, width=512, ms=ms, spread=0.0,
            date="2026-01-01T00:00:00Z",
        )
        for batch, ms in times.items()
    ]  # fmt: skip
    return manifest.model_copy(update={"speed": speed})


def test_batches_follow_the_measurements_both_ways(manifest: Manifest) -> None:
    gains = with_speed(manifest, GPU.kind, {1: 10.0, 4: 20.0, 8: 36.0})
    assert batch_of(gains, GPU) == 8
    assert batch_of(with_speed(manifest, GPU.kind, {1: 10.0, 4: 37.0, 8: 80.0}), GPU) == 1  # 7.5 % are too little
    assert batch_of(with_speed(manifest, GPU.kind, {1: 10.0, 4: 36.0, 8: 80.0}), GPU) == 4
    assert batch_of(with_speed(manifest, GPU.kind, {4: 1.0}), GPU) == 1  # nothing to compare with
    apart = gains.speed[0].model_copy(update={"date": "2026-01-01T01:00:00Z", "ms": 5.5})
    assert batch_of(gains.model_copy(update={"speed": [apart, *gains.speed[1:]]}), GPU) == 1  # 18 %, not in turns
    assert batch_of(gains, CPU) == 1  # another target's records say nothing


@pytest.mark.parametrize("bundle", sorted(path.name for path in ZOO.iterdir() if (path / "manifest.json").is_file()))
def test_on_processors_the_zoo_gains_nothing_by_batches(bundle: str) -> None:
    loaded = Bundle.load(ZOO / bundle).manifest
    assert {batch_of(loaded, Target.parse(f"{kind}-1t")) for kind in ("cpu-openvino-int8", "cpu-onnxruntime-fp32")} == {
        1
    }


def test_the_line_meets_the_records(manifest: Manifest) -> None:
    costs = TileCosts.for_bundle(with_speed(manifest, GPU.kind, {1: 10.0, 4: 22.0, 8: 38.0}), GPU)
    assert costs.seconds(TILE, 8) == pytest.approx(0.038)
    assert costs.seconds(TILE, 1) == pytest.approx(0.010)
    assert costs.promised(TILE, 8) == pytest.approx(0.038)
    assert costs.work(TILE, 9) == pytest.approx(0.048)
    assert costs.cores == 0
    slower = TileCosts.for_bundle(manifest, CPU)
    assert slower.seconds(TILE, 1) == pytest.approx(0.067, rel=0.01)
    assert (slower.batch, slower.cores) == (1, 2)


def test_without_a_record_nothing_is_promised(manifest: Manifest) -> None:
    costs = TileCosts.for_bundle(manifest, GPU)
    assert costs.promised(TILE, 1) is None
    assert costs.drift is None
    assert costs.seconds(TILE, 1) > 0


@given(st.integers(1, 1000), st.floats(1e-6, 1), st.integers(1, 1000), st.floats(1e-6, 1))
def test_a_line_is_never_negative_and_meets_the_larger_point(few: int, short: float, more: int, long: float) -> None:
    line = Line.through((few, short), (few + more, long))
    assert line.fixed >= -1e-12
    assert line.per_pixel >= 0
    assert line.at(few + more) == pytest.approx(long)


def test_calibration_times_this_machine() -> None:
    costs = TileCosts(Line(0.0, 1.0), record=Line(0.0, 1e-9))

    def run(batch: FloatArray) -> FloatArray:
        time.sleep(batch.shape[2] * batch.shape[3] * 2e-6)
        return batch

    costs.calibrate(run, (64, 64))
    assert 0.008 <= costs.seconds((64, 64), 1) < 1.0
    assert costs.promised((64, 64), 1) == pytest.approx(64 * 64 * 1e-9)


def test_drift_follows_runs_and_not_one_wild_one() -> None:
    costs = TileCosts(Line(0.0, 1e-6), record=Line(0.0, 1e-6))
    before = costs.seconds((100, 100), 1)
    costs.observe((100, 100), 1, 1000 * before)
    assert costs.seconds((100, 100), 1) < 1.1 * before
    for _ in range(200):
        costs.observe((100, 100), 1, 3 * before)
    assert costs.seconds((100, 100), 1) == pytest.approx(3 * before, rel=0.05)
    assert costs.drift == pytest.approx(3, rel=0.05)
    costs.observe((100, 100), 1, 0.0)
    assert costs.promised((100, 100), 1) == pytest.approx(before)


def test_drift_is_of_the_whole_tile_whatever_ran_last() -> None:
    # As on every machine, a part of the time of a run is the same for all sizes; the record knows one size only.
    costs = TileCosts(Line(0.01, 1e-6), record=Line(0.0, 2e-6))
    costs.observe((100, 100), 1, 0.02)
    assert costs.drift == pytest.approx(1)
    for _ in range(50):
        costs.observe((10, 10), 1, 0.0101)
    assert costs.drift == pytest.approx(1, rel=0.01)
    assert costs.seconds((10, 10), 1) / (costs.promised((10, 10), 1) or 0) > 50  # what it would be of small ones

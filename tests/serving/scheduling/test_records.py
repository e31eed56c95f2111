"""Which record is the budget, and which is the promise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from runtime.bundle import Bundle
from runtime.manifest import Manifest
from runtime.records import LatencyRecord, SpeedRecord
from runtime.target import Target
from serving.scheduling import TileCosts
from serving.scheduling.records import budget_of, promise_of

ZOO = Path(__file__).parents[3] / "zoo"
CPU = Target("cpu", "openvino", "int8", 2)
GPU = Target("cuda", "tensorrt", "fp16")
TILE = (512, 512)


def budget(target: str, ms: float, side: int = 512) -> LatencyRecord:
    return LatencyRecord(
        target=target, device="made up", height=side, width=side, predicted_ms=1.0, budget_ms=ms, engine_version="1",
        date="2026-01-01",
    )  # fmt: skip


def speed(target: str, ms: float, batch: int = 1, device: str = "made up") -> SpeedRecord:
    return SpeedRecord(
        target=target, device=device, engine_version="1", batch=batch, height=512, width=512, ms=ms, spread=0.0,
        date="2026-01-01",
    )  # fmt: skip


@pytest.fixture(scope="module")
def bare() -> Manifest:
    return Bundle.load(ZOO / "denoise").manifest.model_copy(update={"latency": (), "speed": ()})


OTHER = budget("cpu-onnxruntime-fp32-1t", 200.0)
KIN = budget("cpu-openvino-int8-1t", 100.0)
OWN = budget("cpu-openvino-int8-2t", 60.0)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], None),
        ([OTHER], 0.2),
        ([OTHER, KIN], 0.1),  # of this kind of target, whichever comes first
        ([OTHER, KIN, OWN], 0.06),  # and of its threads, if there is one
        ([OTHER, budget("cuda-tensorrt-fp16", 5.0)], 0.2),  # else the first
        ([budget(OWN.target, 60.0, side=256)], None),  # says nothing of a tile of 512
        ([budget(OWN.target, 60.0, side=256), OTHER], 0.2),
        ([budget(OWN.target, 0.0)], None),  # no budget
        ([budget(OWN.target, 0.0), OTHER], 0.2),
    ],
)
def test_the_budget_is_of_the_nearest_record_of_this_tile(
    bare: Manifest, records: Sequence[LatencyRecord], expected: float | None
) -> None:
    assert budget_of(bare.model_copy(update={"latency": tuple(records)}), CPU) == expected


def test_both_sides_of_the_tile_count(bare: Manifest) -> None:
    wide = KIN.model_copy(update={"height": 256})
    assert budget_of(bare.model_copy(update={"latency": (wide,)}), CPU) is None


@pytest.mark.parametrize("bundle", sorted(path.name for path in ZOO.iterdir() if (path / "manifest.json").is_file()))
def test_every_bundle_of_the_zoo_has_a_budget_and_a_promise(bundle: str) -> None:
    manifest = Bundle.load(ZOO / bundle).manifest
    kept, promise = budget_of(manifest, CPU), promise_of(manifest, CPU, 1)
    assert kept == manifest.latency[0].budget_ms / 1000
    assert promise is not None
    assert promise.target == "cpu-openvino-int8-1t"
    # What is served keeps what was asked for.
    assert promise.line.at(manifest.size.tile[0] * manifest.size.tile[1]) < kept


def test_a_promise_is_of_the_same_threads_where_it_can_be(bare: Manifest) -> None:
    one, two = speed("cpu-openvino-int8-1t", 100.0), speed("cpu-openvino-int8-2t", 60.0)
    both = bare.model_copy(update={"speed": (one, two)})
    for threads, ms in ((1, 0.1), (2, 0.06), (4, 0.1)):  # of 4 there is none: then the slowest that there is
        target = Target("cpu", "openvino", "int8", threads)
        promise = promise_of(both, target, 1)
        assert promise is not None
        assert promise.line.at(512 * 512) == pytest.approx(ms)
        assert TileCosts.for_bundle(both, target).promised(TILE, 1) == pytest.approx(ms)


def test_a_promise_tells_where_it_is_from(bare: Manifest) -> None:
    records = (speed("cuda-tensorrt-fp16", 10.0, device="one"), speed("cuda-tensorrt-fp16", 22.0, 4, device="four"))
    manifest = bare.model_copy(update={"speed": (*records, speed("cuda-tensorrt-fp16", 38.0, 8, device="eight"))})
    promise = promise_of(manifest, GPU, 4)
    assert promise is not None
    assert (promise.target, promise.device) == ("cuda-tensorrt-fp16", "four")
    assert promise.line.at(4 * 512 * 512) == pytest.approx(0.022)
    assert promise_of(manifest, CPU, 4) is None

"""Timing a bundle's file against its promise, with timers that are plain functions."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from millisight.promise import ALLOWED, RUNS, WARMUP, Promise, plain_ms, time_promise
from runtime import LatencyRecord, Target, device_name, engine_version

TARGET = Target.parse("cpu-onnxruntime-fp32-1t")


def record(**fields: object) -> LatencyRecord:
    content: dict[str, object] = {
        "target": TARGET.slug, "device": "Abacus 3000", "height": 24, "width": 32, "predicted_ms": 9.25,
        "predicted_error_ms": 0.5, "budget_ms": 10.0, "engine_version": "onnxruntime 0.9", "date": "2026-01-01",
    }  # fmt: skip
    return LatencyRecord.model_validate(content | fields)


def counted(seconds: Iterator[float]) -> tuple[Callable[[], float], list[float]]:
    taken: list[float] = []

    def timer() -> float:
        taken.append(next(seconds))
        return taken[-1]

    return timer, taken


def test_warm_up_is_left_out_and_the_faster_half_counts() -> None:
    slow_first = iter([9.0] + [0.5] * (WARMUP - 1) + [0.01, 0.03] * RUNS)
    timer, taken = counted(iter([0.9] * WARMUP + [0.01, 0.03] * RUNS))
    assert plain_ms(timer) == (pytest.approx(10.0), RUNS)
    assert len(taken) == WARMUP + RUNS
    # A slow network is not run sixty times, and warmed up once.
    timer, taken = counted(slow_first)
    assert plain_ms(timer)[1] == RUNS
    assert taken[:2] == [9.0, 0.5]
    timer, taken = counted(iter([30.0] * 9))
    assert plain_ms(timer) == (30000.0, 1)
    assert len(taken) == 2


@pytest.mark.parametrize(("ms", "holds"), [(9.0, True), (10.0, True), (10.2, True), (10.21, False), (99.0, False)])
def test_a_promise_is_kept_within_two_per_cent(ms: float, holds: bool) -> None:
    assert ALLOWED == 1.02
    promise = Promise(record(), ms, 60, "Abacus 3000", "onnxruntime 0.9")
    assert promise.holds == holds
    error = " ± 0.5"
    verdict = "holds" if holds else "does not hold"
    assert promise.row == (TARGET.slug, "32x24", f"{ms:.4g}", "60", f"9.25{error}", "10", verdict)
    assert promise.content["holds"] == holds
    assert promise.content["target"] == TARGET.slug
    assert promise.elsewhere == ""
    elsewhere = Promise(record(predicted_error_ms=None), ms, 60, "Pencil", "onnxruntime 1")
    assert elsewhere.elsewhere == ("promised for Abacus 3000 with onnxruntime 0.9; this is Pencil with onnxruntime 1")
    assert "±" not in "".join(elsewhere.row)


class FakeEngine:
    """Takes ten milliseconds, says its timer."""

    target = TARGET

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return batch

    def timer(self, batch: NDArray[np.float32]) -> Callable[[], float]:
        self.shapes.append(batch.shape)
        return lambda: 0.010


def test_the_file_is_timed_at_the_records_size() -> None:
    engine = FakeEngine()
    promise = time_promise(engine, record())
    assert engine.shapes == [(1, 3, 24, 32)]
    assert promise.raw_ms == pytest.approx(10.0)
    assert (promise.device, promise.engine) == (device_name(TARGET), engine_version(TARGET))

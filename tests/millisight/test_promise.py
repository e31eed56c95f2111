"""Timing a bundle against its promise, with timers that are plain functions."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from millisight.cli import app
from millisight.promise import ALLOWED, RUNS, WARMUP, Promise, plain_ms, records_for, time_promise
from runtime import (
    Bundle,
    LatencyRecord,
    Lineage,
    Manifest,
    SizeContract,
    Target,
    device_name,
    engine_version,
    write_bundle,
)

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
    text = str(promise)
    assert f"measured {ms:.4g} ms, predicted 9.25 ms ± 0.5, budget 10 ms" in text
    assert ("does not hold" in text) != holds
    assert "not corrected for what else the machine does" in text
    assert "promised for" not in text
    elsewhere = Promise(record(predicted_error_ms=None), ms, 60, "Pencil", "onnxruntime 1")
    assert "promised for Abacus 3000 with onnxruntime 0.9; this is Pencil with onnxruntime 1" in str(elsewhere)
    assert "±" not in str(elsewhere)


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


def write(folder: Path, *records: LatencyRecord) -> Bundle:
    """A bundle that gives pictures back as they are."""
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "same",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [numpy_helper.from_array(np.eye(3, dtype=np.float32)[:, :, None, None], "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    manifest = Manifest(
        name="same", task="denoise", scale=1, receptive_field=1, latency=list(records), method="none", parameters=9,
        size=SizeContract(multiple=1, minimum=1, tile=(32, 32), overlap=4, scale=1), created="2026-01-01T00:00:00Z",
        lineage=Lineage(genotype="g", table="t", weights="w", onnx="o", code_version="0", config="c"),
    )  # fmt: skip
    return write_bundle(folder, manifest, {"model.onnx": model.SerializeToString(), "card.md": b"# Same\n"})


def test_what_a_bundle_promises_on_a_target(tmp_path: Path) -> None:
    bundle = write(tmp_path / "b", record(), record(target="cuda-tensorrt-fp16"), record(height=48))
    assert [(r.target, r.height) for r in records_for(bundle.manifest, TARGET)] == [
        (TARGET.slug, 24),
        (TARGET.slug, 48),
    ]


def verify(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["verify", *arguments])
    return done.exit_code, done.output


def test_the_command_times_every_record_and_fails_if_one_does_not_hold(tmp_path: Path) -> None:
    # Of budgets that no clock can doubt: an hour and a nanosecond.
    hour, nothing = record(budget_ms=3.6e6), record(height=16, budget_ms=1e-6)
    write(tmp_path / "kept", hour)
    code, text = verify(str(tmp_path / "kept"), "--target", TARGET.slug)
    assert (code, "32x24 on" in text, "holds" in text, "promised for Abacus 3000" in text) == (0, True, True, True)
    write(tmp_path / "broken", hour, nothing)
    code, text = verify(str(tmp_path / "broken"), "--target", TARGET.slug, "--json")
    content = json.loads(text)
    assert (code, content["holds"], [timing["holds"] for timing in content["timings"]]) == (1, False, [True, False])
    assert content["timings"][0]["measured_raw_ms"] > 0
    assert content["timings"][0]["predicted_error_ms"] == 0.5


def test_what_cannot_be_checked_is_wrong_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    write(tmp_path / "b", record(target="cuda-tensorrt-fp16"))
    folder = str(tmp_path / "b")
    code, text = verify(folder, "--target", TARGET.slug)
    assert code == 2
    assert f"promises nothing on {TARGET.slug}, only on: cuda-tensorrt-fp16" in text
    for option in (("--limit", "3"), ("--at-least", "0")):
        code, text = verify(folder, "--target", TARGET.slug, *option)
        assert code == 2
        assert f"{option[0]}: has no effect without --data" in text


NO_TORCH = """
import sys
# What `import` and `find_spec` see where a package is not installed.
sys.modules['torch'] = sys.modules['skimage'] = sys.modules['onnx'] = None
from millisight.cli import main
main()
"""


def test_the_device_needs_no_torch(tmp_path: Path) -> None:
    write(tmp_path / "b", record(budget_ms=3.6e6))
    command = [sys.executable, "-c", NO_TORCH, "verify", "b", "--target", TARGET.slug]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "budget 3.6e+06 ms: holds" in done.stdout

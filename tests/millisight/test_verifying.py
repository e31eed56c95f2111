"""`millisight verify` on small real bundles, whole and with every fault that it is there to find."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from typer.testing import CliRunner

from millisight.cli import app
from millisight.verification import recorded_db_lost
from runtime import (
    Bundle,
    LatencyRecord,
    Lineage,
    Manifest,
    SizeContract,
    StepRecord,
    Target,
    list_targets,
    write_bundle,
)
from tasks import dead_leaves
from tasks.parity import BOUNDS

TARGET = "cpu-onnxruntime-fp32-1t"


def record(**fields: object) -> LatencyRecord:
    content: dict[str, object] = {
        "target": TARGET, "device": "Abacus 3000", "height": 24, "width": 32, "predicted_ms": 9.25,
        "predicted_error_ms": 0.5, "budget_ms": 3.6e6, "engine_version": "onnxruntime 0.9", "date": "2026-01-01",
    }  # fmt: skip
    return LatencyRecord.model_validate(content | fields)


def smoothing(precision: str = "fp32", level: float = 1 / 255, wrong: float = 0.0, swapped: bool = False) -> bytes:
    """A 3x3 box filter, which gains dB on noise; in int8 its output is rounded to eight bits, as every score is.

    level: What one step of eight bits is taken for. wrong: Added to one weight. swapped: Whether red and blue are.
    """
    weight = np.zeros((3, 3, 3, 3), dtype=np.float32)
    for channel in range(3):
        weight[channel, 2 - channel if swapped else channel] = 1 / 9
    weight[1, 1, 0, 0] += wrong
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)]
    if precision == "int8":
        nodes[0].output[0] = "float"
        nodes.append(helper.make_node("QuantizeLinear", ["float", "step", "zero"], ["byte"]))
        nodes.append(helper.make_node("DequantizeLinear", ["byte", "level", "zero"], ["y"]))
    constants = {
        "w": weight, "step": np.float32(1 / 255), "level": np.float32(level), "zero": np.uint8(0)
    }  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "box",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def write(
    folder: Path, *records: LatencyRecord, int8: bytes | None = None, steps: tuple[StepRecord, ...] = ()
) -> Bundle:
    files = {"model.onnx": smoothing(), "card.md": b"# Box\n"}
    models = {"fp32": "model.onnx"}
    if int8 is not None:
        files["model-int8.onnx"], models["int8"] = int8, "model-int8.onnx"
    manifest = Manifest.model_validate(
        {
            "name": "box", "task": "denoise", "scale": 1, "receptive_field": 3, "latency": list(records),
            "method": "none", "parameters": 81, "created": "2026-01-01T00:00:00Z", "models": models,
            "steps": list(steps), "size": SizeContract(multiple=1, minimum=4, tile=(64, 64), overlap=4, scale=1),
            "lineage": Lineage(genotype="g", table="t", weights="w", onnx="o", code_version="0", config="c"),
        }
    )  # fmt: skip
    return write_bundle(folder, manifest, files)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(3):
        Image.fromarray(dead_leaves(np.random.default_rng(index), 80)).save(folder / f"{index}.png")
    return str(folder)


def verify(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["verify", *map(str, arguments)])
    return done.exit_code, done.stdout + (done.stderr if done.exit_code == 2 else "")


def answer(*arguments: object) -> tuple[int, dict[str, Any]]:
    code, text = verify(*arguments, "--json")
    return code, json.loads(text)


def test_auto_checks_all_that_this_machine_has_and_names_the_rest(tmp_path: Path, pictures: str) -> None:
    bundle = write(tmp_path / "b", record(), record(target="cuda-tensorrt-fp16"), int8=smoothing("int8"))
    code, found = answer(bundle.folder, "--data", pictures)
    assert (code, found["holds"]) == (0, True)
    here = {status.slug for status in list_targets() if status.available and "fp16" not in status.slug}
    assert {Target.parse(gate["target"]).kind for gate in found["gates"]} == here
    assert [gain["target"] for gain in found["quality"]] == [gate["target"] for gate in found["gates"]]
    assert all(gain["gain_db"] > 1 for gain in found["quality"])
    assert [timing["target"] for timing in found["timings"]] == [TARGET]
    assert {Target.parse(skip["target"]).kind for skip in found["skipped"]} == {s.slug for s in list_targets()} - here
    assert all(skip["why"] and skip["remedy"] for skip in found["skipped"])
    assert set(found["files"]) == {"model.onnx", "model-int8.onnx", "card.md"}
    assert found["images"] == {"name": pictures, "count": 8}


def test_the_text_has_a_table_for_each_part(tmp_path: Path, pictures: str) -> None:
    bundle = write(tmp_path / "b", record())
    code, text = verify(bundle.folder, "--data", pictures, "--limit", "2")
    assert code == 0
    for part in ("2 files, every hash is right", "gates: ", "2 images", "quality: ", "promises: "):
        assert part in text
    assert "promised for Abacus 3000 with onnxruntime 0.9" in text
    assert "skipped: " in text
    assert text.rstrip().endswith("\nholds")
    assert max(len(line) for line in text.splitlines() if pictures not in line) <= 110


FAULTS: dict[str, dict[str, Any]] = {
    "a wrong weight": {"wrong": 0.5},
    "swapped channels": {"swapped": True},
    "values that are not finite": {"level": float("nan")},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_graph_with_a_fault_does_not_hold(tmp_path: Path, pictures: str, fault: str) -> None:
    bundle = write(tmp_path / "b", int8=smoothing("int8", **FAULTS[fault]))
    code, found = answer(bundle.folder, "--data", pictures, "--targets", "cpu-onnxruntime-fp32,cpu-onnxruntime-int8")
    assert (code, found["holds"]) == (1, False)
    sound, broken = found["gates"]
    assert (sound["holds"], sound["max_difference"], sound["why"]) == (True, 0.0, "")
    assert not broken["holds"]
    assert "dB are lost (allowed 0.1)" in broken["why"] or "not numbers" in broken["why"]


def test_what_the_bundle_says_of_each_target_stands_beside_it(tmp_path: Path, pictures: str) -> None:
    steps = (
        StepRecord(name="export", status="ok", db_lost=0.0001),
        StepRecord(name="int8", status="ok", db_lost=0.03),
        StepRecord(name="run cpu-onnxruntime-int8", status="ok", db_lost=0.04),
    )
    bundle = write(tmp_path / "b", int8=smoothing("int8"), steps=steps)
    targets = ("cpu-onnxruntime-fp32-1t", "cpu-onnxruntime-int8-1t")
    _, found = answer(bundle.folder, "--data", pictures, "--targets", ",".join(targets), "--no-timing")
    assert [gate["recorded_db_lost"] for gate in found["gates"]] == [0.0001, 0.04]
    assert recorded_db_lost(bundle.manifest, Target.parse("cpu-openvino-int8")) == 0.03
    assert recorded_db_lost(bundle.manifest, Target.parse("cuda-tensorrt-fp16")) is None


def test_what_a_gate_refused_before_is_checked_only_by_name(tmp_path: Path, pictures: str) -> None:
    """The bundle itself says that this target is no good, so it holds what it promises."""
    refused = StepRecord(name="run cpu-onnxruntime-int8", status="dropped", why="0.5 dB are lost")
    bundle = write(tmp_path / "b", int8=smoothing("int8", wrong=0.5), steps=(refused,))
    code, found = answer(bundle.folder, "--data", pictures, "--targets", "cpu-onnxruntime-int8")
    assert (code, len(found["gates"])) == (1, 1)
    _, found = answer(bundle.folder, "--data", pictures)
    assert "cpu-onnxruntime-int8" not in {Target.parse(gate["target"]).kind for gate in found["gates"]}
    (skip,) = [skip for skip in found["skipped"] if skip["target"].startswith("cpu-onnxruntime-int8")]
    assert "0.5 dB are lost" in skip["why"]


def test_a_gain_that_is_not_reached_does_not_hold(tmp_path: Path, pictures: str) -> None:
    bundle = write(tmp_path / "b")
    code, found = answer(bundle.folder, "--data", pictures, "--targets", TARGET, "--at-least", "40")
    assert (code, found["quality"][0]["holds"], found["gates"][0]["holds"]) == (1, False, True)
    assert verify(bundle.folder, "--data", pictures, "--targets", TARGET, "--at-least", "-40")[0] == 0


def test_every_promise_is_timed_and_one_that_is_broken_fails(tmp_path: Path) -> None:
    # Of budgets that no clock can doubt: an hour and a nanosecond.
    bundle = write(tmp_path / "kept", record())
    code, text = verify(bundle.folder, "--targets", TARGET, "--no-images")
    assert (code, "32x24" in text, "holds" in text) == (0, True, True)
    broken = write(tmp_path / "broken", record(), record(height=16, budget_ms=1e-6))
    code, found = answer(broken.folder, "--targets", "cpu-onnxruntime-fp32", "--no-images")
    assert (code, found["holds"], [timing["holds"] for timing in found["timings"]]) == (1, False, [True, False])
    assert found["timings"][0]["measured_raw_ms"] > 0
    assert found["timings"][0]["predicted_error_ms"] == 0.5
    code, found = answer(broken.folder, "--no-images", "--no-timing")
    assert (code, found["timings"], found["gates"]) == (0, [], [])


def test_a_damaged_file_is_named_in_text_and_json(tmp_path: Path) -> None:
    bundle = write(tmp_path / "b")
    content = bytearray((bundle.folder / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (bundle.folder / "model.onnx").write_bytes(content)
    code, found = answer(bundle.folder, "--no-images", "--no-timing")
    assert (code, found["holds"]) == (1, False)
    assert "model.onnx" in found["fault"]
    command = [sys.executable, "-m", "millisight.cli", "verify", str(bundle.folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "model.onnx" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_checked_is_not_a_success(tmp_path: Path, pictures: str) -> None:
    bundle = write(tmp_path / "b", record())
    code, text = verify(bundle.folder, "--data", pictures, "--targets", "cpu-onnxruntime-int8")
    assert code == 1
    assert "nothing was checked" in text
    assert "the bundle has no int8 graph" in text
    assert "it was not asked for" in text


def test_what_has_no_effect_or_does_not_exist_is_wrong_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    bundle = write(tmp_path / "b")
    for option in (("--limit", "3"), ("--at-least", "0"), ("--data", "x")):
        code, text = verify(bundle.folder, "--no-images", *option)
        assert code == 2
        assert f"{option[0]}: has no effect with --no-images" in text
    code, text = verify(bundle.folder, "--targets", "cpu-onnxruntime-fp32,cuda-nothing-fp8")
    assert code == 2
    assert "cuda-nothing-fp8" in text


SERVING_HOST = """
import sys
# What `import` and `find_spec` see where a package is not installed.
for name in ('torch', 'skimage', 'onnx', 'scipy', 'onnxslim', 'matplotlib', 'bentoml'):
    sys.modules[name] = None
from millisight.cli import main
main()
"""


def test_a_serving_host_verifies_with_images_of_its_own(tmp_path: Path, pictures: str) -> None:
    write(tmp_path / "b", record())

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", SERVING_HOST, "verify", "b", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    done = run("--data", pictures, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["gates"]
    timed = run("--targets", TARGET, "--no-images", "--json")
    assert timed.returncode == 0, timed.stderr
    assert json.loads(timed.stdout)["timings"][0]["holds"]
    lost = run()
    assert lost.returncode == 1
    assert "--data" in lost.stderr
    assert "--no-images" in lost.stderr
    assert "scikit-image" in lost.stderr
    assert "Traceback" not in lost.stderr


def test_without_data_the_embedded_photographs_are_taken(tmp_path: Path) -> None:
    bundle = write(tmp_path / "b")
    code, found = answer(bundle.folder, "--targets", TARGET, "--limit", "1")
    assert (code, found["images"]) == (0, {"name": "photographs of scikit-image", "count": 1})


def test_every_precision_of_a_bundle_has_bounds() -> None:
    assert {Target.parse(status.slug).precision for status in list_targets()} <= set(BOUNDS)

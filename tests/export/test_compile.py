"""From weights to gated files for every target: what is made, what is refused, and what an interruption changes."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
import torch

from export import Compiled, GateError, StepStore, Subject, compile_bundle, extend_bundle
from export.graphs import digest
from export.targets import plan_targets
from runtime import Bundle, Restorer, StabilityRule, Target, list_targets
from runtime.records import Precision, without_threads
from tests.export.subjects import CPU, make_subject, swapped_channels, tiny_network

ROOT = Path(__file__).parent.parent.parent
QUICK = dict.fromkeys((1, 4), StabilityRule(min_runs=3, max_runs=3))
FLOAT = ("cpu-onnxruntime-fp32", "cpu-openvino-fp32")


def compiled(subject: Subject, *targets: str, **options: Any) -> Compiled:
    work = subject.bundle.folder.parent / "work"
    return compile_bundle(subject, targets or CPU, **{"work": work, "rules": QUICK, **options})


def again(subject: Subject, **fields: Any) -> Subject:
    """The same with the bundle as it lies there now."""
    return replace(subject, bundle=Bundle.load(subject.bundle.folder), **fields)


def statuses(found: Compiled) -> dict[str, str]:
    return {step.name: step.status for step in found.steps}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Subject, Compiled]:
    subject = make_subject(tmp_path_factory.mktemp("whole") / "bundle", tiny_network(2))
    return subject, compiled(subject, "auto")


def test_a_run_becomes_files_for_every_target_of_this_machine(whole: tuple[Subject, Compiled]) -> None:
    subject, found = whole
    assert not found.failed
    here = [status.slug for status in list_targets() if status.available]
    assert list(statuses(found)) == ["export", "fold", "simplify", "fp16", "int8", *(f"run {kind}" for kind in here)]
    manifest = found.bundle.manifest
    assert manifest.models == {"fp32": "model.onnx", "fp16": "model-fp16.onnx", "int8": "model-int8.onnx"}
    assert Bundle.load(subject.bundle.folder).manifest == manifest
    assert tuple(manifest.steps) == found.steps
    for step in found.steps:
        if step.status == "ok" and not step.why.startswith("nothing to leave out"):
            assert (step.reference, step.images) == ("torch", 2)
            assert step.max_difference is not None
    graphs = {precision: (found.bundle.folder / name).read_bytes() for precision, name in manifest.models.items()}
    for step in found.steps:
        if step.name.startswith("run "):
            assert step.source == digest(graphs[step.name.rpartition("-")[2]])
            assert step.ms is not None
    assert next(step.source for step in found.steps if step.name == "int8") == digest(graphs["fp32"])
    assert manifest.lineage.onnx == digest(graphs["fp32"])
    assert manifest.lineage.calibration == subject.calibration_id
    assert manifest.latency == subject.bundle.manifest.latency


def test_what_was_measured_is_in_the_manifest_and_chosen_from(whole: tuple[Subject, Compiled]) -> None:
    _, found = whole
    manifest = found.bundle.manifest
    kinds = [step.name.removeprefix("run ") for step in found.steps if step.name.startswith("run ")]
    assert {(r.target, r.batch) for r in manifest.speed} == {(f"{k}-1t", b) for k in kinds for b in (1, 4)}
    assert found.choice is not None
    assert (manifest.default_target, manifest.default_reason) == (found.choice.kind, found.choice.reason)
    assert manifest.default_target in kinds
    rows = {row.step: row.restored_db for row in manifest.quality}
    assert set(rows) == {"torch", "onnx-fp32", "onnx-fp16", "onnx-int8"}
    assert rows["torch"] - rows["onnx-int8"] <= 0.1
    text = (found.bundle.folder / "card.md").read_text()
    assert manifest.default_reason in text


def test_the_default_serves(whole: tuple[Subject, Compiled]) -> None:
    image = np.random.default_rng(0).random((3, 50, 41), dtype=np.float32)
    folder = whole[1].bundle.folder
    plain = Restorer.load(folder, "cpu-onnxruntime-fp32").restore_array(image)
    served = Restorer.load(folder, whole[1].bundle.manifest.default_target).restore_array(image)
    assert np.sqrt(((plain - served) ** 2).mean()) < 0.02


def test_a_bundle_without_its_run_is_judged_by_its_own_graph(tmp_path: Path) -> None:
    subject = make_subject(tmp_path / "bundle", tiny_network(2), weights=False)
    before = subject.bundle.model_path("fp32").read_bytes()
    found = compiled(subject, "auto")
    steps = {step.name: step for step in found.steps}
    assert (steps["export"].status, steps["export"].why) == ("skipped", "exported before: model.onnx")
    assert steps["fp16"].status == "skipped"
    assert "export the run" in steps["fp16"].why
    assert {step.reference for step in found.steps if step.max_difference is not None} == {"onnx-fp32"}
    assert sorted(found.bundle.manifest.models) == ["fp32", "int8"]
    assert steps["simplify"].source == digest(before)
    once_more = compiled(again(subject), "auto")
    models = set(found.bundle.manifest.models.values())
    assert {name: once_more.bundle.manifest.files[name] for name in models} == {
        name: found.bundle.manifest.files[name] for name in models
    }
    simplified = next(step for step in once_more.bundle.manifest.steps if step.name == "simplify")
    assert simplified == steps["simplify"]  # what was done is not forgotten because it need not be done again


def test_without_the_run_what_it_made_is_kept_and_judged_again(whole: tuple[Subject, Compiled], tmp_path: Path) -> None:
    subject, first = whole
    found = compiled(
        replace(subject, bundle=first.bundle, network=None), "auto", work=tmp_path / "w", out=tmp_path / "b"
    )
    old, new = first.bundle.manifest, found.bundle.manifest
    models = {name: new.files[name] for name in new.models.values()}
    assert models == {name: old.files[name] for name in old.models.values()}
    assert new.lineage == old.lineage
    steps = {step.name: step for step in new.steps}
    assert steps["export"] == next(step for step in old.steps if step.name == "export")
    assert (steps["fp16"].status, steps["fp16"].reference) == ("ok", "onnx-fp32")
    assert first.bundle.manifest == Bundle.load(first.bundle.folder).manifest  # `out` is elsewhere


@pytest.mark.parametrize(("precision", "status"), [("fp16", "failed"), ("int8", "dropped")])
def test_a_wrong_graph_in_the_bundle_is_refused_and_left_out(
    whole: tuple[Subject, Compiled], tmp_path: Path, precision: str, status: str
) -> None:
    """A planted fault: a graph that is another order of colours."""
    subject, first = whole
    name = first.bundle.manifest.models[cast("Precision", precision)]
    model = onnx.load_from_string((first.bundle.folder / name).read_bytes())
    swapped_channels(model)
    unsigned = first.bundle.manifest.model_copy(update={"files": {}})
    spoiled = extend_bundle(first.bundle, unsigned, {name: model.SerializeToString()}, tmp_path / "bundle")
    found = compiled(replace(subject, bundle=spoiled, network=None), "cpu-onnxruntime-fp32", work=tmp_path / "work")
    assert statuses(found)[precision] == status
    assert precision not in found.bundle.manifest.models
    assert name not in found.bundle.manifest.files
    assert f"onnx-{precision}" not in {row.step for row in found.bundle.manifest.quality}
    assert found.failed == (status == "failed")


def test_an_export_that_is_not_the_network_is_not_written(tmp_path: Path) -> None:
    class Forgetful(torch.nn.Module):
        """A layer whose export is not what it computes."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if torch.onnx.is_in_onnx_export() else x + 0.1

    network = tiny_network(1)
    subject = make_subject(tmp_path / "bundle", network)
    before = subject.bundle.manifest
    network.add_module("tail", torch.nn.Sequential(network.get_submodule("tail"), Forgetful()))
    with pytest.raises(GateError, match=r"(?s)the ONNX export does not compute.*largest difference"):
        compiled(subject)
    assert Bundle.load(tmp_path / "bundle").manifest == before


def test_weights_that_float16_cannot_hold_fail_and_nothing_else_does(tmp_path: Path) -> None:
    network = tiny_network(1)
    with torch.no_grad():
        network.get_submodule("tail").get_parameter("bias")[0] = 1e6
    found = compiled(make_subject(tmp_path / "bundle", network), *FLOAT, "cuda-tensorrtrtx-fp16")
    steps = {step.name: step for step in found.steps}
    assert steps["fp16"].status == "failed"
    assert "float16 cannot hold" in steps["fp16"].why
    assert steps["build cuda-tensorrtrtx-fp16"].why == "there is no fp16 graph"
    assert steps["run cpu-openvino-fp32"].status == "ok"
    assert found.failed


def test_only_what_is_asked_for_is_made(tmp_path: Path) -> None:
    subject = make_subject(tmp_path / "bundle", tiny_network(1))
    found = compiled(subject, "cpu-openvino-fp32")
    assert list(statuses(found)) == ["export", "fold", "simplify", "run cpu-openvino-fp32"]
    assert sorted(found.bundle.manifest.models) == ["fp32"]
    assert found.bundle.manifest.default_target == "cpu-openvino-fp32"
    more = compiled(again(subject), "cpu-onnxruntime-fp32")
    assert [name for name in statuses(more) if name.startswith("run")] == [f"run {kind}" for kind in FLOAT]
    assert {record.target for record in more.speed} == {f"{kind}-1t" for kind in FLOAT}


def test_a_repeated_export_does_only_what_is_new(tmp_path: Path) -> None:
    subject = make_subject(tmp_path / "bundle", tiny_network(1))
    started: list[str] = []
    first = compiled(subject, *FLOAT, on_start=started.append)
    assert {"export", "simplify", "run cpu-openvino-fp32", "time"} <= set(started)
    started.clear()
    repeated = compiled(again(subject), *FLOAT, on_start=started.append)
    assert started == []
    assert repeated.bundle.manifest == first.bundle.manifest
    compiled(again(subject), *CPU, on_start=started.append)
    assert started == ["int8", "run cpu-onnxruntime-int8", "run cpu-openvino-int8", "time"]


def test_other_weights_or_images_are_judged_anew(tmp_path: Path) -> None:
    subject = make_subject(tmp_path / "bundle", tiny_network(1))
    compiled(subject, "cpu-onnxruntime-fp32")
    started: list[str] = []
    compiled(again(subject, pairs=subject.pairs[:1]), "cpu-onnxruntime-fp32", on_start=started.append)
    assert {"export", "simplify", "run cpu-onnxruntime-fp32"} <= set(started)
    assert subject.network is not None
    with torch.no_grad():
        next(subject.network.parameters())[0] += 0.1
    started.clear()
    compiled(again(subject), "cpu-onnxruntime-fp32", on_start=started.append)
    assert {"export", "simplify", "run cpu-onnxruntime-fp32"} <= set(started)


def test_an_engine_for_a_gpu_elsewhere_is_built_and_stored(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    subject = make_subject(tmp_path / "bundle", tiny_network(1))
    kind = "cuda-tensorrtrtx-fp16"
    assert kind not in [entry.target.kind for entry in plan_targets(["auto"], subject.bundle.manifest) if entry.lacks]
    found = compiled(subject, "cpu-onnxruntime-fp32", kind)
    steps, manifest = {step.name: step for step in found.steps}, found.bundle.manifest
    build, run = steps[f"build {kind}"], steps[f"run {kind}"]
    assert build.status == "ok"
    (engine,) = manifest.engines
    assert build.file == engine.file
    assert engine.source == manifest.files[manifest.models["fp16"]]
    assert engine.largest[1:] == manifest.size.tile
    assert (run.status, run.why.startswith("not run here: ")) == ("skipped", True) or run.status == "ok"
    assert not found.failed
    # Of the same graph it stays, also where nobody asks for it; of another graph it goes.
    kept = compiled(again(subject), "cpu-onnxruntime-fp32")
    assert kept.bundle.manifest.engines == [engine]
    assert f"build {kind}" in [step.name for step in kept.bundle.manifest.steps]
    other = make_subject(tmp_path / "other", tiny_network(1, seed=1))
    assert other.network is not None
    gone = compiled(again(subject, network=other.network), "cpu-onnxruntime-fp32")
    assert gone.bundle.manifest.engines == []


def test_a_promise_in_fp16_keeps_its_file_and_gets_an_fp32_one_beside_it(tmp_path: Path) -> None:
    subject = make_subject(tmp_path / "bundle", tiny_network(1))
    (record,) = subject.bundle.manifest.latency
    elsewhere = subject.bundle.manifest.model_copy(
        update={
            "files": {}, "models": {"fp16": "model.onnx"}, "default_target": "cuda-tensorrt-fp16",
            "latency": [record.model_copy(update={"target": "cuda-tensorrt-fp16"})],
        }
    )  # fmt: skip
    subject = replace(subject, bundle=extend_bundle(subject.bundle, elsewhere, {"model.onnx": b"as it was"}))
    found = compiled(subject, "cpu-onnxruntime-fp32")
    manifest = found.bundle.manifest
    assert manifest.models == {"fp32": "model-fp32.onnx", "fp16": "model.onnx"}
    assert manifest.lineage.onnx == manifest.files["model.onnx"][:16]
    # The processor was timed, and is no match for a device that was not.
    assert {without_threads(entry.target) for entry in manifest.speed} == {"cpu-onnxruntime-fp32"}
    if Target.parse("cuda-tensorrt-fp16").missing() is not None:
        assert manifest.default_target == "cuda-tensorrt-fp16"
        assert "made for cuda-tensorrt-fp16, which is not here" in manifest.default_reason
    bare = replace(subject, bundle=extend_bundle(found.bundle, elsewhere, {}), network=None)
    with pytest.raises(GateError, match="holds no fp32 graph to compare with, only fp16; export its run"):
        compiled(bare, "cpu-onnxruntime-fp32")


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.export.test_compile import QUICK
from tests.export.subjects import make_subject, tiny_network
from export import compile_bundle

folder, killed_after, *targets = sys.argv[1:]

def on_step(record):
    if record.name == killed_after:
        os.kill(os.getpid(), signal.SIGKILL)

subject = make_subject(Path(folder) / "bundle", tiny_network(2))
compile_bundle(subject, targets, work=Path(folder) / "work", rules=QUICK, on_step=on_step)
"""
CLOCKED = ("created", "default_target", "default_reason", "speed", "files")


def without_clocks(bundle: Bundle) -> dict[str, Any]:
    """The manifest without what a clock decides."""
    content = bundle.manifest.model_dump(mode="json")
    steps = [{key: value for key, value in step.items() if key not in ("seconds", "ms")} for step in content["steps"]]
    return {**{key: value for key, value in content.items() if key not in CLOCKED}, "steps": steps}


def taken_up_again(folder: Path, killed_after: str, targets: tuple[str, ...]) -> tuple[Compiled, list[str]]:
    """An export whose process is killed when a step is kept, and what the next one starts."""
    command = [sys.executable, "-c", KILLED, str(folder), killed_after, *targets]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    untouched = make_subject(folder / "untouched", tiny_network(2)).bundle.manifest
    assert Bundle.load(folder / "bundle").manifest == untouched  # nobody sees half of an export
    started: list[str] = []
    subject = make_subject(folder / "bundle", tiny_network(2))
    return compiled(subject, *targets, on_start=started.append), started


@pytest.mark.parametrize(
    "killed_after",
    ["run cpu-onnxruntime-fp32", *(pytest.param(name, marks=pytest.mark.slow) for name in ("simplify", "time"))],
)
def test_killed_and_taken_up_again_it_ends_in_the_same_files(tmp_path: Path, killed_after: str) -> None:
    found, started = taken_up_again(tmp_path, killed_after, FLOAT)
    order = ["export", "simplify", "reference", *(f"run {kind}" for kind in FLOAT), "time"]
    assert started == order[order.index(killed_after) + 1 :]
    straight = compiled(make_subject(tmp_path / "straight" / "bundle", tiny_network(2)), *FLOAT)
    assert without_clocks(found.bundle) == without_clocks(straight.bundle)
    for name in straight.bundle.manifest.models.values():
        assert (found.bundle.folder / name).read_bytes() == (straight.bundle.folder / name).read_bytes()


@pytest.mark.slow
def test_int8_that_was_made_before_the_kill_is_kept(tmp_path: Path) -> None:
    """Which layers stay in float depends on what they take, so another export may choose otherwise."""
    found, started = taken_up_again(tmp_path, "int8", CPU)
    assert started == ["reference", *(f"run {kind}" for kind in CPU), "time"]
    kept = StepStore(tmp_path / "work").path("int8").read_bytes()
    assert (found.bundle.folder / "model-int8.onnx").read_bytes() == kept

"""What is planned for, and what cannot be."""

from pathlib import Path
from typing import Any

import pytest

from export import ExportError, plan_targets
from export.targets import promised_kind, promised_threads
from runtime import Manifest, StepRecord, TargetError, list_targets, usable_cores
from tests.export.subjects import CPU, make_subject, tiny_network

RTX = "cuda-tensorrtrtx-fp16"


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return make_subject(tmp_path / "bundle", tiny_network(1)).bundle.manifest


def promised_on(manifest: Manifest, slug: str) -> Manifest:
    (record,) = manifest.latency
    return manifest.model_copy(update={"latency": [record.model_copy(update={"target": slug})]})


def kinds(manifest: Manifest, *asked: str) -> list[str]:
    return [entry.target.kind for entry in plan_targets(asked, manifest)]


def test_auto_is_what_this_machine_has(manifest: Manifest) -> None:
    here = [status.slug for status in list_targets() if status.available]
    assert kinds(manifest, "auto") == here
    assert {*CPU} <= {*here}
    assert not any(entry.lacks for entry in plan_targets(["auto"], manifest))


def test_what_is_named_is_added_in_the_order_of_the_targets(manifest: Manifest) -> None:
    assert kinds(manifest, CPU[2], CPU[0], CPU[2]) == [CPU[0], CPU[2]]
    assert kinds(manifest, "auto", CPU[0]) == kinds(manifest, "auto")


@pytest.mark.parametrize(
    ("targets", "error", "said"),
    [
        ((), ExportError, "no target was named; write auto, or some of cpu-onnxruntime-fp32"),
        (("cpu-tvm-fp32",), TargetError, "No engine for target 'cpu-tvm-fp32'"),
        (("cpu-onnxruntime-fp32-2t",), ExportError, "write 'cpu-onnxruntime-fp32'"),
    ],
)
def test_targets_that_cannot_be_are_refused(
    manifest: Manifest, targets: tuple[str, ...], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        plan_targets(targets, manifest)


def test_a_target_that_is_missing_here_is_an_error_that_says_what(manifest: Manifest) -> None:
    absent = [status for status in list_targets() if not status.available and "rtx" not in status.slug]
    if not absent:
        pytest.skip("this machine has every target")
    with pytest.raises(TargetError, match="is not available here") as raised:
        plan_targets(["auto", absent[0].slug], manifest)
    assert absent[0].missing in str(raised.value)


def test_an_engine_for_a_gpu_elsewhere_is_built_where_its_builder_is(manifest: Manifest) -> None:
    pytest.importorskip("tensorrt_rtx")
    (entry,) = plan_targets([RTX], manifest)
    assert entry.build
    missing = entry.target.missing()
    assert entry.lacks == ("" if missing is None else missing.what)


def test_what_was_tried_before_is_tried_again(manifest: Manifest) -> None:
    tried = [StepRecord(name=f"run {CPU[1]}", status="dropped", why="too much"), StepRecord(name="int8", status="ok")]
    before = manifest.model_copy(update={"steps": tried})
    assert kinds(before, CPU[0]) == [CPU[0], CPU[1]]
    gone = StepRecord(name="run cuda-tvm-fp32", status="ok")
    assert kinds(manifest.model_copy(update={"steps": [gone]}), CPU[0]) == [CPU[0]]


@pytest.mark.parametrize(
    ("slug", "kind", "threads"),
    [
        ("cpu-onnxruntime-fp32-1t", "cpu-onnxruntime-fp32", 1),
        ("cpu-onnxruntime-fp32-3t", "cpu-onnxruntime-fp32", 3),
        ("cuda-tensorrt-fp16", "cuda-tensorrt-fp16", usable_cores()),
    ],
)
def test_threads_are_those_of_the_promise(manifest: Manifest, slug: str, kind: str, threads: int) -> None:
    found = promised_on(manifest, slug)
    assert (promised_kind(found), promised_threads(found)) == (kind, threads)
    assert {entry.target.threads for entry in plan_targets(["auto"], found) if not entry.target.on_gpu} == {threads}


def test_without_a_promise_it_is_the_plain_target_on_all_cores(manifest: Manifest) -> None:
    found: Any = manifest.model_copy(update={"latency": []})
    assert (promised_kind(found), promised_threads(found)) == ("cpu-onnxruntime-fp32", usable_cores())

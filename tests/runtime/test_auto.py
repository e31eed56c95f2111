"""Which target `auto` takes, and what it says when it is not the recorded one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime import (
    Bundle,
    Manifest,
    SpeedRecord,
    StepRecord,
    Target,
    TargetError,
    choose_target,
    list_targets,
    usable_cores,
    write_bundle,
)

MakeManifest = Callable[..., Manifest]
ALL = {"fp32": "model.onnx", "fp16": "model-fp16.onnx", "int8": "model-int8.onnx"}
AVAILABLE = [status.slug for status in list_targets() if status.available]
MISSING = [status for status in list_targets() if not status.available]
ORT, ORT_INT8 = "cpu-onnxruntime-fp32", "cpu-onnxruntime-int8"


@pytest.fixture
def make(make_manifest: MakeManifest, tmp_path: Path) -> Callable[..., Bundle]:
    """A bundle with a file for each precision; nothing here opens them."""

    def bundle(default: str, *, models: dict[str, str] = ALL, **fields: Any) -> Bundle:
        manifest = make_manifest(default_target=default, models=models, **fields)
        return write_bundle(tmp_path / "b", manifest, {name: name.encode() for name in models.values()})

    return bundle


def machine(folder: Path, flags: str = "sse2 avx2 avx512_vnni") -> Path:
    """A root whose processor has these instructions."""
    path = folder / "machine" / "proc" / "cpuinfo"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"flags : {flags}\n")
    return folder / "machine"


def speed(target: str, ms: float, batch: int = 1, side: int = 64) -> SpeedRecord:
    return SpeedRecord(
        target=target, device="Example", engine_version="x 1", batch=batch, height=side, width=side, ms=ms, spread=0.0,
        date="2026-01-01",
    )  # fmt: skip


@pytest.mark.parametrize("kind", AVAILABLE)
def test_the_recorded_default_is_taken_with_every_core(make: Callable[..., Bundle], kind: str, tmp_path: Path) -> None:
    # Even if another was faster: whoever recorded the default knew.
    choice = choose_target(
        make(kind, default_reason="it lost least", speed=[speed(ORT, 1e-3), speed(ORT_INT8, 1e-3)]), machine(tmp_path)
    )
    assert (choice.target.kind, choice.fallback, choice.why) == (kind, False, "it lost least")
    assert choice.target.threads == (usable_cores() if kind.startswith("cpu") else 1)


@pytest.mark.parametrize("status", MISSING, ids=lambda status: str(status.slug))
def test_what_is_missing_and_what_mends_it_is_said(make: Callable[..., Bundle], status: Any, tmp_path: Path) -> None:
    choice = choose_target(make(status.slug), machine(tmp_path))
    assert choice.fallback
    assert choice.target == Target.parse(ORT)
    for part in ("'small' runs on cpu-onnxruntime-fp32", status.slug, status.missing, status.remedy, "never timed"):
        assert part in choice.why


def test_then_the_fastest_of_those_that_were_timed(make: Callable[..., Bundle], tmp_path: Path) -> None:
    timed = [
        speed("cuda-nothing-fp32", 0.1),
        speed(f"{ORT}-2t", 9.0),
        speed(f"{ORT_INT8}-1t", 7.0),
        speed(f"{ORT}-1t", 1.0, batch=8),  # of a batch: another question
        speed(f"{ORT}-1t", 2.0, side=16),  # of a small tile: slower per pixel
    ]
    choice = choose_target(make("cuda-nothing-fp32", speed=timed), machine(tmp_path))
    assert (choice.target.kind, choice.fallback) == (ORT_INT8, True)
    assert "the next fastest on Example" in choice.why
    assert "this release has no engine for it. Install the release" in choice.why
    # Turned round, the other one.
    turned = choose_target(
        make("cuda-nothing-fp32", speed=[speed(f"{ORT}-2t", 7.0), speed(f"{ORT_INT8}-1t", 9.0)]), machine(tmp_path)
    )
    assert turned.target.kind == ORT


def test_what_the_bundle_has_no_graph_for_is_not_taken(make: Callable[..., Bundle], tmp_path: Path) -> None:
    choice = choose_target(make(ORT, models={"int8": "model.onnx"}), machine(tmp_path))
    assert choice.target.kind == ORT_INT8
    assert "the bundle has no fp32 graph. `millisight export`" in choice.why


@pytest.mark.parametrize(
    ("status", "taken"), [("failed", ORT_INT8), ("dropped", ORT_INT8), ("skipped", ORT), ("ok", ORT)]
)
def test_what_a_gate_refused_is_not_taken(make: Callable[..., Bundle], status: str, taken: str, tmp_path: Path) -> None:
    # A target that was skipped was missing where the bundle was made; it may be here.
    steps = [StepRecord(name=f"run {ORT}", status=status, why="it lost 3 dB.")]
    choice = choose_target(
        make("cuda-nothing-fp32", steps=steps, speed=[speed(ORT, 1.0), speed(ORT_INT8, 2.0)]), machine(tmp_path)
    )
    assert choice.target.kind == taken
    default = choose_target(make(ORT, steps=steps, speed=[speed(ORT_INT8, 2.0)]), machine(tmp_path))
    assert default.target.kind == taken
    assert ("a gate refused it (it lost 3 dB)." in default.why) == (taken == ORT_INT8)


def test_nothing_left_is_an_error_that_says_all(make: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = make("cuda-tensorrt-fp16", models={"fp16": "model.onnx"})
    if any(slug.endswith("-fp16") for slug in AVAILABLE):
        pytest.skip("this machine has a GPU that runs fp16")
    with pytest.raises(
        TargetError, match=r"Nothing here can run .*cuda-tensorrt-fp16: .*cpu-onnxruntime-fp32: the bundle"
    ):
        choose_target(bundle, machine(tmp_path))


@pytest.mark.parametrize(
    ("flags", "taken"),
    [
        ("sse2 avx2 avx_vnni", ORT_INT8),
        ("sse2 avx2", ORT),  # sums of two products in 16 bits
        ("asimd asimddp", ORT_INT8),  # Arm has no such sums
        ("", ORT_INT8),  # a system that does not say
    ],
)
def test_int8_is_taken_only_where_its_sums_hold(
    make: Callable[..., Bundle], tmp_path: Path, flags: str, taken: str
) -> None:
    choice = choose_target(make(ORT_INT8), machine(tmp_path, flags))
    assert (choice.target.kind, choice.fallback) == (taken, taken == ORT)
    assert ("has no VNNI" in choice.why and f"verify --targets {ORT_INT8}`" in choice.why) == (taken == ORT)

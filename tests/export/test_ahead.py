"""Engines for GPUs that are not here, built for real: `pip install tensorrt-rtx`. Running them needs such a GPU."""

import hashlib
import sys
from pathlib import Path

import onnx
import pytest
from torch import nn

from export import export_onnx
from export.ahead import Profile, ahead_capabilities, build_ahead, default_capabilities, engine_file
from runtime import EngineError, Target, TargetError
from runtime.engines.stored import EngineHost, StoredEngine, fits, read_stored
from runtime.engines.tensorrt_ahead import ENGINE, MODEL, REFUSAL, REQUEST, BuildRequest, main
from runtime.requirements import installed_version

FP32, FP16 = (Target("cuda", "tensorrtrtx", precision) for precision in ("fp32", "fp16"))
RANGE = Profile((1, 16, 16), (2, 16, 16), (4, 16, 32))

pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")


def _model(precision: str = "fp32") -> bytes:
    return export_onnx(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 1)), precision=precision)


@pytest.mark.parametrize("profile", [RANGE, Profile.fixed(1, 16, 16)], ids=["dynamic", "fixed"])
@pytest.mark.parametrize("target", [FP32, FP16], ids=["fp32", "fp16"])
def test_an_engine_and_what_it_is_are_made(target: Target, profile: Profile, tmp_path: Path) -> None:
    model = _model(target.precision)
    content, record = build_ahead(model, target, profile)
    assert len(content) > 1000
    assert (record.backend, record.precision) == ("cuda-tensorrtrtx", target.precision)
    assert record.file == engine_file(target) == f"tensorrtrtx-{target.precision}.engine"
    assert record.source == hashlib.sha256(model).hexdigest()
    assert record.version == installed_version(target.backend)
    assert record.capabilities == default_capabilities()
    assert Profile(record.smallest, record.usual, record.largest) == profile
    # It fits a machine with any of its GPUs, and no other.
    path = tmp_path / record.file
    path.write_bytes(content)
    for capability in record.capabilities:
        assert read_stored(StoredEngine(record, path), target, model, EngineHost(record.version, capability)) == content
    assert "this one has 9.0" in fits(record, target, record.source, EngineHost(record.version, "9.0"))
    assert "another ONNX file" in fits(record, target, hashlib.sha256(_model() + b" ").hexdigest())


def test_one_capability_is_enough_and_their_order_is_fixed() -> None:
    assert "7.5" in ahead_capabilities()
    assert "7.5" not in default_capabilities()
    assert set(default_capabilities()) < set(ahead_capabilities())
    assert build_ahead(_model(), FP32, RANGE, ["7.5"])[1].capabilities == ("7.5",)
    assert build_ahead(_model(), FP32, RANGE, ["12.0", "8.6", "12.0"])[1].capabilities == ("8.6", "12.0")


@pytest.mark.parametrize(("wanted", "said"), [(["8.6", "9.0"], "9.0"), (["86"], "86"), ([], "none")])
def test_an_unknown_capability_is_refused(wanted: list[str], said: str) -> None:
    with pytest.raises(EngineError, match=rf"no engine for compute capability {said}; it offers 7\.5, 8\.0, 8\.6"):
        build_ahead(_model(), FP32, RANGE, wanted)


def test_only_engines_that_run_elsewhere_are_built() -> None:
    with pytest.raises(EngineError, match=r"cuda-tensorrt are not built ahead of time; these are: cuda-tensorrtrtx"):
        build_ahead(_model(), Target("cuda", "tensorrt", "fp32"), RANGE)
    with pytest.raises(TargetError, match="cuda-tensorrtrtx-int8"):
        build_ahead(_model(), Target("cuda", "tensorrtrtx", "int8"), RANGE)


def test_a_refusal_of_the_child_is_told() -> None:
    with pytest.raises(EngineError, match="computes in fp32 and the target in fp16"):
        build_ahead(_model(), FP16, RANGE)
    with pytest.raises(EngineError, match=r"TensorRT refused the model: .*parse"):
        build_ahead(b"not a model", FP32, RANGE)
    fixed = onnx.load_from_string(_model())
    fixed.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 8
    with pytest.raises(EngineError, match=r"cannot be built for 1x16x16 to 4x16x32, usually 2x16x16"):
        build_ahead(fixed.SerializeToString(), FP32, RANGE)


def test_a_build_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(EngineError, match=r"took more than 0\.01 s"):
        build_ahead(_model(), FP32, RANGE, seconds=0.01)


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"crashed \(SIGSEGV\) \(no message\)"),
        ("raise MemoryError('no room')", r"ended with status 1 \(MemoryError: no room\)"),
        ("raise SystemExit(0)", r"ended with status 0 \(no message\)"),
    ],
)
def test_a_child_that_ends_badly_does_not_take_us_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str, said: str
) -> None:
    ahead_capabilities()  # here the real one is loaded; the child finds another, which ends its process
    (tmp_path / "tensorrt_rtx.py").write_text(ends)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(EngineError, match=f"Building the engine {said}"):
        build_ahead(_model(), FP32, RANGE)


def test_the_child_reads_and_writes_a_folder(tmp_path: Path) -> None:
    request = BuildRequest(
        engine="tensorrtrtx",
        precision="fp32",
        smallest=(1, 16, 16),
        usual=(1, 16, 16),
        largest=(1, 16, 16),
        capabilities=("8.6",),
    )
    (tmp_path / REQUEST).write_text(request.model_dump_json())
    (tmp_path / MODEL).write_bytes(_model())
    main(tmp_path)
    assert (tmp_path / ENGINE).stat().st_size > 1000
    assert not (tmp_path / REFUSAL).exists()
    (tmp_path / REQUEST).write_text(request.model_copy(update={"capabilities": ("9.0",)}).model_dump_json())
    main(tmp_path)
    assert "9.0; it offers" in (tmp_path / REFUSAL).read_text()

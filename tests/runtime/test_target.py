import subprocess
import sys
from pathlib import Path

import pytest

from runtime.errors import TargetError
from runtime.host import usable_cores
from runtime.target import TARGETS, Target, list_targets


def test_a_slug_is_read_back() -> None:
    target = Target.parse("cpu-onnxruntime-fp32-1t")
    assert target == Target("cpu", "onnxruntime", "fp32", 1)
    assert target.slug == "cpu-onnxruntime-fp32-1t"
    assert Target.parse(target.slug) == target


def test_without_threads_every_usable_core_is_taken() -> None:
    assert Target.parse("cpu-onnxruntime-fp32").threads == usable_cores()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cpu",
        "cpu-onnxruntime",
        "cpu-onnxruntime-fp32-",
        "cpu-onnxruntime-fp32-t",
        "cpu-onnxruntime-fp32-0t",
        "cpu-onnxruntime-fp32--1t",
        "CPU-onnxruntime-fp32",
        "cpu-openvino-fp16",
        "cpu-tensorrt-fp16",
        "cpu-onnxruntime-int4",
        "intelgpu-onnxruntime-fp32",
        "cuda-openvino-fp32",
        "cuda-tensorrt-int8",
        "rocm-onnxruntime-fp32",
    ],
)
def test_what_does_not_exist_is_refused_with_advice(text: str) -> None:
    with pytest.raises(TargetError, match=r"cpu-onnxruntime-fp32|at least 1 thread"):
        Target.parse(text)


def test_a_target_has_a_thread() -> None:
    with pytest.raises(TargetError, match="at least 1 thread"):
        Target("cpu", "onnxruntime", "fp32", 0)


@pytest.mark.parametrize("slug", [slug for slug in TARGETS if not slug.startswith("cpu-")])
def test_a_gpu_target_is_read_on_any_machine_and_has_no_threads(slug: str) -> None:
    target = Target.parse(slug)
    assert target.slug == target.kind == slug
    assert target.on_gpu
    assert f"{target.backend}-{target.precision}" == slug
    for threads in (1, 2):
        with pytest.raises(TargetError, match=f"takes no threads: write '{slug}', not '{slug}-{threads}t'"):
            Target.parse(f"{slug}-{threads}t")
    with pytest.raises(TargetError, match=f"takes no threads, got 2; write '{slug}'"):
        Target(target.device, target.engine, target.precision, 2)


@pytest.mark.parametrize("slug", [slug for slug in TARGETS if slug.startswith("cpu-")])
def test_a_processor_target_is_not_on_a_gpu_and_has_threads(slug: str) -> None:
    target = Target.parse(f"{slug}-3t")
    assert not target.on_gpu
    assert (target.kind, target.slug, target.threads) == (slug, f"{slug}-3t", 3)
    assert f"{target.backend}-{target.precision}" == slug


def test_every_device_has_targets() -> None:
    assert {Target.parse(slug).device for slug in TARGETS} == {"cpu", "cuda", "intelgpu"}


def test_targets_are_probed() -> None:
    statuses = list_targets()
    assert [status.slug for status in statuses] == list(TARGETS)
    assert statuses[0].available
    for status in statuses:
        assert status.available == (status.missing == "") == (status.remedy == "")


@pytest.mark.parametrize("slug", TARGETS)
def test_what_is_listed_as_missing_is_what_the_error_says(slug: str) -> None:
    target = Target.parse(slug)
    missing = target.missing()
    if missing is None:
        target.check_available()
    else:
        with pytest.raises(TargetError) as caught:
            target.check_available()
        assert str(caught.value) == f"Target '{target.slug}' is not available here. {missing.what}. {missing.remedy}."


@pytest.mark.parametrize(
    ("content", "missing"),
    [
        ("raise ImportError('libfoo.so: cannot open shared object file')", "cannot be imported"),
        ("raise OSError('libfoo.so')", "cannot be imported"),
        ("", "empty folder"),
    ],
)
def test_a_missing_engine_is_a_value_and_opening_it_an_error(tmp_path: Path, content: str, missing: str) -> None:
    (tmp_path / "onnxruntime.py").write_text(content)
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from runtime import Target, TargetError, list_targets, open_engine
status = list_targets()[0]
assert not status.available and {missing!r} in status.missing and "pip install '.[cpu]'" in status.remedy, status
try:
    open_engine(b"", Target.parse("cpu-onnxruntime-fp32-1t"))
except TargetError as error:
    assert {missing!r} in str(error) and "pip install '.[cpu]'" in str(error), error
else:
    raise SystemExit("opened")
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])

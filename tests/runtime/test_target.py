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
        "cuda-tensorrt-fp16",
        "cpu-openvino-fp32",
        "cpu-onnxruntime-int8",
    ],
)
def test_what_does_not_exist_is_refused_with_advice(text: str) -> None:
    with pytest.raises(TargetError, match=r"cpu-onnxruntime-fp32|at least 1 thread"):
        Target.parse(text)


def test_a_target_has_a_thread() -> None:
    with pytest.raises(TargetError, match="at least 1 thread"):
        Target("cpu", "onnxruntime", "fp32", 0)


def test_targets_are_probed() -> None:
    statuses = list_targets()
    assert [status.slug for status in statuses] == list(TARGETS)
    assert statuses[0].available
    assert statuses[0].missing == statuses[0].remedy == ""


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
(status,) = list_targets()
assert not status.available and {missing!r} in status.missing and "pip install '.[cpu]'" in status.remedy, status
try:
    open_engine(b"", Target.parse("cpu-onnxruntime-fp32-1t"))
except TargetError as error:
    assert {missing!r} in str(error) and "pip install '.[cpu]'" in str(error), error
else:
    raise SystemExit("opened")
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])

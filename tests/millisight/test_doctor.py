"""`millisight doctor` as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from millisight.doctor import WIDTH, format_diagnosis
from runtime.doctor import Diagnosis, EngineFinding, Finding, Section
from runtime.requirements import REQUIREMENTS
from tests.fresh import Fresh

ONNXRUNTIME = "class InferenceSession: pass\ndef get_available_providers(): return ['CPUExecutionProvider']\n"


@pytest.fixture
def fresh(tmp_path: Path) -> Fresh:
    """An installation with one engine."""
    made = Fresh(tmp_path)
    made.plant("onnxruntime", ONNXRUNTIME, onnxruntime="1.31.1")
    return made


def doctor(fresh: Fresh, *arguments: str) -> subprocess.CompletedProcess[str]:
    return fresh.run("-P", "-m", "millisight.cli", "doctor", *arguments)


def test_one_engine_is_enough_and_two_clashing_packages_are_not(fresh: Fresh) -> None:
    done = doctor(fresh)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "usable: cpu-onnxruntime; broken: nothing" in done.stdout
    assert all(backend in done.stdout for backend in REQUIREMENTS)
    assert "onnxruntime 1.31.1" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= WIDTH
    fresh.plant(onnxruntime_gpu="1.31.1")
    broken = doctor(fresh)
    assert broken.returncode == 1
    assert "usable: cpu-onnxruntime; broken: onnxruntime" in broken.stdout
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in broken.stdout
    assert "Traceback" not in broken.stderr


def test_a_folder_that_is_no_bundle_is_a_finding_and_exit_code_1(fresh: Fresh) -> None:
    (fresh.folder / "nothing").mkdir()
    done = doctor(fresh, "nothing", "--json")
    assert done.returncode == 1
    content = json.loads(done.stdout)
    assert content["healthy"] is False
    assert content["usable"] == ["cpu-onnxruntime"]
    found = Diagnosis.model_validate({"sections": content["sections"]})
    assert {engine.subject for engine in found.engines} == set(REQUIREMENTS)
    assert [(finding.subject, finding.state) for finding in found.sections[-1].findings] == [("files", "broken")]
    assert "manifest.json" in found.broken[0].detail


def test_this_machine_is_looked_at_without_a_crash(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "millisight.cli", "doctor", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    content = json.loads(done.stdout)
    assert "cpu-onnxruntime" in content["usable"]
    assert content["healthy"] == (done.returncode == 0)
    assert "Traceback" not in done.stderr


def test_commands_are_not_broken_within_a_word() -> None:
    engine = EngineFinding(
        subject="cuda-tensorrtrtx", state="missing", detail="There is none. " * 20, versions={"tensorrt-rtx": "1.7"},
        remedy="Run this: " * 9 + "pip install tensorrt-rtx-cu13-bindings", device="", driver="",
        precisions=("fp32", "fp16"),
    )  # fmt: skip
    other = Finding(subject="x", state="ok", detail="")
    text = format_diagnosis(Diagnosis(sections=(Section(title="engines", findings=(engine, other)),)), 60)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 60
    assert any("tensorrt-rtx-cu13-bindings" in line for line in lines)
    assert "  missing  cuda-tensorrtrtx  tensorrt-rtx 1.7; fp32, fp16" in lines
    assert "  ok       x" in lines

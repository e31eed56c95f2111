"""The doctor in environments that are really like that: fresh ones, with packages and drivers planted in them."""

import hashlib
import importlib.metadata
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime import Bundle, EngineRecord, Manifest, write_bundle
from runtime.doctor import Diagnosis, EngineFinding, Finding, Section, look_at_bundle, look_at_engine, look_at_machine
from runtime.doctor.child import ask_child
from runtime.doctor.packages import ENGINE_PACKAGES, TOOLS
from runtime.requirements import DISTRIBUTIONS, REQUIREMENTS
from tests.fresh import Fresh
from tests.runtime.test_cuda import DRIVER

ONNXRUNTIME = "class InferenceSession: pass\ndef get_available_providers(): return ['CPUExecutionProvider']\n"


@pytest.fixture
def fresh(tmp_path: Path) -> Fresh:
    return Fresh(tmp_path)


def look(fresh: Fresh, expression: str, **environment: str) -> list[dict[str, Any]]:
    """The findings that an expression gives in an environment."""
    code = f"import json\nfrom runtime.doctor import *\nprint(json.dumps([f.model_dump() for f in {expression}]))"
    done = fresh.run("-c", code, **environment)
    assert done.returncode == 0, done.stderr
    findings: list[dict[str, Any]] = json.loads(done.stdout)
    return findings


def engines(fresh: Fresh, *backends: str, seconds: float = 60.0) -> list[dict[str, Any]]:
    return look(fresh, f"[look_at_engine(backend, {seconds}) for backend in {backends!r}]")


def cpuinfo(folder: Path, line: str) -> dict[str, Finding]:
    (folder / "proc").mkdir()
    (folder / "proc" / "cpuinfo").write_text(f"processor : 0\nmodel name : Abacus\n{line}\n")
    return {finding.subject: finding for finding in look_at_machine(folder).findings}


def test_every_backend_of_this_release_is_known() -> None:
    assert set(ENGINE_PACKAGES) == set(REQUIREMENTS) == set(DISTRIBUTIONS)


@pytest.mark.parametrize(("line", "int8", "bf16"), [
    ("flags : fpu avx2 fma", "missing", "missing"),
    ("flags : fpu avx2 avx512f avx512_vnni", "ok", "missing"),
    ("flags : avx2 avx512f avx512_bf16 amx_int8", "ok", "ok"),
    ("Features : fp asimd asimddp i8mm bf16", "ok", "ok"),
])  # fmt: skip
def test_what_the_processor_can_gain(tmp_path: Path, line: str, int8: str, bf16: str) -> None:
    found = cpuinfo(tmp_path, line)
    assert (found["int8"].state, found["bf16"].state) == (int8, bf16)
    assert found["processor"].detail == "Abacus"
    for name in {"avx2", "asimd"} & set(line.split()):
        assert name in found["instructions"].detail


def test_a_system_that_says_nothing_is_not_accused(tmp_path: Path) -> None:
    found = cpuinfo(tmp_path, "bogomips : 1")
    assert "does not say" in found["instructions"].detail
    assert "int8" not in found


def test_the_engine_of_this_machine_with_its_version() -> None:
    found = look_at_engine("cpu-onnxruntime")
    assert found.state == "ok"
    assert importlib.metadata.version("onnxruntime") in found.versions.values()
    assert "CPU is usable here" in found.detail
    assert found.device
    assert found.precisions == ("fp32", "int8")


def test_openvino_says_what_its_devices_can() -> None:
    pytest.importorskip("openvino")
    assert "OpenVINO lists for CPU: " in look_at_engine("cpu-openvino").detail


def test_rtx_engines_are_built_without_a_gpu() -> None:
    pytest.importorskip("tensorrt_rtx")
    assert "Engines can be built here, without a GPU" in look_at_engine("cuda-tensorrtrtx").detail


def test_a_bare_installation_lacks_every_engine_and_is_not_broken(fresh: Fresh) -> None:
    done = fresh.run("-c", "from runtime.doctor import diagnose\nprint(diagnose().model_dump_json())")
    found = Diagnosis.model_validate_json(done.stdout)
    assert {engine.subject for engine in found.engines} == set(REQUIREMENTS)
    assert {engine.state for engine in found.engines} == {"missing"}
    assert all("pip install" in engine.remedy for engine in found.engines)
    tools = next(section for section in found.sections if section.title == "tools").findings
    assert {tool.subject: tool.state for tool in tools} == dict.fromkeys(TOOLS, "missing")
    assert not found.broken
    assert not found.healthy  # nothing can be run


def test_a_package_that_is_installed_and_not_sound_is_broken(fresh: Fresh) -> None:
    fresh.plant("onnxruntime", f"print('loud')\nimport os\nos.write(1, b'louder')\n{ONNXRUNTIME}", onnxruntime="1.2")
    fresh.plant("openvino", "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", openvino="2")
    fresh.plant("tensorrt", "raise ImportError('libnvonnxparser.so.11: cannot open')\n", tensorrt="11.4")
    fresh.plant("tensorrt_rtx", "import a_package_nobody_has\n", tensorrt_rtx_cu13="1.7")
    loud, crashed, unlinked, lacking = engines(
        fresh, "cpu-onnxruntime", "cpu-openvino", "cuda-tensorrt", "cuda-tensorrtrtx"
    )
    assert (loud["state"], loud["versions"]) == ("ok", {"onnxruntime": "1.2"})
    assert (crashed["state"], crashed["versions"]) == ("broken", {"openvino": "2"})
    assert "SIGSEGV" in crashed["detail"]
    assert crashed["remedy"] == "pip uninstall -y openvino && pip install '.[openvino]'"
    assert unlinked["state"] == "broken"
    assert "libnvonnxparser.so.11" in unlinked["detail"]
    assert "pip uninstall -y tensorrt && pip install '.[tensorrt]'" in unlinked["remedy"]
    assert lacking["state"] == "broken"
    assert "a_package_nobody_has" in lacking["detail"]


def test_a_package_that_hangs_is_given_up(fresh: Fresh) -> None:
    fresh.plant("openvino", "import time\ntime.sleep(100)\n")
    (found,) = engines(fresh, "cpu-openvino", seconds=2.0)
    assert found["state"] == "broken"
    assert "did not answer within 2 s" in found["detail"]


def test_two_onnxruntimes_at_once_are_broken_one_is_not(fresh: Fresh) -> None:
    fresh.plant("onnxruntime", ONNXRUNTIME, onnxruntime="1.31.1")
    assert look(fresh, "filter(None, [look_for_clash()])") == []
    fresh.plant(onnxruntime_gpu="1.30.0")
    (clash,) = look(fresh, "filter(None, [look_for_clash()])")
    assert clash["state"] == "broken"
    assert "onnxruntime 1.31.1, onnxruntime-gpu 1.30.0 are installed together" in clash["detail"]
    assert clash["remedy"].startswith("pip uninstall -y onnxruntime onnxruntime-gpu && pip install '.[gpu]'")
    (engine,) = look(fresh, "[f for f in look_at_engines().findings if f.subject == 'onnxruntime']")
    assert engine == clash


def test_the_remains_of_an_uninstalled_package_are_broken(fresh: Fresh) -> None:
    (fresh.packages / "onnxruntime" / "capi").mkdir(parents=True)
    (found,) = engines(fresh, "cpu-onnxruntime")
    assert found["state"] == "broken"
    assert "empty folder" in found["detail"]
    assert found["remedy"] == "pip install '.[cpu]'"


def test_a_folder_in_the_working_directory_is_no_package(fresh: Fresh) -> None:
    (fresh.folder / "openvino.py").write_text("class Core: pass\n")
    (found,) = engines(fresh, "cpu-openvino")
    # The process that asks was started with -c and does see it; as an installed command does not.
    assert found["state"] == "broken"


def driver(folder: Path, **planted: str) -> dict[str, str]:
    """The environment variables of a machine with a driver of planted answers."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler (cc)")
    (folder / "driver.c").write_text(DRIVER)
    defines = [f"-D{name}={value}" for name, value in ({"INIT": "0", "COUNT": "1"} | planted).items()]
    libraries = folder / "libraries"
    libraries.mkdir()
    command = [compiler, "-shared", "-fPIC", *defines, "-o", str(libraries / "libcuda.so.1"), str(folder / "driver.c")]
    subprocess.run(command, check=True)
    return {"LD_LIBRARY_PATH": str(libraries)}


@pytest.mark.parametrize(("planted", "state", "detail"), [
    ({}, "ok", "Planted 7, compute capability 9.2, 7168 MiB"),
    ({"COUNT": "0"}, "missing", "sees no GPU"),
    ({"INIT": "803"}, "broken", "cuInit answered 803"),
    ({"INIT": "*(volatile int *)0"}, "broken", "SIGSEGV"),
])  # fmt: skip
def test_a_driver_works_sees_nothing_or_is_broken(
    fresh: Fresh, planted: dict[str, str], state: str, detail: str
) -> None:
    (found,) = look(fresh, "look_at_gpu().findings", **driver(fresh.folder, **planted))
    assert found["state"] == state
    assert detail in found["detail"]
    assert ("nvidia-smi" in found["remedy"]) == (state != "ok")


def test_a_driver_that_does_not_load_is_broken_an_absent_one_missing(fresh: Fresh) -> None:
    libraries = fresh.folder / "libraries"
    libraries.mkdir()
    (libraries / "libcuda.so.1").write_text("no library")
    (found,) = look(fresh, "look_at_gpu().findings", LD_LIBRARY_PATH=str(libraries))
    assert found["state"] == "broken"
    assert "does not load" in found["detail"]


@pytest.mark.parametrize(("arguments", "said"), [
    (("module_probe",), "ended with status 1 (TypeError"),
    (("no_such_program",), "ended with status 2"),
])  # fmt: skip
def test_a_child_that_does_not_answer_is_put_in_words(arguments: tuple[str, ...], said: str) -> None:
    answer = ask_child(*arguments)
    assert isinstance(answer, str)
    assert said in answer


def test_a_bundle_and_where_it_runs(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    files, targets = look_at_bundle(bundle.folder, {"cpu-onnxruntime", "cuda-tensorrt"}).findings
    assert (files.state, targets.state) == ("ok", "ok")
    runs = targets.detail.split(";")[0]
    assert runs == "Runs on cpu-onnxruntime-fp32, cuda-tensorrt-fp32"  # it has no int8 graph
    assert look_at_bundle(bundle.folder, ()).findings[1].state == "missing"
    # The planted fault: one bit of the graph.
    content = bytearray((bundle.folder / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (bundle.folder / "model.onnx").write_bytes(content)
    (damaged,) = look_at_bundle(bundle.folder, {"cpu-onnxruntime"}).findings
    assert damaged.state == "broken"
    assert "model.onnx" in damaged.detail


def with_engines(folder: Path, manifest: Manifest, model: bytes) -> Path:
    """A bundle with an engine for an old GPU, one for a new one, and one of an engine that nobody knows."""
    common = {
        "precision": "fp32", "source": hashlib.sha256(model).hexdigest(), "version": "tensorrt-rtx 1.7",
        "smallest": (1, 16, 16), "usual": (1, 16, 16), "largest": (1, 16, 16),
    }  # fmt: skip
    own = (("old", "cuda-tensorrtrtx", "7.0"), ("new", "cuda-tensorrtrtx", "9.2"), ("odd", "cuda-abacus", "9.2"))
    engines = [
        EngineRecord.model_validate({**common, "file": f"{name}.engine", "backend": backend, "capabilities": (gpu,)})
        for name, backend, gpu in own
    ]
    files = {"model.onnx": model, "card.md": b"# Small\n"} | {engine.file: b"engine" for engine in engines}
    return write_bundle(folder, manifest.model_copy(update={"engines": engines}), files).folder


def test_stored_engines_that_do_not_fit_are_named_and_no_fault(
    fresh: Fresh, make_manifest: Callable[..., Manifest], make_model: Callable[..., bytes]
) -> None:
    bundle = with_engines(fresh.folder / "bundle", make_manifest(), make_model())

    def stored(**environment: str) -> list[tuple[str, str, str]]:
        expression = f"look_at_bundle(__import__('pathlib').Path({str(bundle)!r}), ()).findings[2:]"
        return [(f["subject"], f["state"], f["detail"]) for f in look(fresh, expression, **environment)]

    old, new, odd = stored()
    assert [name for name, _, _ in (old, new, odd)] == ["old.engine", "new.engine", "odd.engine"]
    assert (old[1], new[1], odd[1]) == ("missing", "missing", "missing")
    assert "no such engine is installed" in new[2]
    assert "no engine for cuda-abacus-fp32" in odd[2]
    fresh.plant("tensorrt_rtx", "class Builder: pass\n", tensorrt_rtx="1.7")
    assert "compute capability 7.0; there is none here" in stored()[0][2]
    # A machine whose GPU has capability 9.2 takes the one that was built for it.
    old, new, odd = stored(**driver(fresh.folder))
    assert (old[1], new[1], odd[1]) == ("missing", "ok", "missing")
    assert "7.0, and this one has 9.2" in old[2]


def test_what_is_healthy() -> None:
    def engine(state: str) -> EngineFinding:
        return EngineFinding.model_validate(
            {"subject": "e", "state": state, "detail": "", "versions": {}, "device": "", "driver": "", "precisions": ()}
        )

    def diagnosis(*findings: Finding) -> Diagnosis:
        return Diagnosis(sections=(Section(title="engines", findings=findings),))

    lost, broken = Finding(subject="x", state="missing", detail=""), Finding(subject="x", state="broken", detail="")
    assert diagnosis(engine("ok"), engine("missing"), lost).healthy
    assert not diagnosis(engine("ok"), broken).healthy
    assert not diagnosis(engine("ok"), engine("broken")).healthy
    assert not diagnosis(engine("missing")).healthy

"""The command line as a user runs it: processes, files, exit codes."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from millisight.cli import main

SMOKE = ("--preset", "smoke", "--size", "64x64", "--target", "cpu-onnxruntime-fp32-1t", "--device", "cpu")
ROOMY = ("--budget-ms", "1000")  # so that a busy machine cannot make the test fail

NO_TORCH = """
import sys
# What `import` and `find_spec` see where a package is not installed.
sys.modules['torch'] = sys.modules['skimage'] = None
from millisight.cli import main
sys.argv[0] = 'millisight'
main()
"""


def millisight(*arguments: str, cwd: Path, code: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "millisight.cli"] if code is None else [sys.executable, "-c", code]
    return subprocess.run([*command, *arguments], cwd=cwd, capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """A folder in which the main job has run once, and its report."""
    folder = tmp_path_factory.mktemp("runs-here")
    done = millisight("search", "--task", "denoise", *SMOKE, *ROOMY, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    report: dict[str, object] = json.loads(done.stdout)
    return folder, report


def test_search_reports_what_the_issue_promises(finished: tuple[Path, dict[str, object]]) -> None:
    folder, report = finished
    wanted = {"task", "method", "genotype", "parameters", "predicted_ms", "measured_ms", "budget_ms"}
    wanted |= {"baseline_db", "restored_db", "bundle", "serve"}
    assert wanted <= set(report)
    assert (folder / str(report["bundle"]) / "manifest.json").is_file()
    assert str(report["bundle"]) in str(report["serve"])


def test_search_again_is_done_at_once_with_the_same_result(finished: tuple[Path, dict[str, object]]) -> None:
    folder, report = finished
    again = millisight("search", "--task", "denoise", *SMOKE, *ROOMY, "--json", cwd=folder)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == report


def test_a_bundle_is_found_restored_with_and_verified(finished: tuple[Path, dict[str, object]]) -> None:
    folder, report = finished
    rng = np.random.default_rng(0)
    photos = folder / "photos"
    photos.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(rng.integers(0, 256, (90, 71, 3), dtype=np.uint8)).save(photos / name)
    done = millisight("restore", "denoise", "photos/a.png", "-o", "clear.png", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert Image.open(folder / "clear.png").size == (71, 90)
    # The line says where it ran, and of another target than the bundle's default why.
    assert f"on {SMOKE[5].removesuffix('-1t')}-" in done.stdout
    assert "default" not in done.stdout
    asked = millisight("restore", "denoise", "photos/a.png", "-o", "c.png", "--target", "cpu-openvino-fp32", cwd=folder)
    if find_spec("openvino") is not None:
        assert "cpu-openvino-fp32" in asked.stdout, asked.stderr
        assert "as asked for; its default is cpu-onnxruntime-fp32" in asked.stdout
    else:
        assert asked.returncode == 1
        assert "pip install" in asked.stderr
    checked = millisight(
        "verify", str(report["bundle"]), "--data", "photos:clean", "--at-least", "-90", "--json", cwd=folder
    )
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["holds"] is True
    # The planted fault: a gain that no twelve-step network reaches must not hold, and must say so by its exit code.
    refused = millisight("verify", str(report["bundle"]), "--data", "photos:clean", "--at-least", "90", cwd=folder)
    assert refused.returncode == 1
    assert "does not hold" in refused.stdout


def test_restoring_works_without_torch(finished: tuple[Path, dict[str, object]]) -> None:
    folder, _ = finished
    Image.new("RGB", (33, 20), (90, 120, 40)).save(folder / "flat.png")
    done = millisight("restore", "denoise", "flat.png", "-o", "flat-out.jpg", cwd=folder, code=NO_TORCH)
    assert done.returncode == 0, done.stderr
    assert Image.open(folder / "flat-out.jpg").format == "JPEG"


def test_a_missing_package_is_named_with_its_remedy(tmp_path: Path) -> None:
    done = millisight("methods", cwd=tmp_path, code=NO_TORCH)
    assert done.returncode == 1
    assert "torch" in done.stderr
    assert "pip install" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("search", "--task", "dehaze"), "derain"),
        (("search", "--method", "nope"), "autoderain"),
        (("search", "--preset", "nope"), "smoke"),
        (("search", "--target", "cuda-nothing-fp8"), "cpu-onnxruntime-fp32"),
        (("search", "--size", "big"), "WIDTHxHEIGHT"),
        (("search", "--budget-ms", "-3"), "--budget-ms"),
        (("restore", "denoise", "missing.png", "-o", "x.png"), "missing.png"),
        (("restore", "denoise", __file__, "-o", "x.png", "--target", "cuda-nothing-fp8"), "cpu-onnxruntime-fp32"),
        (("serve", "--target", "cuda-nothing-fp8"), "cpu-onnxruntime-fp32"),
        (("latency", "measure", "--out", "t.json", "--sizes", "512"), "WIDTHxHEIGHT"),
    ],
)
def test_wrong_use_is_exit_code_2_and_says_what_is_allowed(
    arguments: tuple[str, ...],
    names: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # In this process: starting ten that import torch would take most of a minute.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["millisight", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2, said
    assert names in " ".join(said.replace("│", " ").split())


def test_a_budget_that_cannot_be_met_names_the_fastest(finished: tuple[Path, dict[str, object]]) -> None:
    folder, _ = finished
    done = millisight("search", "--task", "denoise", *SMOKE, "--budget-ms", "0.001", cwd=folder)
    assert done.returncode == 1
    assert "the fastest is predicted to take" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_table_carried_home_is_searched_with_and_its_promise_timed_on_the_device(
    finished: tuple[Path, dict[str, object]],
) -> None:
    """Here is the device, too, but the table does not say so."""
    folder, report = finished
    own = next(folder.glob("runs/*/table.json"))
    content = json.loads(own.read_text())
    for session in content["sessions"]:
        session["device"] = "Abacus 3000"
    (folder / "far.json").write_text(json.dumps(content))
    search = ("search", "--task", "denoise", *SMOKE, *ROOMY, "--out", "far")
    refused = millisight(*search, "--table", "far.json", cwd=folder)
    assert refused.returncode == 1
    assert "device Abacus 3000" in refused.stderr
    assert "--elsewhere" in refused.stderr
    unused = millisight(*search, "--table", str(own), "--elsewhere", cwd=folder)
    assert unused.returncode == 1
    assert "leave --elsewhere out" in unused.stderr

    done = millisight(*search, "--table", "far.json", "--elsewhere", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "not timed: the device is elsewhere" in done.stdout
    command = next(line for line in done.stdout.splitlines() if "time it there with" in line).split("millisight ")[1]
    timed = millisight(*command.split(), cwd=folder)
    assert timed.returncode == 0, timed.stderr
    assert "promises: " in timed.stdout
    assert timed.stdout.rstrip().endswith("\nholds")
    assert "promised for Abacus 3000" in timed.stdout
    # Bundles that were timed are timed again with the same command.
    again = millisight("verify", str(report["bundle"]), "--targets", SMOKE[5], "--no-images", "--json", cwd=folder)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["timings"][0]["recorded_device"] != "Abacus 3000"


def test_no_bundle_for_a_task_lists_what_is_there(finished: tuple[Path, dict[str, object]]) -> None:
    folder, _ = finished
    Image.new("RGB", (8, 8)).save(folder / "tiny.png")
    done = millisight("restore", "derain", "tiny.png", "-o", "x.png", cwd=folder)
    assert done.returncode == 1
    assert "denoise-autoderain" in done.stderr


@pytest.mark.slow
def test_a_latency_table_from_measuring_to_its_report(tmp_path: Path) -> None:
    measure = (
        "latency", "measure", "--out", "table.json", "--preset", "smoke", "--sizes", "64x48,32x32", *SMOKE[4:6],
    )  # fmt: skip
    done = millisight(*measure, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "unseen-size at" in done.stdout
    before = (tmp_path / "table.json").read_bytes()
    again = millisight(*measure, cwd=tmp_path)  # nothing is new
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "table.json").read_bytes() == before

    shown = millisight("latency", "show", "table.json", cwd=tmp_path)
    assert "held-out at 32x32: off by" in shown.stdout
    assert "64x48: whole network =" in shown.stdout
    content = json.loads(millisight("latency", "show", "table.json", "--json", cwd=tmp_path).stdout)
    assert [(size["width"], size["height"]) for size in content["sizes"]] == [(32, 32), (64, 48)]

    drawn = millisight("latency", "report", "table.json", "--out", "drawn", cwd=tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    assert (tmp_path / "drawn" / "latency.html").is_file()

    # A row that was edited does not follow from the timings beside it.
    content["sizes"][0]["rows"][0]["ms"] = 2 * content["sizes"][0]["rows"][0]["ms"] + 1
    (tmp_path / "edited.json").write_text(json.dumps(content))
    checked = millisight("latency", "check", "edited.json", "--share", "0.05", cwd=tmp_path)
    assert checked.returncode == 1
    assert "its timings say" in checked.stdout
    assert "--anew" in checked.stderr
    assert "Traceback" not in checked.stderr


def test_targets_for_people_fit_a_terminal(tmp_path: Path) -> None:
    done = millisight("targets", cwd=tmp_path)
    assert max(map(len, done.stdout.splitlines())) <= 110
    shown = done.stdout.split()
    assert all(target["slug"] in shown or f"{target['slug']}," in shown for target in _targets(tmp_path))
    lost = [target for target in _targets(tmp_path) if not target["available"]]
    words = " ".join(shown)
    assert all(str(target["missing"])[:40] in words for target in lost)


def _targets(folder: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(millisight("targets", "--json", cwd=folder).stdout)
    return found


def test_targets_for_machines(tmp_path: Path) -> None:
    done = millisight("targets", "--json", cwd=tmp_path)
    assert {"slug", "available", "missing", "remedy"} == set(json.loads(done.stdout)[0])

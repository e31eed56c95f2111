"""The whole job on a few small pictures: it ends in a bundle, and ends alike however often it was killed."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models import Genotype
from runtime import Bundle, BundleError, Restorer
from search import BudgetError, RunError, TableError, format_report, search_latency_aware
from search.config import Plan
from search.derive import fastest_and_slowest
from search.latency.model import LatencyModel
from search.latency.table import LatencyTable
from search.pipeline import Run
from search.telemetry import run_facts
from tests.search.jobs import TARGET, Fault, Finished, KilledError, config, draw_pictures
from tests.training.exported import Exported, Kept
from training import TrainingError, load_checkpoint, save_checkpoint
from training.telemetry import families
from training.telemetry.run_metrics import RunMetrics

MakeTable = Callable[..., LatencyTable]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def finished(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """From nothing to a bundle, the latency table measured on the way. It tells all it does; other runs here do not."""
    out, place = tmp_path_factory.mktemp("runs"), Kept()
    telemetry = RunMetrics(run_facts(config(pictures)), [place], every=0.0, clock=lambda: 0.0)
    report = search_latency_aware(config(pictures), out, command="make something", telemetry=telemetry)
    folder = out / config(pictures).id
    return Finished(folder, folder / "table.json", report, place.texts[-1])


def test_every_stage_leaves_its_file(finished: Finished) -> None:
    names = {path.name for path in finished.folder.iterdir()}
    assert names == {
        "config.json", "table.json", "search.jsonl", "supernet.safetensors", "probabilities.json", "derivation.json",
        "genotype.json", "training.safetensors", "weights.safetensors", "bundle", "report.json",
        "latency",
    }  # fmt: skip
    assert json.loads((finished.folder / "report.json").read_text()) == finished.report
    shared = list((finished.folder.parent / "tables").iterdir())
    assert [path.suffix for path in shared] == [".json"]


def test_it_exports_the_whole_catalogue_and_nothing_else(finished: Finished) -> None:
    found = Exported.of(finished.metrics)
    assert {name: (kind, found.labels(name)) for name, kind in found.kinds.items()} == {
        family.name: (family.kind, {frozenset(family.labels)}) for family in families()
    }
    assert all(np.isfinite(value) for value in found.samples.values())
    done, steps = (found.values(f"millisight_run_{name}", "stage") for name in ("steps_done", "steps"))
    assert done == steps
    assert {**steps, "measure": 0} == {"measure": 0, "search": 4 + 6, "derive": 1, "train": 12, "export": 1}
    assert steps["measure"] >= 3 + 1 + 1  # sizes, networks at an unseen one, networks at the optimum
    assert found.value("millisight_run_finished") == 1.0
    assert dict(found.values("millisight_run_info", "run")) == {finished.folder.name: 1.0}
    assert (finished.folder.parent / next(iter(found.values("millisight_run_info", "report")))).is_file()


def test_what_it_exports_is_what_its_files_say(finished: Finished) -> None:
    found, report = Exported.of(finished.metrics), finished.report
    (last,) = (finished.folder / "search.jsonl").read_text().splitlines()[-1:]
    _, meta = load_checkpoint(finished.folder / "weights.safetensors")
    assert found.values("millisight_loss", "stage") == {"search": json.loads(last)["loss"], "train": meta["losses"][-1]}
    assert found.value("millisight_search_price") == json.loads(last)["price"]
    assert found.values("millisight_validation_db", "stage") == {"export": report["restored_db"]}
    for name in ("predicted", "measured", "budget"):
        seconds = pytest.approx(report[f"{name}_ms"] / 1000.0)
        assert found.values(f"millisight_network_{name}_seconds", "budget") == {"1000ms": seconds}
    probabilities = json.loads((finished.folder / "probabilities.json").read_text())
    entropies = {choice: -sum(p * math.log(p) for p in entry.values()) for choice, entry in probabilities.items()}
    assert found.values("millisight_search_choice_entropy_nats", "choice") == pytest.approx(entropies)
    model = LatencyModel(LatencyTable.load(finished.table))
    weights = {choice: torch.tensor(list(entry.values())) for choice, entry in probabilities.items()}
    expected = float(model.expectation(32, 32)(weights)) / 1000.0
    assert found.value("millisight_search_expected_seconds") == pytest.approx(expected)
    assert found.value("millisight_search_budget_seconds") == 1.0


def test_the_bundle_serves_and_its_lineage_names_its_parents(finished: Finished, pictures: Path) -> None:
    bundle = Bundle.load(finished.folder / "bundle")
    lineage = bundle.manifest.lineage
    assert lineage.genotype == Genotype.load(finished.folder / "genotype.json").id
    assert lineage.table == LatencyTable.load(finished.table).id
    assert {record.step for record in bundle.manifest.quality} == {"torch", "onnx-fp32"}
    (latency,) = bundle.manifest.latency
    assert (latency.target, latency.height, latency.width, latency.budget_ms) == (TARGET, 32, 32, 1000.0)
    assert "make something" in (bundle.folder / "card.md").read_text()
    assert config(pictures).id.endswith(bundle.manifest.name.rsplit("-", 1)[1])
    image = np.random.default_rng(0).random((3, 45, 70), dtype=np.float32)
    assert Restorer.load(bundle, TARGET).restore_array(image).shape == (3, 45, 70)


def test_the_report_is_complete_and_within_budget(finished: Finished) -> None:
    report = finished.report
    assert 0 < report["measured_ms"] <= report["budget_ms"]
    assert 0 < report["predicted_ms"] <= report["budget_ms"]
    assert report["serve"].endswith("bundle")
    assert np.isfinite([report["baseline_db"], report["restored_db"]]).all()
    assert TARGET in format_report(report)


def test_a_finished_run_is_not_run_again(finished: Finished, pictures: Path) -> None:
    def moments() -> dict[Path, int]:
        """Of everything but what is drawn and reported anew."""
        files = [path for path in finished.folder.rglob("*") if path.name != "report.json"]
        return {path: path.stat().st_mtime_ns for path in files if "latency" not in path.parts}

    before = moments()
    again = search_latency_aware(config(pictures), finished.folder.parent)
    assert again == finished.report
    assert moments() == before


def assert_same_result(ours: Path, theirs: Path) -> None:
    for name in ("genotype.json", "probabilities.json", "search.jsonl"):
        assert (ours / name).read_text() == (theirs / name).read_text(), name
    for name in ("supernet", "training", "weights"):
        a, b = (load_checkpoint(folder / f"{name}.safetensors")[0] for folder in (ours, theirs))
        assert a.keys() == b.keys()
        assert all(torch.equal(tensor, b[key]) for key, tensor in a.items()), name
    a_bundle, b_bundle = (Bundle.load(folder / "bundle") for folder in (ours, theirs))
    assert a_bundle.manifest.files["model.onnx"] == b_bundle.manifest.files["model.onnx"]


# In order: a run takes 4 batches to warm up, 2 x 6 to search and 12 to train, with a checkpoint now and then.
FAULTS = (
    ("warm-up", Fault(batches=3), "supernet.safetensors"),
    ("search", Fault(batches=7), "supernet.safetensors"),
    ("derivation", Fault(function="derive_verified"), "probabilities.json"),
    ("training", Fault(batches=6), "training.safetensors"),
    ("weights", Fault(function="save_checkpoint"), "training.safetensors"),
    ("export", Fault(function="write_run_bundle"), "weights.safetensors"),
    ("report", Fault(function="evaluate"), "bundle"),
)


def test_killed_in_every_stage_it_ends_alike(
    finished: Finished, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run that dies seven times and tells nobody, against one that never did and told all."""
    folder = tmp_path / config(pictures).id
    for number, (stage, fault, left) in enumerate(FAULTS):
        with monkeypatch.context() as patch:
            fault.plant(patch)
            with pytest.raises(KilledError):
                search_latency_aware(config(pictures), tmp_path, table=finished.table)
        assert (folder / left).exists(), stage
        torch.manual_seed(1000 + number)  # whatever the next process does with torch's own randomness
    search_latency_aware(config(pictures), tmp_path, table=finished.table)
    assert_same_result(finished.folder, folder)


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({"height": 33}, RunError, "take multiples of"),
        ({"device": "tpu"}, TrainingError, "unknown device 'tpu'"),
        ({"teacher": "nowhere"}, BundleError, "nowhere is not a bundle"),
    ],
)
def test_what_cannot_be_done_is_refused_before_there_is_a_folder(
    values: dict[str, Any], error: type[Exception], text: str, pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=text):
        search_latency_aware(config(pictures, **values), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_seed_ends_otherwise(finished: Finished, pictures: Path, tmp_path: Path) -> None:
    """The planted fault of the test above: what it compares does depend on the run."""
    other = config(pictures, seed=1)
    search_latency_aware(other, tmp_path, table=finished.table)
    with pytest.raises(AssertionError):
        assert_same_result(finished.folder, tmp_path / other.id)


def test_a_wrong_table_is_refused_and_does_not_stay(
    finished: Finished, pictures: Path, tmp_path: Path, make_table: MakeTable
) -> None:
    wrong = tmp_path / "wrong.json"
    make_table(space_version=99).save(wrong)
    quick = config(pictures, search={"steps": 1, "warmup": 1}, train={"steps": 1})
    with pytest.raises(TableError, match="measured for something else: space unet v99"):
        search_latency_aware(quick, tmp_path, table=wrong)
    search_latency_aware(quick, tmp_path, table=finished.table)


def test_weights_of_another_genotype_are_refused(finished: Finished, pictures: Path, tmp_path: Path) -> None:
    folder = tmp_path / config(pictures).id
    folder.mkdir()
    for name in ("config.json", "table.json", "genotype.json"):
        (folder / name).write_bytes((finished.folder / name).read_bytes())
    tensors, _ = load_checkpoint(finished.folder / "weights.safetensors")
    save_checkpoint(folder / "weights.safetensors", tensors, {"genotype": "another", "losses": []})
    with pytest.raises(RunError, match=r"belongs to genotype another, not .*; delete it"):
        search_latency_aware(config(pictures), tmp_path)


def test_an_impossible_budget_names_the_fastest_before_anything_is_trained(
    finished: Finished, pictures: Path, tmp_path: Path
) -> None:
    tight = config(pictures, budget_ms=1e-6, search={"steps": 1, "warmup": 1})
    with pytest.raises(BudgetError, match=r"the fastest is predicted to take .* ms"):
        search_latency_aware(tight, tmp_path, table=finished.table)
    assert not (tmp_path / tight.id / "training.safetensors").exists()


def test_without_a_budget_one_is_chosen_within_reach(finished: Finished, pictures: Path, tmp_path: Path) -> None:
    run = Run(config(pictures, budget_ms=None), tmp_path, finished.table)
    model = run.table()
    (budget,) = run.budgets(model)
    fastest, slowest = fastest_and_slowest(model, 32, 32)
    assert fastest <= budget.ms * 1.01
    assert budget.ms <= slowest * 1.01


def test_super_resolution_goes_the_whole_way(
    pictures: Path, finished: Finished, tmp_path: Path, make_table: MakeTable
) -> None:
    enlarging = config(
        pictures, task="super-resolution", scale=2, height=16, width=24,
        relaxations={"operation": "softmax", "width": "softmax"}, search={"patch": 8}, train={"patch": 8},
    )  # fmt: skip
    planted = tmp_path / "table.json"
    make_table(Plan(enlarging).space_config.model_dump(), sizes=((16, 24),)).save(planted)
    report = search_latency_aware(enlarging, tmp_path, table=planted)
    assert report["baseline"] == "bicubic"
    assert report["metric"] == "psnr-y"
    assert report["size"] == "24x16"
    bundle = Bundle.load(tmp_path / enlarging.id / "bundle")
    image = np.random.default_rng(0).random((3, 21, 33), dtype=np.float32)
    assert Restorer.load(bundle, TARGET).restore_array(image).shape == (3, 42, 66)
    with pytest.raises(TableError, match="config"):
        search_latency_aware(enlarging.model_copy(update={"seed": 3}), tmp_path, table=finished.table)


# Each method once, each with something that the others do not have. The table is planted: no time is spent on it.
METHOD_RUNS: tuple[dict[str, Any], ...] = (
    {"method": "hinas", "task": "denoise"},
    {"method": "manas", "task": "derain", "complexity": "paper"},
    {"method": "clearer", "task": "denoise", "complexity": "parameters"},
    {"method": "trilevel", "task": "super-resolution", "scale": 2},
    {"method": "autoderain", "task": "derain", "complexity": "flops"},
)
TINY: dict[str, Any] = {"search": {"steps": 2, "warmup": 1}, "train": {"steps": 2}}


@pytest.mark.parametrize("values", METHOD_RUNS, ids=lambda values: values["method"])
def test_every_method_goes_the_whole_way(
    values: dict[str, Any], pictures: Path, tmp_path: Path, make_table: MakeTable
) -> None:
    chosen = config(pictures, **values, **TINY)
    plan = Plan(chosen)
    planted = tmp_path / "table.json"
    make_table(plan.space_config.model_dump(mode="json"), of=plan.space.name, sizes=((32, 32),)).save(planted)
    report = search_latency_aware(chosen, tmp_path, table=planted)
    assert 0 < report["measured_ms"] <= report["budget_ms"]
    assert np.isfinite(report["restored_db"])
    folder = tmp_path / chosen.id
    genotype = Genotype.load(folder / "genotype.json")
    assert (genotype.space, genotype.config) == (plan.space.name, plan.space_config.model_dump(mode="json"))
    probabilities = json.loads((folder / "probabilities.json").read_text())
    assert set(genotype.picks) <= set(probabilities)
    scale = plan.task.scale
    image = np.random.default_rng(0).random((3, 21, 33), dtype=np.float32)
    assert Restorer.load(Bundle.load(folder / "bundle"), TARGET).restore_array(image).shape == (
        3,
        21 * scale,
        33 * scale,
    )
    (state,) = {tuple(sorted(set(line) - COMMON)) for line in map(json.loads, (folder / "search.jsonl").open())}
    assert state == (() if chosen.complexity == "paper" else ("mean_loss", "price"))


COMMON = {"step", "loss", "expected_ms", "picked_ms", "entropy"}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["hinas", "manas", "clearer", "trilevel"])
@pytest.mark.parametrize(("task", "scale"), [("derain", None), ("super-resolution", 4)])
def test_every_method_goes_from_nothing_to_a_bundle(
    method: str, task: str, scale: int | None, pictures: Path, tmp_path: Path
) -> None:
    """The table measured as well."""
    chosen = config(pictures, method=method, task=task, scale=scale)
    assert search_latency_aware(chosen, tmp_path)["measured_ms"] > 0


@pytest.mark.slow
def test_a_teacher_takes_the_place_of_the_clean_picture(finished: Finished, pictures: Path, tmp_path: Path) -> None:
    teacher = str(finished.folder / "bundle")
    ends = []
    for values in ({}, {"teacher": teacher}):
        chosen = config(pictures, **TINY, **values)
        search_latency_aware(chosen, tmp_path, table=finished.table)
        ends.append(load_checkpoint(tmp_path / chosen.id / "weights.safetensors")[0])
    alone, taught = ends
    assert any(not torch.equal(alone[name], taught[name]) for name in alone.keys() & taught.keys())
    elsewhere = config(pictures, task="derain", teacher=teacher, **TINY)
    with pytest.raises(
        RunError, match=r"teacher .* does denoise x1, this run does derain x1; name a bundle of the same"
    ):
        search_latency_aware(elsewhere, tmp_path, table=finished.table)


SCRIPT = """
import sys
from pathlib import Path
import torch
from search import RunConfig, search_latency_aware
torch.set_num_threads(1)
config, out, table = sys.argv[1:]
search_latency_aware(RunConfig.model_validate_json(config), Path(out), table=Path(table))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_by_the_system_after_every_file_it_ends_alike(
    finished: Finished, pictures: Path, tmp_path: Path
) -> None:
    """One run, killed as soon as each file appears, and then left alone; beside it one that is never killed."""
    longer = config(pictures, search={"steps": 20, "warmup": 20}, train={"steps": 80})

    def start(out: Path) -> subprocess.Popen[bytes]:
        arguments = [longer.model_dump_json(), str(out), str(finished.table)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *arguments], env=environment, stderr=subprocess.PIPE
        )  # fmt: skip

    def end(process: subprocess.Popen[bytes]) -> None:
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors.decode()[-2000:]

    folder = tmp_path / "b" / longer.id
    killed = 0
    for name in (
        "supernet.safetensors",
        "probabilities.json",
        "genotype.json",
        "training.safetensors",
        "weights.safetensors",
    ):
        process = start(tmp_path / "b")
        while process.poll() is None and not (folder / name).exists():
            time.sleep(0.002)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        _, errors = process.communicate(timeout=60)
        assert process.returncode in (0, -signal.SIGKILL), errors.decode()[-2000:]
    assert killed >= 3
    end(start(tmp_path / "b"))
    end(start(tmp_path / "a"))
    assert_same_result(tmp_path / "a" / longer.id, folder)

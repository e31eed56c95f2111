"""The whole job for a device that is elsewhere: its table is here, its clock is not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from runtime import Bundle, LatencyRecord, Restorer
from runtime.engines.onnxruntime_cpu import OnnxRuntimeEngine
from search import BudgetError, RunConfig, RunError, TableError, format_report, search_latency_aware
from search.config import Plan
from search.derive import fastest_and_slowest
from search.latency.model import LatencyModel
from search.latency.table import LatencyTable
from tests.search.jobs import TARGET, Fault, Finished, KilledError, config, draw_pictures
from training import load_checkpoint

MakeTable = Callable[..., LatencyTable]
GPU = "cuda-onnxruntime-fp32"
ENGINE = "onnxruntime-gpu 9.9"
TINY: dict[str, Any] = {"search": {"steps": 2, "warmup": 1}, "train": {"steps": 2}}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def carried(make_table: MakeTable, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a table that was measured on an Abacus 3000."""
    folder = tmp_path_factory.mktemp("tables")

    def write(target: str = GPU, device: str = "Abacus 3000", **fields: Any) -> Path:
        values = Plan(config(pictures, target=target)).space_config.model_dump(mode="json")
        table = make_table(values, sizes=((32, 32),), target=target)
        there = table.session.model_copy(update={"device": device, "engine": ENGINE, "date": "2026-02-03T04:05:06"})
        path = folder / f"{len(list(folder.iterdir()))}.json"
        table.model_copy(update={"sessions": (there,), **fields}).save(path)
        return path

    return write


def far(pictures: Path, **values: Any) -> RunConfig:
    return config(pictures, **{"target": GPU, "elsewhere": True, **values})


@pytest.fixture(scope="module")
def finished(pictures: Path, carried: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Finished:
    out, table = tmp_path_factory.mktemp("runs"), carried()
    report = search_latency_aware(far(pictures), out, table=table, command="search far away")
    return Finished(out / far(pictures).id, table, report)


def record_of(folder: Path) -> LatencyRecord:
    (record,) = Bundle.load(folder / "bundle").manifest.latency
    return record


def test_the_bundle_says_what_was_predicted_for_which_device_and_that_nothing_was_timed(finished: Finished) -> None:
    record = record_of(finished.folder)
    assert (record.measured_ms, record.spread) == (None, None)
    assert (record.target, record.device, record.engine_version) == (GPU, "Abacus 3000", ENGINE)
    assert (record.budget_ms, record.date) == (1000.0, "2026-02-03")
    assert record.predicted_error_ms == pytest.approx(0.05 * record.predicted_ms)
    assert f"| {record.predicted_ms:.4g} | not timed |" in (finished.folder / "bundle" / "card.md").read_text()


def test_the_report_says_so_too(finished: Finished) -> None:
    report = finished.report
    assert (report["measured_ms"], report["budget_share"], report["predicted_over_measured"]) == (None, None, None)
    assert 0 < report["predicted_ms"] <= report["budget_ms"]
    assert report["device"] == "Abacus 3000"
    assert report["verify"] == f"millisight verify {report['bundle']} --targets {GPU} --no-images"
    text = format_report(report)
    assert "not timed: the device is elsewhere" in text
    assert report["verify"] in text
    assert "derived and timed" not in text


def test_the_derivation_is_a_prediction(finished: Finished) -> None:
    content = json.loads((finished.folder / "derivation.json").read_text())
    (attempt,) = content["attempts"]
    assert (attempt["verdict"], content["chosen"]) == ("predicted", 0)
    assert "measured" not in attempt
    assert attempt["predicted_ms"] == finished.report["predicted_ms"]
    assert "the slowest network of the space takes" in content["note"]


def test_the_bundle_serves_on_the_processor(finished: Finished) -> None:
    image = np.random.default_rng(0).random((3, 45, 70), dtype=np.float32)
    assert Restorer.load(finished.folder / "bundle", TARGET).restore_array(image).shape == (3, 45, 70)
    assert np.isfinite(finished.report["restored_db"])


FAULTS = (
    ("search", Fault(batches=7), "supernet.safetensors"),
    ("derivation", Fault(function="derive_predicted"), "probabilities.json"),
    ("training", Fault(batches=6), "training.safetensors"),
    ("export", Fault(function="write_run_bundle"), "weights.safetensors"),
    ("report", Fault(function="evaluate"), "bundle"),
)


def test_killed_in_every_stage_it_ends_alike(
    finished: Finished, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / far(pictures).id
    table: Path | None = finished.table
    for number, (stage, fault, left) in enumerate(FAULTS):
        with monkeypatch.context() as patch:
            fault.plant(patch)
            with pytest.raises(KilledError):
                search_latency_aware(far(pictures), tmp_path, table=table)
        assert (folder / left).exists(), stage
        torch.manual_seed(1000 + number)
        table = None  # the folder has it by now
    report = search_latency_aware(far(pictures), tmp_path, table=finished.table)
    own = {"bundle", "serve", "verify", "latency_report"}  # these name the folder
    assert {k: v for k, v in report.items() if k not in own} == {
        k: v for k, v in finished.report.items() if k not in own
    }
    for name in ("genotype.json", "derivation.json", "probabilities.json", "table.json"):
        assert (folder / name).read_text() == (finished.folder / name).read_text(), name
    ours, theirs = (load_checkpoint(path / "weights.safetensors")[0] for path in (folder, finished.folder))
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in ours.items())
    files = [Bundle.load(path / "bundle").manifest.files["model.onnx"] for path in (folder, finished.folder)]
    assert files[0] == files[1]
    assert record_of(folder) == record_of(finished.folder)


def test_nothing_is_timed(
    pictures: Path, carried: Callable[..., Path], make_table: MakeTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a target that exists here, so that it is not the missing engine that keeps the clock still."""

    def timer(*_: Any) -> Any:
        raise AssertionError("something is timed")

    monkeypatch.setattr(OnnxRuntimeEngine, "timer", timer)
    chosen = far(pictures, target=TARGET, **TINY)
    report = search_latency_aware(chosen, tmp_path, table=carried(TARGET))
    assert report["measured_ms"] is None
    # The planted fault: at home a network is timed.
    own = tmp_path / "own.json"
    make_table(Plan(chosen).space_config.model_dump(mode="json"), sizes=((32, 32),)).save(own)
    with pytest.raises(AssertionError, match="something is timed"):
        search_latency_aware(config(pictures, **TINY), tmp_path, table=own)


def test_a_file_for_fp16_is_fp16_and_is_gated_here(
    pictures: Path, carried: Callable[..., Path], tmp_path: Path
) -> None:
    chosen = far(pictures, target="cuda-tensorrt-fp16", **TINY)
    search_latency_aware(chosen, tmp_path, table=carried(chosen.target))
    bundle = Bundle.load(tmp_path / chosen.id / "bundle")
    assert bundle.manifest.default_target == "cuda-tensorrt-fp16"
    notes = {entry.key: entry.value for entry in onnx.load(bundle.model_path("fp16")).metadata_props}
    assert notes["millisight.precision"] == "fp16"
    torch_db, fp32_db, fp16_db = (record.restored_db for record in bundle.manifest.quality)
    assert [record.step for record in bundle.manifest.quality] == ["torch", "onnx-fp32", "onnx-fp16"]
    assert abs(torch_db - fp32_db) <= 0.001
    assert 0 < abs(torch_db - fp16_db) <= 0.02
    image = np.random.default_rng(0).random((3, 45, 70), dtype=np.float32)
    assert Restorer.load(bundle, TARGET).restore_array(image).shape == (3, 45, 70)


def test_a_family_and_a_teacher_need_no_clock_either(finished: Finished, pictures: Path, tmp_path: Path) -> None:
    teacher = str(finished.folder / "bundle")
    chosen = far(pictures, budget_ms=(500.0, 1000.0), teacher=teacher, **TINY)
    report = search_latency_aware(chosen, tmp_path, table=finished.table)
    text = format_report(report)
    assert all(member["verify"] in text for member in report["members"])
    assert text.count("not timed") == 2


def test_without_elsewhere_it_is_refused_and_told_of_it(
    pictures: Path, carried: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(TableError, match=r"device Abacus 3000 \(wanted .*engine .*9\.9.*`millisight search --elsewhe"):
        search_latency_aware(config(pictures), tmp_path, table=carried(TARGET))
    if Plan(far(pictures)).target.missing() is not None:
        with pytest.raises(TableError, match=r"cannot be timed here: .* Or search .*`millisight search --elsewhere`"):
            search_latency_aware(config(pictures, target=GPU), tmp_path, table=carried())
    assert list(tmp_path.glob("*/table.json")) == []


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"target": "cuda-tensorrt-fp32"}, "target cuda-tensorrt-fp32"),
        ({"space_version": 99}, "space unet v99"),
        ({"protocol": "stopwatch-1"}, "protocol stopwatch-1"),
    ],
)
def test_everything_but_the_device_is_still_checked(
    fields: dict[str, Any], named: str, pictures: Path, carried: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(TableError, match=f"something else: {named}") as refused:
        search_latency_aware(far(pictures), tmp_path, table=carried(**fields))
    assert "elsewhere" not in str(refused.value)


def test_a_table_of_this_very_machine_is_not_elsewhere(pictures: Path, make_table: MakeTable, tmp_path: Path) -> None:
    own, chosen = tmp_path / "own.json", far(pictures, target=TARGET)
    make_table(Plan(chosen).space_config.model_dump(mode="json"), sizes=((32, 32),)).save(own)
    with pytest.raises(RunError, match=r"measured on this very device .* leave --elsewhere out"):
        search_latency_aware(chosen, tmp_path, table=own)


def test_elsewhere_needs_a_table_before_there_is_a_folder(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"cuda-onnxruntime-fp32 is elsewhere, .* `millisight latency measure` on the dev"
    ):
        search_latency_aware(far(pictures), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_budget_out_of_reach_shows_before_the_search(finished: Finished, pictures: Path, tmp_path: Path) -> None:
    # Out of reach by less than the table's error: nobody here can find out.
    fastest, _ = fastest_and_slowest(LatencyModel(LatencyTable.load(finished.table)), 32, 32)
    chosen = far(pictures, budget_ms=0.97 * fastest)
    with pytest.raises(BudgetError, match=r"the fastest is predicted to take .* ms"):
        search_latency_aware(chosen, tmp_path, table=finished.table)
    assert not (tmp_path / chosen.id / "search.jsonl").exists()

"""Several budgets: one table, one search, and a network each."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from runtime import Bundle
from search import BudgetError, RunConfig, RunError, format_report, search_latency_aware
from search.config import Plan
from search.derive import fastest_and_slowest
from search.latency.model import LatencyModel
from search.latency.table import LatencyTable
from tests.search.jobs import Fault, Finished, KilledError, config, draw_pictures
from training import load_checkpoint

MakeTable = Callable[..., LatencyTable]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def slow_table(make_table: MakeTable, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of hundreds of milliseconds: whatever is derived under it is faster by far, so the clock decides nothing."""
    path = tmp_path_factory.mktemp("tables") / "slow.json"
    values = Plan(config(pictures)).space_config.model_dump(mode="json")
    make_table(values, row_ms=lambda key: 50.0 + len(key.operation) * key.out_channels, sizes=((32, 32),)).save(path)
    return path


def family(pictures: Path, table: Path) -> RunConfig:
    """Budgets that ask for a fast network, for one in between, and twice for the most probable one."""
    fastest, slowest = fastest_and_slowest(LatencyModel(LatencyTable.load(table)), 32, 32)
    budgets = (fastest * 1.06, (fastest + slowest) / 2, slowest * 2, slowest * 3)
    return config(pictures, budget_ms=tuple(round(ms, 1) for ms in budgets), train={"steps": 4, "checkpoint_every": 2})


@pytest.fixture(scope="module")
def finished_family(pictures: Path, slow_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    out, chosen = tmp_path_factory.mktemp("families"), family(pictures, slow_table)
    report = search_latency_aware(chosen, out, table=slow_table, command="make several")
    return Finished(out / chosen.id, slow_table, report)


def test_several_budgets_are_several_networks_of_one_search(finished_family: Finished, pictures: Path) -> None:
    budgets = family(pictures, finished_family.table).budgets_ms
    folder, members = finished_family.folder, finished_family.report["members"]
    assert [member["budget_ms"] for member in members] == list(budgets)
    shared = {"config.json", "table.json", "search.jsonl", "supernet.safetensors", "probabilities.json", "report.json"}
    shared |= {"latency"}
    labels = [f"{ms:g}ms" for ms in budgets]
    assert {path.name for path in folder.iterdir()} == shared | set(labels)
    assert json.loads((folder / "report.json").read_text()) == finished_family.report
    names = set()
    for label, member in zip(labels, members, strict=True):
        own = {path.name for path in (folder / label).iterdir()}
        assert own >= {"derivation.json", "genotype.json", "weights.safetensors", "bundle", "report.json"}
        assert json.loads((folder / label / "report.json").read_text()) == member
        bundle = Bundle.load(folder / label / "bundle")
        names.add(bundle.manifest.name)
        assert bundle.manifest.latency[0].budget_ms == member["budget_ms"]
        assert member["predicted_ms"] <= member["budget_ms"]
        assert "the slowest network of the space takes" in member["budget_note"]
    assert len(names) == len(budgets)
    assert [m["predicted_ms"] for m in members] == sorted(m["predicted_ms"] for m in members)
    text = format_report(finished_family.report)
    assert all(member["bundle"] in text for member in members)


def test_what_two_budgets_share_is_trained_once(finished_family: Finished) -> None:
    genotypes = [member["genotype"] for member in finished_family.report["members"]]
    assert len(set(genotypes)) == 3
    assert genotypes[2] == genotypes[3]
    labels = [f"{member['budget_ms']:g}ms" for member in finished_family.report["members"]]
    trained = [(finished_family.folder / label / "training.safetensors").exists() for label in labels]
    assert trained == [True, True, True, False]
    first, again = (load_checkpoint(finished_family.folder / label / "weights.safetensors") for label in labels[2:])
    assert first[1] == again[1]
    assert all(torch.equal(tensor, again[0][name]) for name, tensor in first[0].items())


# A family takes 4 + 2 x 6 batches to search, and 4 for each training; its second member dies in every stage.
FAMILY_FAULTS = (
    ("derivation", Fault(function="derive_verified", calls=1)),
    ("training", Fault(batches=4 + 3)),
    ("export", Fault(function="write_run_bundle", calls=1)),
    ("report", Fault(function="evaluate", calls=1)),
)


def test_a_family_killed_in_its_second_member_ends_alike(
    finished_family: Finished, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = family(pictures, finished_family.table)
    for number, (_, fault) in enumerate(FAMILY_FAULTS):
        with monkeypatch.context() as patch:
            fault.plant(patch)
            with pytest.raises(KilledError):
                search_latency_aware(chosen, tmp_path, table=finished_family.table)
        torch.manual_seed(1000 + number)
    report = search_latency_aware(chosen, tmp_path, table=finished_family.table)
    folder = tmp_path / chosen.id
    assert (folder / "probabilities.json").read_text() == (finished_family.folder / "probabilities.json").read_text()
    for ours, theirs in zip(report["members"], finished_family.report["members"], strict=True):
        for name in ("genotype", "predicted_ms", "restored_db", "budget_ms"):
            assert ours[name] == theirs[name]
        files = [Bundle.load(Path(member["bundle"])).manifest.files["model.onnx"] for member in (ours, theirs)]
        assert files[0] == files[1]


def test_a_table_other_than_the_runs_is_not_left_unused(
    finished_family: Finished, pictures: Path, tmp_path: Path, make_table: MakeTable
) -> None:
    other = tmp_path / "other.json"
    make_table(Plan(config(pictures)).space_config.model_dump(mode="json"), sizes=((32, 32),)).save(other)
    chosen = family(pictures, finished_family.table)
    with pytest.raises(RunError, match=r"was begun with table \w+, .*other.json is table \w+; leave --table out"):
        search_latency_aware(chosen, finished_family.folder.parent, table=other)


def test_one_budget_of_a_family_out_of_reach_shows_before_the_search(
    pictures: Path, slow_table: Path, tmp_path: Path
) -> None:
    chosen = config(pictures, budget_ms=(5.0, 5000.0))
    with pytest.raises(BudgetError, match=r"meets 5ms@32x32: the fastest is predicted to take .* ms"):
        search_latency_aware(chosen, tmp_path, table=slow_table)
    assert not (tmp_path / chosen.id / "search.jsonl").exists()

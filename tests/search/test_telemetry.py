"""Runs and searches that are heard: killed ones, with several budgets, without a price."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from search import RunConfig, search_latency_aware
from search.budget import middle_budget
from search.config import Plan
from search.derive import fastest_and_slowest
from search.latency.model import LatencyModel
from search.latency.table import LatencyTable
from search.pipeline import Run
from search.telemetry import command_of, run_facts, run_telemetry
from tests.search.jobs import TARGET, Fault, KilledError, config, draw_pictures
from tests.search.tiny import COMPLEXITIES, SIZE, equal, log_of, run, searcher, settings, stream
from tests.training.exported import FACTS, Exported, Kept
from training.telemetry import SILENT, TelemetryError
from training.telemetry.run_metrics import RunMetrics

MakeTable = Callable[..., LatencyTable]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("pictures"))


def family(pictures: Path, table: Path, make_table: MakeTable) -> RunConfig:
    """Two budgets that ask for two networks, of a slow table: the clock decides nothing."""
    values = Plan(config(pictures)).space_config.model_dump(mode="json")
    make_table(values, row_ms=lambda key: 50.0 + len(key.operation) * key.out_channels, sizes=((32, 32),)).save(table)
    fastest, slowest = fastest_and_slowest(LatencyModel(LatencyTable.load(table)), 32, 32)
    budgets = (round(fastest * 1.06, 1), round(slowest * 2, 1))
    short = {"search": {"steps": 2, "warmup": 1}, "train": {"steps": 4, "checkpoint_every": 2}}
    return config(pictures, budget_ms=budgets, **short)


def heard(chosen: RunConfig) -> tuple[RunMetrics, Kept]:
    place = Kept()
    return RunMetrics(run_facts(chosen), [place], every=0.0, clock=lambda: 0.0), place


def steps(found: Exported) -> dict[str, tuple[float, float]]:
    """Stage -> (done, in all)."""
    done, total = (found.values(f"millisight_run_{name}", "stage") for name in ("steps_done", "steps"))
    return {stage: (done[stage], total[stage]) for stage in total}


def test_killed_in_its_second_training_and_resumed_a_family_goes_on_under_the_same_name(
    pictures: Path, make_table: MakeTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "slow.json"
    chosen = family(pictures, table, make_table)
    telemetry, place = heard(chosen)
    with monkeypatch.context() as patch:
        # 1 + 2 x 2 batches to search, 4 to train the first network, 3 of the second.
        Fault(batches=5 + 4 + 3).plant(patch)
        with pytest.raises(KilledError):
            search_latency_aware(chosen, tmp_path, table=table, telemetry=telemetry)
    killed = place.last
    assert steps(killed) == {"search": (3, 3), "derive": (2, 2), "train": (7, 8), "export": (1, 2)}
    assert killed.values("millisight_run_stage", "stage")["train"] == 1.0
    assert (killed.value("millisight_run_finished"), killed.value("millisight_run_failed")) == (0.0, 1.0)
    budgets = {f"{ms:g}ms": pytest.approx(ms / 1000.0) for ms in chosen.budgets_ms}
    assert killed.values("millisight_network_budget_seconds", "budget") == budgets
    middle = middle_budget(Run(chosen, tmp_path).budgets(LatencyModel(LatencyTable.load(table))))
    assert killed.value("millisight_search_budget_seconds") == pytest.approx(middle.ms / 1000.0)

    telemetry, place = heard(chosen)
    search_latency_aware(chosen, tmp_path, table=table, telemetry=telemetry)
    first, last = place.all[0], place.last
    assert first.value("millisight_run_failed") == 0.0
    assert set(first.values("millisight_run_info", "run")) == set(killed.values("millisight_run_info", "run"))
    # The search was not needed again, and the second training went on at its checkpoint after 2 steps.
    assert steps(last) == {"derive": (2, 2), "train": (8, 8), "export": (2, 2)}
    trained = [steps(found)["train"][0] for found in place.all if "train" in steps(found)]
    assert sorted(set(trained)) == [4.0, 7.0, 8.0]
    assert last.value("millisight_run_finished") == 1.0
    for name in ("predicted", "measured", "budget"):
        seconds = last.values(f"millisight_network_{name}_seconds", "budget")
        assert set(seconds) == set(budgets)
    assert last.values("millisight_network_predicted_seconds", "budget") == killed.values(
        "millisight_network_predicted_seconds", "budget"
    )


def test_a_search_is_told_step_by_step_and_ends_in_the_same_bits(model: LatencyModel, tmp_path: Path) -> None:
    place = Kept()
    telemetry = RunMetrics(FACTS, [place], every=0.0, clock=lambda: 0.0)
    alone, _ = run(model, "softmax", tmp_path / "alone")
    (tmp_path / "heard").mkdir()
    files = tmp_path / "heard" / "supernet.safetensors", tmp_path / "heard" / "search.jsonl"
    subject = searcher(model, "softmax", settings())
    with telemetry.running(), telemetry.stage("search"):
        result = subject.run(stream(1), stream(2), *files, telemetry=telemetry)
    assert equal(alone, result)
    assert log_of(tmp_path / "alone") == log_of(tmp_path / "heard")
    told = {steps(found)["search"][0]: found for found in place.all if "search" in steps(found)}
    assert sorted(told) == list(range(1, 14))
    for line in log_of(tmp_path / "heard"):
        found = told[line["step"]]
        assert found.values("millisight_loss", "stage")["search"] == line["loss"]
        assert found.value("millisight_search_price") == line["price"]
        entropies = found.values("millisight_search_choice_entropy_nats", "choice")
        shares = [entropies[name] / math.log(len(entry)) for name, entry in result.probabilities.items()]
        assert sum(shares) / len(shares) == pytest.approx(line["entropy"])
        assert found.value("millisight_search_expected_seconds") > 0  # in the warm-up as well
    weights = {name: torch.tensor(list(entry.values())) for name, entry in result.probabilities.items()}
    expected = float(model.expectation(*SIZE)(weights)) / 1000.0
    assert place.last.value("millisight_search_expected_seconds") == pytest.approx(expected)


def test_a_search_that_pays_no_price_has_none(model: LatencyModel, tmp_path: Path) -> None:
    place = Kept()
    telemetry = RunMetrics(FACTS, [place], every=0.0, clock=lambda: 0.0)
    subject = searcher(model, "proximal", settings(steps=1, warmup=1), COMPLEXITIES["none"])
    with telemetry.running(), telemetry.stage("search"):
        subject.run(stream(1), stream(2), tmp_path / "a.safetensors", tmp_path / "a.jsonl", telemetry=telemetry)
    assert not place.last.labels("millisight_search_price")
    assert place.last.labels("millisight_search_choice_entropy_nats")


@pytest.mark.parametrize(
    "given",
    [
        ("--metrics-dir", "m", "--task", "derain", "--push-metrics", "http://inside:9091", "--seed=1"),
        ("--metrics-dir=m", "--task", "derain", "--push-metrics=http://inside:9091", "--seed=1"),
    ],
)
def test_a_model_card_does_not_say_where_metrics_went(given: tuple[str, ...]) -> None:
    assert command_of("millisight", "search", *given) == "millisight search --task derain --seed=1"


def test_where_metrics_go_is_no_part_of_a_run(tmp_path: Path) -> None:
    plain = RunConfig(task="denoise", target=TARGET)
    assert run_telemetry(plain) is SILENT
    telemetry = run_telemetry(plain, tmp_path, "http://127.0.0.1:9091/")
    assert isinstance(telemetry, RunMetrics)
    assert len(telemetry.outlets) == 2
    assert not [name for name in RunConfig.model_fields if "metric" in name or "push" in name]
    with pytest.raises(TelemetryError, match="no folder"):
        run_telemetry(plain, tmp_path / "nowhere")
    with pytest.raises(TelemetryError, match="is no address"):
        run_telemetry(plain, push_url="nowhere")

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.records import LatencyRecord, Lineage, QualityRecord, SpeedRecord, StepRecord
from serving.errors import ModelNotFoundError
from serving.models import Catalogue, ModelKeeper
from tests.servers import write_known_bundle
from tests.serving.models.conftest import PLAIN, settings_for

INT8 = "cpu-onnxruntime-int8"


def member(folder: Path, name: str, db: float, ms: float, run: str, **fields: Any) -> None:
    """A bundle that belongs to a run and was measured."""
    lineage = Lineage(genotype="g", table="t", weights="w", onnx="o", code_version="test", config=run)
    quality = QualityRecord(
        step="onnx-fp32", dataset="kodak", metric="psnr-rgb", degraded_db=20, restored_db=db, images=24
    )
    speed = SpeedRecord(
        target=PLAIN, device="Xeon", engine_version="x 1", batch=1, height=64, width=64, ms=ms, spread=0.0,
        date="2026-01-01",
    )  # fmt: skip
    write_known_bundle(folder, name, "denoise", lineage=lineage, quality=[quality], speed=[speed], **fields)


def opened(make: Callable[..., ModelKeeper], *roots: Path, **settings: Any) -> Catalogue:
    keeper = make(settings_for(*roots, **settings))
    keeper.open()
    keeper.warm_up()
    return keeper.catalogue


@pytest.fixture(scope="module")
def mine_and_zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`runs`: a family of three. `zoo`: a better one, and one bundle each for other tasks."""
    root = tmp_path_factory.mktemp("families")
    member(root / "runs" / "a", "mine-20ms", 30.0, 20, "mine")
    member(root / "runs" / "b", "mine-50ms", 33.0, 50, "mine")
    member(root / "runs" / "c", "mine-30ms", 32.0, 30, "mine")
    member(root / "zoo" / "a", "zoo-10ms", 39.0, 10, "zoo")
    write_known_bundle(root / "zoo" / "b", "rain", "derain")
    write_known_bundle(root / "zoo" / "c", "x2", "super-resolution", scale=2)
    write_known_bundle(root / "zoo" / "d", "x4", "super-resolution", scale=4)
    return root


@pytest.fixture
def catalogue(mine_and_zoo: Path, make_keeper: Callable[..., ModelKeeper], tmp_path: Path) -> Catalogue:
    return opened(make_keeper, mine_and_zoo / "runs", mine_and_zoo / "zoo", state=tmp_path)


@pytest.mark.parametrize(
    ("task", "scale", "name", "expected"),
    [
        ("denoise", None, None, ["mine-50ms", "mine-30ms", "mine-20ms"]),
        ("denoise", 1, "best", ["mine-50ms"]),
        ("denoise", None, "balanced", ["mine-30ms"]),
        ("denoise", None, "fast", ["mine-20ms"]),
        ("denoise", None, "mine-20ms", ["mine-20ms"]),
        ("denoise", None, "zoo-10ms", ["zoo-10ms"]),
        ("derain", None, "fast", ["rain"]),
        ("super-resolution", None, None, ["x2"]),
        ("super-resolution", 4, None, ["x4"]),
        ("super-resolution", 4, "best", ["x4"]),
        ("super-resolution", None, "x4", ["x4"]),
    ],
)
def test_candidates(catalogue: Catalogue, task: str, scale: int | None, name: str | None, expected: list[str]) -> None:
    assert [model.name for model in catalogue.candidates(task, scale, name)] == expected


@pytest.mark.parametrize(
    ("task", "scale", "name"),
    [("derain", 2, None), ("denoise", None, "x2"), ("x", None, None), ("x", None, "fast"), ("denoise", 2, "best")],
)
def test_what_is_not_loaded_is_refused_with_the_list(
    catalogue: Catalogue, task: str, scale: int | None, name: str | None
) -> None:
    with pytest.raises(ModelNotFoundError, match=r"Loaded: mine-20ms \(denoise x1\), mine-50ms"):
        catalogue.candidates(task, scale, name)


def test_the_order_of_the_roots_decides_between_families(
    mine_and_zoo: Path, make_keeper: Callable[..., ModelKeeper], tmp_path: Path
) -> None:
    turned = opened(make_keeper, mine_and_zoo / "zoo", mine_and_zoo / "runs", state=tmp_path)
    assert [model.name for model in turned.candidates("denoise")] == ["zoo-10ms"]


def test_the_cards_tell_role_default_and_state(catalogue: Catalogue) -> None:
    cards = {card["name"]: card for card in catalogue.describe()}
    assert list(cards) == ["mine-20ms", "mine-50ms", "mine-30ms", "zoo-10ms", "rain", "x2", "x4"]
    assert [cards[name]["roles"] for name in ("mine-20ms", "mine-30ms", "mine-50ms", "rain")] == [
        ["fast"], ["balanced"], ["best"], ["fast", "balanced", "best"],
    ]  # fmt: skip
    assert [name for name, card in cards.items() if card["default"]] == ["mine-50ms", "rain", "x2", "x4"]
    best = cards["mine-50ms"]
    assert (best["family"], best["db"], best["state"], best["slots"], best["threads"]) == ("mine", 33.0, "ready", 1, 1)
    assert (best["batch"], best["target"], best["drift"]) == (1, PLAIN, None)
    assert best["expected_ms"] > 0
    assert all("files" not in card and "models" not in card for card in cards.values())


def test_the_cards_are_plain_json_without_paths(catalogue: Catalogue, mine_and_zoo: Path) -> None:
    text = json.dumps(catalogue.describe(), allow_nan=False)
    assert str(mine_and_zoo) not in text
    assert json.loads(text) == catalogue.describe()


def test_before_the_warm_up_everything_is_loading(zoo: Path, make_keeper: Callable[..., ModelKeeper]) -> None:
    keeper = make_keeper(settings_for(zoo))
    keeper.open()
    assert not keeper.catalogue.ready
    assert {card["state"] for card in keeper.catalogue.describe()} == {"loading"}
    keeper.warm_up()
    assert keeper.catalogue.ready
    assert {card["state"] for card in keeper.catalogue.describe()} == {"ready"}


def test_what_was_not_timed_is_null_in_the_card(tmp_path: Path, make_keeper: Callable[..., ModelKeeper]) -> None:
    record = LatencyRecord(
        target="cuda-tensorrt-fp16", device="Abacus 3000", height=64, width=64, predicted_ms=4.5, budget_ms=5.0,
        engine_version="tensorrt 9", date="2026-01-01",
    )  # fmt: skip
    write_known_bundle(tmp_path / "served", "far", "derain", latency=[record])
    (card,) = opened(make_keeper, tmp_path / "served").describe()
    (shown,) = card["latency"]
    assert shown["measured_ms"] is None
    assert (shown["device"], shown["predicted_ms"]) == ("Abacus 3000", 4.5)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Three bundles whose fastest targets differ; nobody has that of the third."""
    both = {"fp32": "model.onnx", "int8": "model-int8.onnx"}
    speed = SpeedRecord(
        target=f"{INT8}-2t", device="Some CPU", engine_version="x 1", batch=1, height=64, width=64, ms=1.5, spread=0.0,
        date="2026-01-01",
    )  # fmt: skip
    steps = [
        StepRecord(name="export", status="ok", db_lost=0.0),
        StepRecord(name="fp16", status="skipped", why="no GPU"),
    ]
    root = tmp_path / "mixed"
    write_known_bundle(root / "a", "usual", "derain", default_reason="nothing was faster")
    write_known_bundle(root / "b", "small", "denoise", models=both, default_target=INT8, speed=[speed], steps=steps)
    write_known_bundle(root / "c", "far", "derain", models=both, default_target="abacus-beads-fp32", speed=[speed])
    return root


def test_each_model_runs_on_its_own_target_and_the_log_says_why(
    mixed: Path, make_keeper: Callable[..., ModelKeeper], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "bentoml.service.millisight"):
        found = opened(make_keeper, mixed, target="auto", threads=2)
    assert {model.name: model.target.slug for model in found.models} == {
        "usual": "cpu-onnxruntime-fp32-2t", "small": f"{INT8}-2t", "far": f"{INT8}-2t",
    }  # fmt: skip
    lines = {record.getMessage().split(" runs on ")[0]: record for record in caplog.records[:3]}
    assert lines["usual"].levelname == "INFO"
    assert "nothing was faster" in lines["usual"].getMessage()
    assert lines["far"].levelname == "WARNING"
    assert "not on its default abacus-beads-fp32: this release has no engine for it" in lines["far"].getMessage()


def test_the_cards_tell_target_speed_and_steps(mixed: Path, make_keeper: Callable[..., ModelKeeper]) -> None:
    usual, small, far = opened(make_keeper, mixed, target="auto").describe()
    assert (usual["target_reason"], usual["speed"], usual["steps"]) == ("nothing was faster", [], [])
    assert small["target"].startswith(small["default_target"])
    assert [(step["name"], step["status"], step["why"], step["db_lost"]) for step in small["steps"]] == [
        ("export", "ok", "", 0.0),
        ("fp16", "skipped", "no GPU", None),
    ]
    assert (small["speed"][0]["target"], small["speed"][0]["ms"]) == (f"{INT8}-2t", 1.5)
    assert far["default_target"] == "abacus-beads-fp32"
    assert far["target"].startswith(INT8)
    assert "not on its default" in far["target_reason"]
    assert all(set(step) == {"name", "status", "why", "db_lost"} for step in small["steps"])

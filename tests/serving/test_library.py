from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.bundle import Bundle
from runtime.errors import BundleError, TargetError
from runtime.host import usable_cores
from runtime.records import LatencyRecord, SpeedRecord, StepRecord
from serving.errors import ModelNotFoundError, SettingsError
from serving.library import Library, discover
from serving.settings import Settings


@pytest.fixture(scope="module")
def library(bundle_roots: tuple[Path, Path]) -> Library:
    return Library.load(Settings(bundles=bundle_roots, target="cpu-onnxruntime-fp32-1t"))


@pytest.mark.parametrize(
    ("task", "scale", "name", "expected"),
    [
        ("derain", None, None, "derain-same"),
        ("denoise", None, None, "denoise-half"),
        ("denoise", None, "denoise-same", "denoise-same"),
        ("super-resolution", None, None, "sr-x2"),
        ("super-resolution", 4, None, "sr-x4"),
        ("super-resolution", None, "sr-x4", "sr-x4"),
    ],
)
def test_the_first_model_that_fits_answers(
    library: Library, task: str, scale: int | None, name: str | None, expected: str
) -> None:
    assert library.choose(task, scale, name).name == expected


def test_the_order_of_the_roots_decides_the_default(bundle_roots: tuple[Path, Path]) -> None:
    turned = Library.load(Settings(bundles=bundle_roots[::-1]))
    assert turned.choose("denoise").name == "denoise-same"


@pytest.mark.parametrize(
    ("task", "scale", "name"), [("derain", 2, None), ("denoise", None, "sr-x2"), ("x", None, None)]
)
def test_what_is_not_loaded_is_refused_with_the_list(
    library: Library, task: str, scale: int | None, name: str | None
) -> None:
    with pytest.raises(ModelNotFoundError, match=r"Loaded: denoise-half \(denoise x1\), denoise-same"):
        library.choose(task, scale, name)


def test_it_is_ready_only_after_the_warm_up(bundle_roots: tuple[Path, Path]) -> None:
    library = Library.load(Settings(bundles=bundle_roots))
    assert not library.ready
    library.warm_up()
    assert library.ready


def test_of_two_bundles_with_one_name_the_first_is_kept(
    tmp_path: Path, make_bundle: Callable[..., Bundle], caplog: pytest.LogCaptureFixture
) -> None:
    for root in ("a", "b"):
        make_bundle(tmp_path / root / "x", "twin", "derain")
    found = discover(Settings(bundles=(tmp_path / "b", tmp_path / "a")))
    assert [bundle.folder for bundle in found] == [tmp_path / "b" / "x"]
    assert "twin" in str(caplog.records[0].args) or "hidden" in caplog.text


def test_default_folders_may_be_missing_but_not_all(
    tmp_path: Path, make_bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="MILLISIGHT_BUNDLES"):
        discover(Settings())
    make_bundle(tmp_path / "zoo" / "x", "x", "derain")
    assert [bundle.manifest.name for bundle in discover(Settings())] == ["x"]


def test_a_folder_somebody_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nowhere"):
        discover(Settings(bundles=(tmp_path / "nowhere",)))


def test_a_damaged_bundle_or_an_unknown_target_ends_the_start(
    tmp_path: Path, make_bundle: Callable[..., Bundle]
) -> None:
    make_bundle(tmp_path / "x", "x", "derain")
    with pytest.raises(TargetError, match="cpu-onnxruntime-fp32"):
        Library.load(Settings(bundles=(tmp_path,), target="cuda-openvino-fp32"))
    (tmp_path / "x" / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(BundleError, match=r"model\.onnx"):
        Library.load(Settings(bundles=(tmp_path,)))


def test_the_description_marks_one_default_a_task_and_scale(library: Library) -> None:
    cards = library.describe()
    defaults = {(card["task"], card["scale"]): card["name"] for card in cards if card["default"]}
    assert defaults == {
        ("denoise", 1): "denoise-half",
        ("derain", 1): "derain-same",
        ("super-resolution", 2): "sr-x2",
        ("super-resolution", 4): "sr-x4",
    }
    assert all(card["target"] == "cpu-onnxruntime-fp32-1t" for card in cards)
    assert not any("files" in card for card in cards)


def test_what_was_not_timed_is_null_in_the_description(tmp_path: Path, make_bundle: Callable[..., Bundle]) -> None:
    record = LatencyRecord(
        target="cuda-tensorrt-fp16", device="Abacus 3000", height=64, width=64, predicted_ms=4.5, budget_ms=5.0,
        engine_version="tensorrt 9", date="2026-01-01",
    )  # fmt: skip
    make_bundle(tmp_path / "served", "far", "derain", latency=[record])
    library = Library.load(Settings(bundles=(tmp_path / "served",), target="cpu-onnxruntime-fp32-1t"))
    (card,) = library.describe()
    (shown,) = card["latency"]
    assert shown["measured_ms"] is None
    assert (shown["device"], shown["predicted_ms"]) == ("Abacus 3000", 4.5)


INT8 = "cpu-onnxruntime-int8"


@pytest.fixture
def mixed(tmp_path: Path, make_bundle: Callable[..., Bundle]) -> Path:
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
    make_bundle(tmp_path / "a", "usual", "derain", default_reason="nothing was faster")
    make_bundle(tmp_path / "b", "small", "denoise", models=both, default_target=INT8, speed=[speed], steps=steps)
    make_bundle(tmp_path / "c", "far", "derain", models=both, default_target="abacus-beads-fp32", speed=[speed])
    return tmp_path


def test_each_model_runs_on_its_own_target_and_the_log_says_why(mixed: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "bentoml.service.millisight"):
        library = Library.load(Settings(bundles=(mixed,)))
    library.warm_up()
    assert {model.name: model.restorer.target.kind for model in library.models} == {
        "usual": "cpu-onnxruntime-fp32", "small": INT8, "far": INT8,
    }  # fmt: skip
    assert {model.restorer.target.threads for model in library.models} == {usable_cores()}
    lines = {record.getMessage().split(" runs on ")[0]: record for record in caplog.records[:3]}
    assert lines["usual"].levelname == "INFO"
    assert "nothing was faster" in lines["usual"].getMessage()
    assert lines["far"].levelname == "WARNING"
    assert "not on its default abacus-beads-fp32: this release has no engine for it" in lines["far"].getMessage()


def test_a_named_target_is_for_all_and_never_replaced(mixed: Path) -> None:
    library = Library.load(Settings(bundles=(mixed,), target="cpu-onnxruntime-fp32-1t"))
    assert {model.restorer.target.slug for model in library.models} == {"cpu-onnxruntime-fp32-1t"}
    with pytest.raises(BundleError, match="no int8 file"):
        Library.load(Settings(bundles=(mixed,), target=INT8))  # one of the three has none


def test_the_description_tells_target_speed_and_steps(mixed: Path) -> None:
    usual, small, far = Library.load(Settings(bundles=(mixed,))).describe()
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

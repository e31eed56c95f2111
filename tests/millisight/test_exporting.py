"""`millisight export`: which folders it takes, what it refuses, what it prints and what its exit code says."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from export import export_onnx, extend_bundle
from millisight.cli import app
from millisight.exporting import ExportSourceError, find_sources
from models import get_space
from runtime import Bundle, MillisightError
from search import Budget
from tests.export.subjects import make_subject, swapped_channels, tiny_network
from tests.search.jobs import config, draw_pictures
from training.checkpoint import save_checkpoint

FLOAT = "cpu-onnxruntime-fp32"


def invoke(*arguments: object) -> tuple[int, str, str, BaseException | None]:
    done = CliRunner().invoke(app, ["export", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr, done.exception


def make_member(folder: Path, seed: int = 0) -> None:
    """What a run leaves of one network: genotype, weights, and a bundle of both."""
    space = get_space("unet")
    space_config = space.parse_config({"channels": (8, 16), "blocks": 1, **space.task_config(1)})
    genotype = space.genotype(space_config, space.random_picks(space_config, np.random.default_rng(seed)))
    torch.manual_seed(seed)
    network = space.build(genotype).eval()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "genotype.json").write_text(genotype.to_json())
    weights = folder / "weights.safetensors"
    save_checkpoint(weights, network.state_dict(), {"genotype": genotype.id})
    bundle = make_subject(folder / "bundle", network).bundle
    lineage = bundle.manifest.lineage.model_copy(
        update={"genotype": genotype.id, "weights": hashlib.sha256(weights.read_bytes()).hexdigest()[:16]}
    )
    changed = bundle.manifest.model_copy(update={"files": {}, "lineage": lineage})
    extend_bundle(bundle, changed, {"model.onnx": export_onnx(network, network.multiple)})


def make_run(folder: Path, pictures: Path, **values: Any) -> Path:
    chosen = config(pictures, **values)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(chosen.model_dump(mode="json")))
    labels = [Budget(ms, 32, 32).label for ms in chosen.budgets_ms] if len(chosen.budgets_ms) > 1 else ["."]
    for seed, label in enumerate(labels):
        make_member(folder / label, seed)
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    return draw_pictures(folder)


def test_a_run_is_exported_over_its_bundle(pictures: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", pictures)
    code, said, progress, _ = invoke(run, "--targets", f"{FLOAT},cpu-openvino-fp32")
    assert code == 0, progress
    lines = said.splitlines()
    rows = {line.split("  ")[0]: line.split() for line in lines}
    assert rows["export"][:2] == ["export", "ok"]
    assert rows["fold"][1] == "skipped"
    assert rows[f"run {FLOAT}"][2] == "ok"
    assert rows[f"{FLOAT}-1t"][1] in "148"
    manifest = Bundle.load(run / "bundle").manifest
    assert lines[-2] == f"default: {manifest.default_target} ({manifest.default_reason})"
    assert {step.reference for step in manifest.steps if step.reference} == {"torch"}
    assert {row.dataset for row in manifest.quality} == {"held-out validation images"}
    assert (run / "export" / "export.json").is_file()
    assert "exporting" in progress
    # Once more, for machines: everything is there, and nothing but JSON is printed.
    code, said, _, _ = invoke(run, "--targets", FLOAT, "--json")
    (content,) = json.loads(said)["bundles"]
    assert code == 0
    assert content["default_target"] == manifest.default_target
    assert [step["name"] for step in content["steps"]][:3] == ["export", "fold", "simplify"]
    assert content["speed"][0]["ms"] > 0
    assert content["failed"] is False


def test_a_family_exports_every_member(pictures: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", pictures, budget_ms=(5.0, 12.5))
    assert [source.label for source in find_sources(run)] == ["5ms", "12.5ms"]
    code, said, error, _ = invoke(run, "--targets", FLOAT, "--limit", 1, "--json", "--out", tmp_path / "out")
    assert code == 0, error
    places = [content["bundle"] for content in json.loads(said)["bundles"]]
    assert places == [str(tmp_path / "out" / "5ms"), str(tmp_path / "out" / "12.5ms")]
    for place in places:
        steps = Bundle.load(place).manifest.steps
        assert [step.images for step in steps if step.name == f"run {FLOAT}"] == [1]
    assert not Bundle.load(run / "5ms" / "bundle").manifest.steps


def test_a_bundle_is_judged_on_free_photographs_or_on_the_users_own(pictures: Path, tmp_path: Path) -> None:
    folder = make_subject(tmp_path / "bundle", tiny_network(1)).bundle.folder
    assert invoke(folder, "--targets", FLOAT, "--limit", 1)[0] == 0
    assert invoke(folder, "--targets", FLOAT, "--limit", 1, "--data", pictures)[0] == 0
    manifest = Bundle.load(folder).manifest
    assert [row.dataset for row in manifest.quality] == ["photographs of scikit-image", "held-out images of pictures"]
    assert {row.step for row in manifest.quality} == {"onnx-fp32"}
    assert (tmp_path / ".bundle.export").is_dir()


def test_a_gate_that_fails_is_an_exit_code(pictures: Path, tmp_path: Path) -> None:
    import onnx

    subject = make_subject(tmp_path / "bundle", tiny_network(1))
    assert subject.network is not None
    model = onnx.load_from_string(export_onnx(subject.network, subject.network.multiple, 1, "fp16"))
    swapped_channels(model)
    manifest = subject.bundle.manifest
    both = manifest.model_copy(update={"files": {}, "models": {**manifest.models, "fp16": "model-fp16.onnx"}})
    extend_bundle(subject.bundle, both, {"model-fp16.onnx": model.SerializeToString()})
    code, said, _, _ = invoke(tmp_path / "bundle", "--targets", FLOAT, "--data", pictures)
    assert code == 1
    (row,) = [line for line in said.splitlines() if line.startswith("fp16 ")]
    assert "failed" in row
    assert "dB are lost (allowed 0.02)" in row


def refused(error: type[Exception], *arguments: object) -> str:
    code, _, _, raised = invoke(*arguments)
    assert code == 1
    assert isinstance(raised, error), raised
    assert isinstance(raised, MillisightError)
    return str(raised)


def test_a_folder_that_is_neither_is_refused(tmp_path: Path) -> None:
    assert "neither a run (it has no config.json) nor a bundle" in refused(ExportSourceError, tmp_path)


def test_an_unfinished_run_is_refused(pictures: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", pictures, budget_ms=(5.0, 12.5))
    (run / "12.5ms" / "bundle").rename(tmp_path / "elsewhere")
    said = refused(ExportSourceError, run)
    assert "12.5ms/bundle" in said
    assert "5ms/bundle," not in said
    (run / "config.json").write_text("{")
    assert "is not JSON" in refused(ExportSourceError, run)


def test_images_that_are_gone_are_asked_for(pictures: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", pictures)
    moved = pictures.rename(tmp_path / "moved")
    said = refused(ExportSourceError, run, "--targets", FLOAT)
    assert str(pictures) in said
    assert said.endswith("with --data")
    code, _, error, _ = invoke(run, "--targets", FLOAT, "--data", moved)
    assert code == 0, error


def test_weights_of_another_training_are_refused(pictures: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", pictures)
    make_member(tmp_path / "other", seed=1)
    (run / "weights.safetensors").write_bytes((tmp_path / "other" / "weights.safetensors").read_bytes())
    assert "was made from genotype" in refused(ExportSourceError, run, "--targets", FLOAT)


@pytest.mark.parametrize("targets", ["", "cpu-onnxruntime-fp32-2t", "cpu-tvm-fp32"])
def test_targets_that_cannot_be_are_refused(tmp_path: Path, targets: str) -> None:
    folder = make_subject(tmp_path / "bundle", tiny_network(1)).bundle.folder
    assert FLOAT in refused(MillisightError, folder, "--targets", targets, "--limit", 1)

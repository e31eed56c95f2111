import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from export import card_of, compose_bundle, export_onnx, extend_bundle, sample_pair
from models import Network, restore_whole
from runtime import Bundle, BundleError, Card, Manifest, Restorer, SizeContract, StepRecord, write_bundle

MakeNetwork = Callable[..., Network]
MakeManifest = Callable[..., Manifest]
SAMPLE = {"sample-degraded.png": b"before", "sample-restored.png": b"after"}


def read(data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize(("scale", "side", "shown"), [(1, 300, 192), (2, 300, 96), (4, 300, 48), (2, 50, 50)])
def test_the_sample_is_the_middle_before_and_after(scale: int, side: int, shown: int) -> None:
    rng = np.random.default_rng(0)
    degraded = rng.random((3, side, side + 6), dtype=np.float32)
    restored = degraded.repeat(scale, 1).repeat(scale, 2)
    sample = sample_pair(degraded, restored, scale)
    before, after = read(sample["sample-degraded.png"]), read(sample["sample-restored.png"])
    assert before.shape[0] == shown
    assert after.shape[:2] == (scale * before.shape[0], scale * before.shape[1])
    assert np.array_equal(before.repeat(scale, 0).repeat(scale, 1), after)  # the same view
    top, left = (side - before.shape[0]) // 2, (side + 6 - before.shape[1]) // 2
    assert abs(int(before[0, 0, 0]) - 255 * float(degraded[0, top, left])) <= 1


def test_a_composed_bundle_serves(
    make_network: MakeNetwork, make_manifest: MakeManifest, card: Card, tmp_path: Path
) -> None:
    network = make_network(2)
    image = np.random.default_rng(0).random((3, 30, 21), dtype=np.float32)
    sample = sample_pair(image, restore_whole(network, image), 2)
    size = SizeContract(multiple=network.multiple, minimum=network.multiple, tile=(32, 32), overlap=8, scale=2)
    onnx = export_onnx(network, network.multiple, 2)
    bundle = compose_bundle(tmp_path / "b", make_manifest(size=size), {"model.onnx": onnx}, card, sample)
    assert bundle.manifest.card == card
    assert sorted(bundle.manifest.files) == ["card.md", "model.onnx", "sample-degraded.png", "sample-restored.png"]
    loaded = Bundle.load(tmp_path / "b")
    restored = Restorer.load(loaded, "cpu-onnxruntime-fp32-1t").restore_array(image)
    assert restored.shape == (3, 60, 42)
    whole = restore_whole(network, image)
    inner = np.abs(restored - whole)[:, :24, :8]  # away from the padding, which the two do differently
    assert inner.max() < 1e-4
    with pytest.raises(BundleError):
        compose_bundle(tmp_path / "b", make_manifest(size=size, name="another"), {"model.onnx": onnx}, card, sample)


@pytest.fixture
def old(make_manifest: MakeManifest, card: Card, tmp_path: Path) -> Bundle:
    """Two graphs, one of which will be dropped; nothing here opens them."""
    manifest = make_manifest(models={"fp32": "model.onnx", "int8": "model-int8.onnx"})
    return compose_bundle(tmp_path / "b", manifest, {"model.onnx": b"one", "model-int8.onnx": b"two"}, card, SAMPLE)


def test_an_extended_bundle_keeps_what_still_holds(old: Bundle, make_manifest: MakeManifest, card: Card) -> None:
    step = StepRecord(name="int8", status="dropped", why="it lost 0.2 dB", db_lost=0.2)
    models = {"fp32": "model.onnx", "fp16": "model-fp16.onnx"}
    new = extend_bundle(old, make_manifest(models=models, steps=[step]), {"model-fp16.onnx": b"three"})
    assert new.folder == old.folder
    assert sorted(new.manifest.files) == ["card.md", "model-fp16.onnx", "model.onnx", *SAMPLE]
    assert (new.read("model.onnx"), new.read("model-fp16.onnx")) == (b"one", b"three")
    assert {name: new.read(name) for name in SAMPLE} == SAMPLE
    assert new.manifest.card == card
    text = new.read("card.md").decode()
    assert "| int8 | dropped | 0.2000 | - | - | it lost 0.2 dB |" in text
    assert "Pictures of leaves." in text


def test_an_extended_bundle_may_bring_a_graph_anew_and_lie_elsewhere(
    old: Bundle, make_manifest: MakeManifest, tmp_path: Path
) -> None:
    new = extend_bundle(old, make_manifest(), {"model.onnx": b"simpler"}, tmp_path / "other")
    assert new.read("model.onnx") == b"simpler"
    assert "model-int8.onnx" not in new.manifest.files
    assert Bundle.load(old.folder) == old


def test_a_graph_that_nobody_brings_is_missed(old: Bundle, make_manifest: MakeManifest) -> None:
    with pytest.raises(BundleError, match=r"needs its models model-fp16\.onnx"):
        extend_bundle(old, make_manifest(models={"fp32": "model.onnx", "fp16": "model-fp16.onnx"}), {})
    assert Bundle.load(old.folder) == old


def test_a_file_that_was_changed_in_between_is_not_carried_on(old: Bundle, make_manifest: MakeManifest) -> None:
    (old.folder / "model.onnx").write_bytes(b"eno")
    with pytest.raises(BundleError, match=r"model\.onnx .* is damaged"):
        extend_bundle(old, make_manifest(), {})


def test_a_bundle_from_before_the_record_has_its_prose_in_the_card(
    old: Bundle, make_manifest: MakeManifest, card: Card, tmp_path: Path
) -> None:
    files = {name: old.read(name) for name in ("model.onnx", "card.md", *SAMPLE)}
    bare = write_bundle(tmp_path / "bare", make_manifest(), files)
    assert bare.manifest.card is None
    assert card_of(bare) == card
    new = extend_bundle(bare, make_manifest(), {})
    assert new.manifest.card == card
    own = card.model_copy(update={"limits": "None at all."})
    assert extend_bundle(new, make_manifest(card=own), {}).manifest.card == own

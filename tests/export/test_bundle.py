import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from export import Card, card_text, compose_bundle, export_onnx, sample_pair
from models import Network, restore_whole
from runtime import Bundle, BundleError, LatencyRecord, Lineage, Manifest, QualityRecord, Restorer, SizeContract

MakeNetwork = Callable[..., Network]
CARD = Card("Pictures of leaves.", "Apache-2.0.", "Expect little.", "millisight search --preset smoke")


def manifest(scale: int = 2, **fields: Any) -> Manifest:
    content: dict[str, Any] = {
        "name": "small-x2",
        "task": "super-resolution" if scale > 1 else "denoise",
        "scale": scale,
        "size": SizeContract(multiple=4, minimum=4, tile=(32, 32), overlap=8, scale=scale),
        "receptive_field": 17,
        "lineage": Lineage(genotype="g123", table="t", weights="w", onnx="o", code_version="0", config="c"),
        "latency": [
            LatencyRecord(
                target="cpu-onnxruntime-fp32-1t", device="Some CPU", height=24, width=32, predicted_ms=9.25,
                measured_ms=9.5, spread=0.01, budget_ms=10.0, engine_version="onnxruntime 1", date="2026-01-01",
            )
        ],
        "quality": [
            QualityRecord(
                step=step, dataset="held out", metric="psnr-y", degraded_db=28.126, restored_db=29.999, images=12
            )
            for step in ("torch", "onnx-fp32")
        ],
        "method": "autoderain",
        "parameters": 4321,
        "created": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    return Manifest.model_validate(content | fields)


def test_the_card_says_what_the_manifest_says_and_what_it_cannot() -> None:
    text = card_text(manifest(), CARD)
    for part in (
        "# small-x2", "super-resolution x2", "Method: autoderain", "4321", "g123", "| 32x24 | 10 | 9.25 | 9.5 |",
        "Some CPU", "| torch | held out | psnr-y | 28.13 | 30.00 | 12 |", "| onnx-fp32 |", "Pictures of leaves.",
        "Apache-2.0.", "Expect little.", "    millisight search --preset smoke",
    ):  # fmt: skip
        assert part in text, part
    # Tables are tables: as many cells in each row as in the head.
    for block in text.split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1


def test_what_was_not_timed_is_no_number_in_the_card() -> None:
    (record,) = manifest().latency
    untimed = record.model_copy(update={"measured_ms": None, "spread": None})
    text = card_text(manifest(latency=[untimed, record]), CARD)
    assert "| 32x24 | 10 | 9.25 | not timed |" in text
    assert "| 32x24 | 10 | 9.25 | 9.5 |" in text
    assert "None" not in text


def test_a_same_size_task_has_no_scale_in_its_card() -> None:
    assert "Task: denoise." in card_text(manifest(1), CARD)


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


def test_a_composed_bundle_serves(make_network: MakeNetwork, tmp_path: Path) -> None:
    network = make_network(2)
    image = np.random.default_rng(0).random((3, 30, 21), dtype=np.float32)
    sample = sample_pair(image, restore_whole(network, image), 2)
    size = SizeContract(multiple=network.multiple, minimum=network.multiple, tile=(32, 32), overlap=8, scale=2)
    onnx = export_onnx(network, network.multiple, 2)
    bundle = compose_bundle(tmp_path / "b", manifest(size=size), onnx, CARD, sample)
    assert sorted(bundle.manifest.files) == ["card.md", "model.onnx", "sample-degraded.png", "sample-restored.png"]
    loaded = Bundle.load(tmp_path / "b")
    restored = Restorer.load(loaded, "cpu-onnxruntime-fp32-1t").restore_array(image)
    assert restored.shape == (3, 60, 42)
    whole = restore_whole(network, image)
    inner = np.abs(restored - whole)[:, :24, :8]  # away from the padding, which the two do differently
    assert inner.max() < 1e-4
    with pytest.raises(BundleError):
        compose_bundle(tmp_path / "b", manifest(size=size, name="another"), onnx, CARD, sample)

"""Every shipped bundle: small, whole, within its budget, and it does what its own sample pair shows."""

from pathlib import Path

import numpy as np
import pytest

from runtime import Bundle, BundleError, Restorer, read_image
from tasks import get_task, imresize, psnr

ZOO = Path(__file__).parents[2] / "zoo"
FOLDERS = sorted(path.parent for path in ZOO.glob("*/manifest.json"))
WANTED = {("derain", 1), ("denoise", 1), ("super-resolution", 2), ("super-resolution", 4)}
MIDDLE = slice(48, 144)
"""Of a sample's 192 pixels: its edges were restored with more of the picture around them."""


def test_there_is_a_bundle_for_every_task() -> None:
    found = {(b.manifest.task, b.manifest.scale) for b in map(Bundle.load, FOLDERS)}
    assert found == WANTED


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_it_is_small_and_tells_where_it_comes_from(folder: Path) -> None:
    assert sum(path.stat().st_size for path in folder.iterdir()) < 4 * 2**20
    card = (folder / "card.md").read_text()
    for heading in ("## Data", "## Limits", "## Licence", "## Made with", "python -m benchmarks.zoo"):
        assert heading in card
    assert "/home/" not in card


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_it_kept_its_budget_when_it_was_made(folder: Path) -> None:
    records = Bundle.load(folder).manifest.latency
    assert records
    for record in records:
        assert record.measured_ms is not None  # what is shipped was timed
        assert record.measured_ms <= record.budget_ms
        assert record.predicted_ms <= record.budget_ms


@pytest.mark.parametrize("target", ["cpu-onnxruntime-fp32-1t", "auto"])
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_it_does_what_its_sample_shows(folder: Path, target: str) -> None:
    restorer = Restorer.load(folder, target)
    manifest = restorer.bundle.manifest
    degraded = read_image(folder / "sample-degraded.png").rgb
    shown = read_image(folder / "sample-restored.png").rgb
    restored = restorer.restore_array(degraded)
    assert restored.shape == shown.shape

    def to_shown(image: np.ndarray) -> float:  # type: ignore[type-arg]
        return psnr(image[:, MIDDLE, MIDDLE], shown[:, MIDDLE, MIDDLE], channel="rgb", border=0)

    task = get_task(manifest.task, manifest.scale)
    assert to_shown(restored) > 33.0
    assert to_shown(restored) > to_shown(task.baseline(degraded)) + 3.0
    # The planted fault: a picture shifted by one pixel is not what the sample shows.
    assert to_shown(np.roll(restored, 1, axis=2)) < to_shown(restored) - 3.0
    if manifest.scale > 1:
        back = imresize(restored, 1 / manifest.scale)
        assert psnr(np.clip(back, 0, 1), degraded, channel="rgb", border=2) > 30.0


def test_a_damaged_bundle_is_refused(tmp_path: Path) -> None:
    source = FOLDERS[0]
    for path in source.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    model = tmp_path / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(bytes(content))
    with pytest.raises(BundleError, match=r"model\.onnx"):
        Bundle.load(tmp_path)

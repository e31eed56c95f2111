"""The gate: what it measures against independent arithmetic, and every fault it must refuse."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks import TASKS, Quality, Sample, Task, TaskError, ValidationPair, get_task, validation_pairs
from tasks.parity import BOUNDS, Parity, compare, remember, verdict

Image = NDArray[np.float32]
DENOISE = get_task("denoise")


def smooth(image: Image) -> Image:
    """A restoring function that gains dB on noise: the mean of each pixel and its four neighbours."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="edge")
    total = padded[:, 1:-1, 1:-1] + padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2]
    return np.clip((total + padded[:, 1:-1, 2:]) / 5, 0.0, 1.0).astype(np.float32)


@pytest.fixture(scope="module")
def pairs(samples: tuple[Sample, ...]) -> list[ValidationPair]:
    return validation_pairs(DENOISE, samples, 3)


def _one_pixel(image: Image, by: float) -> Image:
    changed = image.copy()
    changed[1, 5, 7] += np.float32(by if changed[1, 5, 7] < 0.5 else -by)
    return changed


def test_the_numbers_follow_from_the_images(pairs: list[ValidationPair]) -> None:
    def candidate(image: Image) -> Image:
        return np.clip(smooth(image) * np.float32(0.99), 0.0, 1.0)

    found = compare(smooth, candidate, DENOISE, pairs)
    differences = [np.abs(smooth(p.degraded).astype(float) - candidate(p.degraded)).ravel() for p in pairs]
    every = np.concatenate(differences)
    assert found.max_difference == pytest.approx(every.max())
    assert found.mean_difference == pytest.approx(every.mean())
    assert found.reference_db == pytest.approx(-10 * np.log10(np.mean(every**2)))
    assert found.before.restored_db == pytest.approx(
        np.mean([DENOISE.psnr(smooth(p.degraded), p.clean) for p in pairs])
    )
    assert found.after.restored_db == pytest.approx(
        np.mean([DENOISE.psnr(candidate(p.degraded), p.clean) for p in pairs])
    )
    assert found.db_lost == found.before.restored_db - found.after.restored_db
    assert found.before.degraded_db < found.before.restored_db
    assert found.before.images == len(pairs)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.name}-x{task.scale}")
def test_equal_functions_hold_every_bound_in_every_task(task: Task, samples: tuple[Sample, ...]) -> None:
    found = compare(task.baseline, task.baseline, task, validation_pairs(task, samples, 2))
    assert (found.max_difference, found.mean_difference, found.reference_db, found.db_lost) == (0.0, 0.0, None, 0.0)
    assert [verdict(found, precision) for precision in BOUNDS] == [""] * len(BOUNDS)


FAULTS: dict[str, Callable[[Image], Image]] = {
    "shifted by a pixel": lambda image: np.roll(smooth(image), 1, axis=2),
    "swapped channels": lambda image: smooth(image)[::-1],
    "two per cent darker": lambda image: smooth(image) * np.float32(0.98),
    "does nothing": lambda image: np.clip(image, 0.0, 1.0),
    "sixteen levels": lambda image: np.round(smooth(image) * 15).astype(np.float32) / np.float32(15),
}


@pytest.mark.parametrize("precision", BOUNDS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_every_image_is_refused_in_every_precision(
    pairs: list[ValidationPair], precision: str, fault: str
) -> None:
    assert "dB are lost (allowed" in verdict(compare(smooth, FAULTS[fault], DENOISE, pairs), precision)


@pytest.mark.parametrize("precision", BOUNDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("ours", [False, True], ids=["candidate", "reference"])
def test_one_value_that_is_not_finite_fails(
    pairs: list[ValidationPair], precision: str, value: float, ours: bool
) -> None:
    def broken(image: Image) -> Image:
        restored = smooth(image)
        restored[2, 3, 4] = value
        return restored

    with np.errstate(all="raise"):  # nor does it pass through a warning
        found = compare(*((broken, smooth) if ours else (smooth, broken)), DENOISE, pairs)
    assert found.max_difference == found.mean_difference == np.inf
    assert found.reference_db == -np.inf
    assert "not finite" in verdict(found, precision)


@pytest.mark.parametrize(("precision", "levels", "holds"), [
    ("fp32", 0.99, True), ("fp32", 1.01, False), ("fp16", 1.99, True), ("fp16", 2.01, False), ("int8", 9.0, True),
])  # fmt: skip
def test_single_pixels_are_bound_except_in_int8(
    pairs: list[ValidationPair], precision: str, levels: float, holds: bool
) -> None:
    found = compare(smooth, lambda image: _one_pixel(smooth(image), levels / 255), DENOISE, pairs)
    assert abs(found.db_lost) < 0.001
    why = verdict(found, precision)
    assert (why == "") == holds
    assert holds or "a pixel is off by" in why


def parity(lost: float, difference: float = 0.0) -> Parity:
    return Parity(difference, difference, Quality(20.0, 30.0, 1), Quality(20.0, 30.0 - lost, 1))


@pytest.mark.parametrize("precision", BOUNDS)
def test_the_bounds_lie_where_they_are_said_to_lie(precision: str) -> None:
    bound = BOUNDS[precision]
    assert verdict(parity(0.999 * bound.db_lost), precision) == ""
    assert verdict(parity(-5.0), precision) == ""
    assert f"dB are lost (allowed {bound.db_lost:g})" in verdict(parity(1.001 * bound.db_lost), precision)
    for lost in (float("nan"), float("inf")):
        assert verdict(parity(lost), precision)
    if bound.max_difference is not None:
        assert verdict(parity(0.0, bound.max_difference), precision) == ""
        both = verdict(parity(1.0, 1.01 * bound.max_difference), precision)
        assert "a pixel is off by" in both
        assert "dB are lost" in both


def test_only_int8_is_dropped_where_the_others_fail() -> None:
    assert {precision: bound.action for precision, bound in BOUNDS.items()} == {
        "fp32": "failed", "fp16": "failed", "int8": "dropped",
    }  # fmt: skip


def test_images_that_came_out_clean_cost_nothing(pairs: list[ValidationPair]) -> None:
    """Infinite dB on both sides are no loss, and no number that fails."""
    clean = [dataclasses.replace(pair, degraded=pair.clean) for pair in pairs]
    found = compare(lambda image: image, lambda image: image.copy(), DENOISE, clean)
    assert found.before.restored_db == np.inf
    assert found.db_lost == 0.0
    worse = compare(lambda image: image, smooth, DENOISE, clean)
    assert worse.db_lost == np.inf
    assert verdict(worse, "int8")


def test_what_cannot_be_compared_is_said(pairs: list[ValidationPair]) -> None:
    with pytest.raises(TaskError, match="give at least one pair"):
        compare(smooth, smooth, DENOISE, [])
    with pytest.raises(TaskError, match=r"gives an image of \(3, 80, 80\), the candidate \(3, 40, 80\)"):
        compare(smooth, lambda image: image[:, ::2], DENOISE, pairs)
    with pytest.raises(TaskError, match="no bounds for precision 'fp8', only for fp32, fp16, int8"):
        verdict(parity(0.0), "fp8")


def test_a_remembered_function_is_called_once_an_image(pairs: list[ValidationPair]) -> None:
    calls: list[int] = []

    def counted(image: Image) -> Image:
        calls.append(1)
        return smooth(image)

    reference = remember(counted)
    first, again = (compare(reference, smooth, DENOISE, pairs) for _ in range(2))
    assert first == again
    assert len(calls) == len(pairs)
    # Temporary arrays must not be taken for one another.
    assert all(np.array_equal(reference(pairs[0].degraded + shift), smooth(pairs[0].degraded + shift)) for shift in
               np.float32([0.0, 0.1, 0.2, 0.3]))  # fmt: skip

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tasks import TASKS, BatchStream, Sample, Task, TaskError, get_task, imresize, validation_pairs

every_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.name}-x{task.scale}")


def marked(name: str, size: int, scale: int = 1) -> Sample:
    """A pair in which every clean pixel tells its place, and the degraded one repeats it at 1 / scale."""
    y, x = np.mgrid[0:size, 0:size].astype(np.uint8)
    clean = np.stack([y // scale, x // scale, (y // scale + x // scale) // 2], axis=2)
    return Sample(name, clean, np.ascontiguousarray(clean[::scale, ::scale]))


@every_task
@settings(deadline=None, max_examples=12)
@given(patch=st.integers(1, 20), batch=st.integers(1, 4), step=st.integers(0, 2**40))
def test_batches_depend_on_seed_and_step_alone(
    task: Task, samples: tuple[Sample, ...], patch: int, batch: int, step: int
) -> None:
    first, second = (BatchStream(task, samples, patch, batch, seed=7) for _ in range(2))
    second.batch_at(step + 1)  # what was asked before does not matter
    for ours, theirs in zip(first.batch_at(step), second.batch_at(step), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == np.float32
        assert ours.flags.c_contiguous
    degraded, clean = first.batch_at(step)
    assert degraded.shape == (batch, 3, patch, patch)
    assert clean.shape == (batch, 3, patch * task.scale, patch * task.scale)
    assert 0.0 <= clean.min() <= clean.max() <= 1.0


@every_task
def test_steps_and_seeds_give_different_batches(task: Task, samples: tuple[Sample, ...]) -> None:
    stream = BatchStream(task, samples, 16, 4, seed=0)
    batches = [*(stream.batch_at(step) for step in range(4)), BatchStream(task, samples, 16, 4, seed=1).batch_at(0)]
    for degraded_or_clean in (0, 1):
        assert len({batch[degraded_or_clean].tobytes() for batch in batches}) == len(batches)


def test_patches_come_from_everywhere(samples: tuple[Sample, ...]) -> None:
    stream = BatchStream(get_task("denoise"), (marked("x", 40),), 8, 64, seed=0)
    corners = {tuple(patch[:2, 0, 0]) for step in range(12) for patch in stream.batch_at(step)[1]}
    rows = {round(float(row) * 255) for row, _ in corners}
    assert rows >= set(range(2, 38))
    assert min(rows) == 0
    assert max(rows) == 39
    used = BatchStream(get_task("denoise"), samples, 16, 64, seed=0)
    assert len(used.usable) == len(samples)


@pytest.mark.parametrize(("name", "scale"), [("denoise", 1), ("derain", 1), ("super-resolution", 4)])
def test_pairs_are_cropped_at_the_same_place(name: str, scale: int) -> None:
    task = get_task(name, scale)
    stream = BatchStream(task, (marked("x", 48 * scale, scale),), 12, 32, seed=3)
    degraded, clean = stream.batch_at(0)
    np.testing.assert_array_equal(degraded, clean[..., ::scale, ::scale])
    # Planted fault: a crop one pixel beside the other does not pass.
    assert not np.array_equal(degraded[..., 1:, :], clean[..., ::scale, ::scale][..., :-1, :])


def orientations(batch: NDArray[np.float32]) -> set[tuple[bool, bool, bool]]:
    """Which of the eight orientations occur in crops of a `marked` picture: channel 0 grows downwards."""
    found = set()
    for patch in batch:
        transposed = patch[0, 0, 0] == patch[0, -1, 0]
        rows, columns = (patch[1], patch[0]) if transposed else (patch[0], patch[1])
        found.add((bool(transposed), bool(rows[-1, 0] > rows[0, 0]), bool(columns[0, -1] > columns[0, 0])))
    return found


def test_stored_rain_is_not_turned_on_its_side() -> None:
    noisy = BatchStream(get_task("denoise"), (marked("x", 48),), 12, 128, seed=0).batch_at(0)[1]
    assert {transposed for transposed, _, _ in orientations(noisy)} == {True, False}
    assert len(orientations(noisy)) == 8
    rainy = BatchStream(get_task("derain"), (marked("x", 48),), 12, 128, seed=0).batch_at(0)[1]
    assert {transposed for transposed, _, _ in orientations(rainy)} == {False}
    assert len(orientations(rainy)) == 4
    made = BatchStream(get_task("derain"), (Sample("x", marked("x", 48).clean),), 12, 128, seed=0).batch_at(0)[1]
    assert len(orientations(made)) == 8


def test_degraded_belongs_to_clean(samples: tuple[Sample, ...]) -> None:
    degraded, clean = BatchStream(get_task("super-resolution", 2), samples, 16, 4, seed=0).batch_at(0)
    np.testing.assert_array_equal(degraded, np.clip(imresize(clean, 0.5), 0, 1))
    rainy, clean = BatchStream(get_task("derain"), samples, 16, 8, seed=0).batch_at(0)
    assert (rainy >= clean - 1e-6).all()
    noisy, clean = BatchStream(get_task("denoise"), samples, 32, 32, seed=0).batch_at(0)
    levels = (noisy - clean).std(axis=(1, 2, 3)) * 255
    assert 4.5 < levels.min() < 20
    assert 40 < levels.max() < 57


def test_both_kinds_may_be_mixed() -> None:
    black = np.zeros((20, 20, 3), np.uint8)
    mixed = (Sample("made", black), Sample("stored", black, np.full_like(black, 255)))
    degraded, _ = BatchStream(get_task("denoise"), mixed, 8, 64, seed=0).batch_at(0)
    stored = (degraded == 1.0).all(axis=(1, 2, 3))
    assert 10 < stored.sum() < 54


@every_task
def test_versions_are_each_background_once_per_severity(task: Task, samples: tuple[Sample, ...]) -> None:
    stream = BatchStream(task, samples, 16, 3, seed=5, versions=True)
    count = stream.num_versions
    assert count == len(task.severities)
    degraded, clean = stream.batch_at(9)
    assert degraded.shape == (3 * count, 3, 16, 16)
    assert clean.shape == (3 * count, 3, 16 * task.scale, 16 * task.scale)
    groups = clean.reshape(3, count, -1)
    assert all((groups[:, version] == groups[:, 0]).all() for version in range(count))
    assert not (groups[0] == groups[1]).all()
    assert len({version.tobytes() for version in degraded}) == len(degraded)
    # Nothing but (seed, step) matters, as for any other batch.
    again = BatchStream(task, samples, 16, 3, seed=5, versions=True)
    again.batch_at(2)
    for ours, theirs in zip((degraded, clean), again.batch_at(9), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    other = BatchStream(task, samples, 16, 3, seed=5, versions=True).batch_at(10)
    assert not np.array_equal(other[0], degraded)


def test_versions_lie_in_the_order_of_the_severities(samples: tuple[Sample, ...]) -> None:
    noisy, clean = BatchStream(get_task("denoise"), samples, 48, 4, seed=0, versions=True).batch_at(0)
    levels = (noisy - clean).std(axis=(1, 2, 3)).reshape(4, 3) * 255
    np.testing.assert_allclose(levels, np.tile([15.0, 25.0, 50.0], (4, 1)), rtol=0.05)
    rainy, clean = BatchStream(get_task("derain"), samples, 48, 24, seed=0, versions=True).batch_at(0)
    assert (rainy >= clean - 1e-6).all()  # same crop and orientation for all versions, or rain would darken pixels
    light, medium, heavy = (rainy - clean).reshape(24, 3, -1).mean(axis=(0, 2))
    assert light < medium < heavy
    # Planted fault: the rain of one background over another.
    assert not (rainy >= np.roll(clean, 3, axis=0) - 1e-6).all()


def test_one_severity_makes_one_version(samples: tuple[Sample, ...]) -> None:
    task = get_task("super-resolution", 2)
    plain, versions = (BatchStream(task, samples, 16, 2, seed=0, versions=flag) for flag in (False, True))
    assert plain.num_versions == versions.num_versions == 1
    for ours, theirs in zip(plain.batch_at(3), versions.batch_at(3), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert BatchStream(get_task("derain"), samples, 16, 2, seed=0).num_versions == 1


def test_a_stored_pair_has_one_version_only(samples: tuple[Sample, ...]) -> None:
    mixed = (*samples, marked("pairs/7", 48))
    with pytest.raises(TaskError, match=r"pairs/7 brings .* needs 3 of each \(light, medium, heavy\); use clean"):
        BatchStream(get_task("derain"), mixed, 16, 2, seed=0, versions=True)
    assert BatchStream(get_task("derain"), mixed, 16, 2, seed=0).usable == mixed
    shrunk = marked("pairs/7", 48, 2)  # one severity, one version: nothing is missing
    assert BatchStream(get_task("super-resolution", 2), (shrunk,), 16, 2, seed=0, versions=True).num_versions == 1


def test_small_pictures_are_left_out(samples: tuple[Sample, ...]) -> None:
    small = Sample("small", np.zeros((63, 200, 3), np.uint8))
    task = get_task("super-resolution", 4)
    assert BatchStream(task, (small, *samples), 16, 1, seed=0).usable == samples
    with pytest.raises(TaskError, match="none of 1 pictures is at least 64x64"):
        BatchStream(task, (small,), 16, 1, seed=0)


def test_unusable_arguments(samples: tuple[Sample, ...]) -> None:
    task = get_task("denoise")
    for patch, batch, seed in ((0, 1, 0), (1, 0, 0), (1, 1, -1)):
        with pytest.raises(TaskError, match="at least"):
            BatchStream(task, samples, patch, batch, seed)
    with pytest.raises(TaskError, match="from 0"):
        BatchStream(task, samples, 8, 1, 0).batch_at(-1)
    uneven = Sample("x", np.zeros((40, 40, 3), np.uint8), np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(TaskError, match=r"denoise at scale 1 needs \(40, 40\)"):
        BatchStream(task, (uneven,), 8, 1, 0)
    assert BatchStream(get_task("super-resolution", 2), (uneven,), 8, 1, 0).usable


@every_task
def test_validation_pairs_are_fixed(task: Task, samples: tuple[Sample, ...]) -> None:
    first, second = (validation_pairs(task, samples, limit=5, crop=16) for _ in range(2))
    assert [pair.name for pair in first] == [pair.name for pair in second]
    for ours, theirs in zip(first, second, strict=True):
        np.testing.assert_array_equal(ours.degraded, theirs.degraded)
        assert ours.degraded.shape == (3, 16, 16)
        assert ours.clean.shape == (3, 16 * task.scale, 16 * task.scale)
    # Different images first: five pairs of five images.
    assert len({pair.name.partition("@")[0] for pair in first}) == 5


@every_task
def test_validation_covers_every_severity_once(task: Task, samples: tuple[Sample, ...]) -> None:
    pairs = validation_pairs(task, samples, limit=1000)
    expected = {f"{sample.name}@{severity}" for sample in samples for severity in task.severities}
    assert len(pairs) == len(expected)
    assert {pair.name for pair in pairs} == expected


@pytest.mark.parametrize("crop", [None, 7, 500])
def test_validation_of_stored_pairs(crop: int | None) -> None:
    task = get_task("super-resolution", 2)
    clean = marked("x", 41, 2).clean
    sample = Sample("x", clean, np.ascontiguousarray(clean[:40:2, :40:2]))
    (pair,) = validation_pairs(task, (sample,), limit=9, crop=crop)
    assert pair.name == "x"
    assert pair.degraded.shape[1] == (7 if crop == 7 else 20)
    np.testing.assert_array_equal(pair.degraded, pair.clean[:, ::2, ::2])


def test_validation_needs_something(samples: tuple[Sample, ...]) -> None:
    task = get_task("super-resolution", 4)
    for chosen, limit, crop in (((), 1, None), (samples, 0, None), (samples, 1, 0)):
        with pytest.raises(TaskError, match="limit >= 1"):
            validation_pairs(task, chosen, limit, crop)
    with pytest.raises(TaskError, match="smaller than the scale"):
        validation_pairs(task, (Sample("x", np.zeros((3, 9, 3), np.uint8)),), 1)

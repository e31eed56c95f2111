from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tasks import TASKS, Noise, Task, TaskError, get_task, psnr, ssim

every_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.name}-x{task.scale}")


@every_task
@settings(deadline=None, max_examples=12)
@given(rows=st.integers(1, 12), columns=st.integers(1, 12), seed=st.integers(0, 999))
def test_degraded_size_is_clean_size_over_scale(task: Task, rows: int, columns: int, seed: int) -> None:
    shape = (3, rows * task.scale, columns * task.scale)
    clean = np.random.default_rng(seed).random(shape, dtype=np.float32)
    for degraded in (
        task.degrade(clean, np.random.default_rng(seed)),
        task.degrader(0)(clean, np.random.default_rng(seed)),
        *(task.evaluate_degradation(clean, "x", severity) for severity in task.severities),
    ):
        assert degraded.shape == (3, rows, columns)
        assert degraded.dtype == np.float32
        assert np.isfinite(degraded).all()
    baseline = task.baseline(degraded)
    assert baseline.shape == clean.shape
    assert 0.0 <= baseline.min() <= baseline.max() <= 1.0


@every_task
def test_degradation_follows_the_generator(task: Task, picture: NDArray[np.float32]) -> None:
    first, again, other = (task.degrade(picture, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.array_equal(first, other) is (task.name == "super-resolution")


@every_task
def test_every_severity_hurts_and_is_fixed_by_name(task: Task, picture: NDArray[np.float32]) -> None:
    for severity in task.severities:
        first, again, other = (task.evaluate_degradation(picture, name, severity) for name in ("a", "a", "b"))
        np.testing.assert_array_equal(first, again)
        assert np.array_equal(first, other) is (task.name == "super-resolution")
        score = task.psnr(task.baseline(first), picture)
        assert 5 < score < 45
        assert task.ssim(task.baseline(first), picture) < 0.999
    assert len(set(task.severities)) == len(task.severities)


def test_severities_are_ordered_from_mild_to_strong(picture: NDArray[np.float32]) -> None:
    for task in (get_task("derain"), get_task("denoise")):
        scores = [
            np.mean([task.psnr(task.evaluate_degradation(picture, str(n), severity), picture) for n in range(6)])
            for severity in task.severities
        ]
        assert scores == sorted(scores, reverse=True)


@every_task
def test_scores_use_the_convention_of_the_task(task: Task, picture: NDArray[np.float32]) -> None:
    restored = np.clip(picture + np.random.default_rng(0).normal(0, 0.05, picture.shape).astype(np.float32), 0, 1)
    restored[:, 0] = 0.0
    conventions = {"derain": ("y", 0), "denoise": ("rgb", 0), "super-resolution": ("y", task.scale)}
    channel, border = conventions[task.name]
    assert (task.metric_channel, task.border) == (channel, border)
    assert task.psnr(restored, picture) == psnr(restored, picture, channel=task.metric_channel, border=border)
    assert task.ssim(restored, picture) == ssim(restored, picture, channel=task.metric_channel, border=border)
    # A wrong border is seen in the score.
    assert task.psnr(restored, picture) != psnr(restored, picture, channel=task.metric_channel, border=border + 1)


def test_denoising_scores_are_those_of_the_noise(picture: NDArray[np.float32]) -> None:
    task = get_task("denoise")
    flat = np.full_like(picture, 0.5)
    score = task.psnr(task.evaluate_degradation(flat, "x", "sigma25"), flat)
    assert score == pytest.approx(20 * np.log10(255 / 25), abs=0.15)


def test_unclipped_noise_reaches_the_network_unless_asked() -> None:
    white = np.ones((3, 16, 16), np.float32)
    task = get_task("denoise")
    assert task.evaluate_degradation(white, "x", "sigma25").max() > 1
    clipped = replace(task, degradation=Noise(clip=True))
    assert clipped.evaluate_degradation(white, "x", "sigma25").max() <= 1


def test_registry() -> None:
    assert len({(task.name, task.scale) for task in TASKS}) == len(TASKS)
    for task in TASKS:
        assert get_task(task.name, task.scale) is task
    assert get_task("derain").scale == 1


@pytest.mark.parametrize(
    ("name", "scale", "message"),
    [
        ("dehaze", None, "there are derain, denoise, super-resolution"),
        ("super-resolution", None, "needs a scale: 2, 4"),
        ("super-resolution", 3, "no scale 3; there is 2, 4"),
        ("derain", 2, "no scale 2; there is 1"),
    ],
)
def test_unknown_tasks(name: str, scale: int | None, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        get_task(name, scale)


def test_unknown_severity(picture: NDArray[np.float32]) -> None:
    with pytest.raises(TaskError, match="sigma15, sigma25, sigma50"):
        get_task("denoise").evaluate_degradation(picture, "x", "sigma30")

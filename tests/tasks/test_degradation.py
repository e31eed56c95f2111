from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks import RAIN_PRESETS, Downscale, Noise, Rain, TaskError, add_rain, imresize, psnr


def noise_levels(noise: Noise, seeds: range) -> list[float]:
    clean = np.full((3, 64, 64), 0.5, np.float32)
    return [float((noise.degrade(clean, np.random.default_rng(seed)) - clean).std() * 255) for seed in seeds]


def test_sigma_is_drawn_from_the_whole_range() -> None:
    levels = noise_levels(Noise(), range(60))
    assert 4.8 < min(levels) < 12
    assert 48 < max(levels) < 57
    assert np.mean(levels) == pytest.approx(30, abs=6)
    assert max(noise_levels(Noise(sigma=(5, 10)), range(20))) < 10.5


def test_clip_is_not_a_dead_knob() -> None:
    clean = np.ones((3, 32, 32), np.float32)
    for clip in (False, True):
        noise = Noise(clip=clip)
        results = (
            noise.degrade(clean, np.random.default_rng(0)),
            noise.prepare(0)(clean, np.random.default_rng(0)),
            noise.degrade_at(clean, np.random.default_rng(0), "sigma25"),
        )
        for noisy in results:
            assert (noisy.max() > 1.0) is not clip
            assert noisy.min() < 1.0


def test_noise_severities() -> None:
    clean = np.full((3, 64, 64), 0.5, np.float32)
    noise = Noise(sigmas=(10.0, 12.5))
    assert noise.severities == ("sigma10", "sigma12.5")
    noisy = noise.degrade_at(clean, np.random.default_rng(0), "sigma12.5")
    assert (noisy - clean).std() * 255 == pytest.approx(12.5, rel=0.03)


def test_rain_uses_its_intensities() -> None:
    clean = np.full((3, 64, 64), 0.3, np.float32)
    only = Rain(intensities=("heavy",))
    expected_rng = np.random.default_rng(5)
    expected_rng.integers(1)
    np.testing.assert_array_equal(
        only.degrade(clean, np.random.default_rng(5)), add_rain(clean, expected_rng, RAIN_PRESETS["heavy"])
    )
    prepared = only.prepare(0)
    light = Rain(intensities=("light",)).prepare(0)
    heavy_mean = np.mean([prepared(clean, np.random.default_rng(s)).mean() for s in range(10)])
    light_mean = np.mean([light(clean, np.random.default_rng(s)).mean() for s in range(10)])
    assert heavy_mean > light_mean + 0.1


def test_prepared_rain_resembles_newly_drawn_rain() -> None:
    clean = np.full((3, 64, 64), 0.3, np.float32)
    rain = Rain()
    prepared = rain.prepare(0)
    fresh = np.array([rain.degrade(clean, np.random.default_rng(s)) for s in range(60)])
    banked = np.array([prepared(clean, np.random.default_rng(s)) for s in range(60)])
    assert banked.mean() == pytest.approx(fresh.mean(), abs=0.06)
    assert banked.std() == pytest.approx(fresh.std(), rel=0.25)


def test_rain_versions_share_the_background_and_get_worse(picture: NDArray[np.float32]) -> None:
    versions = Rain().prepare_versions(0)
    scores = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        rainy = [degrade(picture, rng) for degrade in versions]
        assert all((version >= picture - 1e-6).all() for version in rainy)
        scores.append([psnr(version, picture, channel="y", border=0) for version in rainy])
    light, medium, heavy = np.mean(scores, axis=0)
    assert light > medium + 2 > heavy + 4


def test_noise_versions_have_the_sigmas_of_validation() -> None:
    clean = np.full((3, 64, 64), 1.0, np.float32)
    for clip in (False, True):
        noise = Noise(sigmas=(15.0, 50.0), clip=clip)
        noisy = [degrade(clean, np.random.default_rng(0)) for degrade in noise.prepare_versions(0)]
        for version, severity in zip(noisy, noise.severities, strict=True):
            np.testing.assert_array_equal(version, noise.degrade_at(clean, np.random.default_rng(0), severity))
        assert (max(version.max() for version in noisy) > 1.0) is not clip


def test_there_is_one_version_of_a_shrunk_picture(picture: NDArray[np.float32]) -> None:
    (only,) = Downscale(2).prepare_versions(0)
    np.testing.assert_array_equal(
        only(picture, np.random.default_rng(0)), Downscale(2).degrade(picture, np.random.default_rng(0))
    )


def test_downscale(picture: NDArray[np.float32]) -> None:
    for scale in (2, 3, 4):
        small = Downscale(scale).degrade(picture, np.random.default_rng(0))
        np.testing.assert_array_equal(small, np.clip(imresize(picture, 1 / scale), 0, 1))
        assert small.shape == (3, 96 // scale, 96 // scale)
    with pytest.raises(TaskError, match="95x96 does not shrink evenly by 2"):
        Downscale(2).degrade(picture[:, 1:], np.random.default_rng(0))


def test_unusable_configs() -> None:
    with pytest.raises(TaskError, match="scale of at least 2"):
        Downscale(1)
    with pytest.raises(TaskError, match="light, medium, heavy"):
        Rain(intensities=("light", "monsoon"))
    with pytest.raises(TaskError, match="choose from"):
        Rain(intensities=())
    for wrong in ({"sigma": (9.0, 5.0)}, {"sigma": (-1.0, 5.0)}, {"sigmas": ()}, {"sigmas": (-5.0,)}):
        with pytest.raises(TaskError, match="low <= high"):
            replace(Noise(), **wrong)

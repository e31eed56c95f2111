from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tasks import RAIN_PRESETS, TaskError, add_rain, rain_layer
from tasks.rain import rain_bank


def streak_angle(layer: NDArray[np.float32]) -> float:
    """Main direction, in degrees from the vertical, of streaks a few pixels wide, by the structure tensor."""
    gradient_y, gradient_x = np.gradient(layer.astype(np.float64))
    xx, yy, xy = (gradient_x**2).sum(), (gradient_y**2).sum(), (gradient_x * gradient_y).sum()
    across = 0.5 * math.atan2(2 * xy, xx - yy)  # direction of the strongest change
    return -math.degrees(across)


@settings(deadline=None, max_examples=30)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    preset=st.sampled_from(sorted(RAIN_PRESETS)),
    seed=st.integers(0, 9999),
)
def test_rain_only_adds_light(height: int, width: int, preset: str, seed: int) -> None:
    clean = np.random.default_rng(seed).random((3, height, width), dtype=np.float32)
    before = clean.copy()
    rainy = add_rain(clean, np.random.default_rng(seed), RAIN_PRESETS[preset])
    assert rainy.shape == clean.shape
    assert rainy.dtype == np.float32
    assert rainy.max() <= 1.0
    assert (rainy >= clean - 1e-6).all()
    np.testing.assert_array_equal(clean, before)
    np.testing.assert_array_equal(rainy, add_rain(clean, np.random.default_rng(seed), RAIN_PRESETS[preset]))


@pytest.mark.parametrize("preset", sorted(RAIN_PRESETS))
def test_rain_is_visible_and_differs_by_seed(preset: str) -> None:
    clean = np.full((3, 96, 96), 0.3, np.float32)
    first, second = (add_rain(clean, np.random.default_rng(seed), RAIN_PRESETS[preset]) for seed in (0, 1))
    assert first.mean() > clean.mean() + 0.002
    assert np.abs(first - second).max() > 0.1


@pytest.mark.parametrize("angle", [-40.0, -15.0, 0.0, 25.0, 40.0])
def test_streaks_fall_at_the_angle_asked(angle: float) -> None:
    parameters = replace(RAIN_PRESETS["medium"], angle=(angle, angle), length=(25.0, 30.0), width=(2.0, 2.0))
    layer = rain_layer(np.random.default_rng(3), 200, 200, parameters)
    assert streak_angle(layer) == pytest.approx(angle, abs=5)


def test_wind_runs_over_the_range_of_angles() -> None:
    parameters = replace(RAIN_PRESETS["medium"], angle=(-40.0, 40.0), length=(25.0, 30.0), width=(2.0, 2.0))
    left, right = (rain_layer(np.random.default_rng(3), 200, 200, parameters, wind=wind) for wind in (0.0, 1.0))
    assert streak_angle(left) == pytest.approx(-40, abs=5)
    assert streak_angle(right) == pytest.approx(40, abs=5)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("drops", (5.0, 5.0), (60.0, 60.0)),
        ("length", (6.0, 6.0), (40.0, 40.0)),
        ("width", (0.5, 0.5), (1.5, 1.5)),
        ("strength", (0.1, 0.1), (0.8, 0.8)),
        ("veil", (0.0, 0.0), (0.2, 0.2)),
        ("layers", (1, 1), (4, 4)),
        ("screen", 1.0, 0.0),  # addition is brighter than screening
    ],
)
def test_every_parameter_matters(name: str, low: object, high: object) -> None:
    clean = np.full((3, 128, 128), 0.4, np.float32)

    def brightness(value: object) -> float:
        parameters = replace(RAIN_PRESETS["medium"], **{name: value})  # type: ignore[arg-type]
        return float(np.mean([add_rain(clean, np.random.default_rng(s), parameters).mean() for s in range(6)]))

    assert brightness(high) > brightness(low) + 0.003


def test_layers_have_no_seam() -> None:
    layer = rain_layer(np.random.default_rng(0), 120, 120, RAIN_PRESETS["heavy"]).astype(np.float64)
    for axis in (0, 1):
        steps = np.abs(layer - np.roll(layer, 1, axis=axis)).mean(axis=1 - axis)
        assert steps[0] < 2 * np.median(steps)
    # Planted fault: a layer drawn larger and cut has a seam where it would be joined.
    cut = rain_layer(np.random.default_rng(0), 240, 240, RAIN_PRESETS["heavy"])[:120, :120].astype(np.float64)
    steps = np.abs(cut - np.roll(cut, 1, axis=1)).mean(axis=0)
    assert steps[0] > 1.5 * np.median(steps)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (64, 64), (64, 200), (150, 300)])
def test_bank_layers_of_any_size(height: int, width: int) -> None:
    bank = rain_bank(RAIN_PRESETS["light"], 0, count=3, size=64)
    layer = bank.layer(np.random.default_rng(1), height, width, wind=0.99)
    assert layer.shape == (height, width)
    assert not bank.textures.flags.writeable
    assert 0.0 <= layer.min() <= layer.max() <= 1.0


def test_bank_keeps_the_wind_and_its_seed() -> None:
    parameters = replace(RAIN_PRESETS["medium"], angle=(-40.0, 40.0), length=(25.0, 30.0), width=(2.0, 2.0))
    bank = rain_bank(parameters, 0, count=9, size=160)
    for wind, angle in ((0.0, -35.6), (0.999, 35.6)):
        for seed in range(4):
            found = streak_angle(bank.layer(np.random.default_rng(seed), 160, 160, wind))
            assert found == pytest.approx(angle, abs=22)
            assert found * angle > 0
    again = rain_bank(parameters, 1, count=9, size=160)
    assert not np.array_equal(bank.textures, again.textures)


def test_unusable_arguments(picture: NDArray[np.float32]) -> None:
    with pytest.raises(TaskError, match=r"\(3, H, W\)"):
        add_rain(picture[:1], np.random.default_rng(0), RAIN_PRESETS["light"])
    with pytest.raises(TaskError, match="1x1"):
        rain_layer(np.random.default_rng(0), 0, 5, RAIN_PRESETS["light"])

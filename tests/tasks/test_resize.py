from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tasks import TaskError, get_task, imresize

# Keys' kernel at 1/4, 3/4, 5/4 and 7/4: the weights of enlarging twice, by hand.
KEYS = (0.8671875, 0.2265625, -0.0703125, -0.0234375)


def direct_resize(line: NDArray[np.float64], out: int, scale: float, *, antialias: bool = True) -> NDArray[np.float64]:
    """One axis, output by output and pixel by pixel, from the definition: no matrix, no shared code."""

    def cubic(x: float) -> float:
        x = abs(x)
        if x <= 1:
            return (1.5 * x - 2.5) * x * x + 1
        return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0

    size, stretch = len(line), min(scale, 1.0) if antialias else 1.0
    result = []
    for index in range(out):
        centre = (index + 0.5) / scale - 0.5
        total = weight_sum = 0.0
        for tap in range(math.floor(centre - 2 / stretch) - 1, math.ceil(centre + 2 / stretch) + 2):
            weight = cubic((centre - tap) * stretch)
            place = tap
            while not 0 <= place < size:  # reflect at the edge of the outer pixel until inside
                place = -1 - place if place < 0 else 2 * size - 1 - place
            total += weight * line[place]
            weight_sum += weight
        result.append(total / weight_sum)
    return np.array(result)


def test_enlarging_an_impulse_gives_the_kernel() -> None:
    line = np.zeros((1, 9), np.float32)
    line[0, 4] = 1.0
    expected = [KEYS[3], KEYS[2], KEYS[1], KEYS[0]]
    np.testing.assert_allclose(imresize(line, (1, 18))[0, 5:13], [*expected, *expected[::-1]], atol=1e-7)


def test_halving_an_impulse_gives_the_widened_kernel() -> None:
    line = np.zeros((1, 16), np.float32)
    line[0, 8] = 1.0
    expected = [KEYS[3] / 2, KEYS[1] / 2, KEYS[0] / 2, KEYS[2] / 2]
    np.testing.assert_allclose(imresize(line, (1, 8))[0, 2:6], expected, atol=1e-7)


def test_halving_without_antialiasing_fails_the_known_values() -> None:
    line = np.zeros((1, 16), np.float32)
    line[0, 8] = 1.0
    wrong = imresize(line, (1, 8), antialias=False)[0, 2:6]
    assert np.abs(wrong - [KEYS[3] / 2, KEYS[1] / 2, KEYS[0] / 2, KEYS[2] / 2]).max() > 0.1


def test_edges_are_mirrored() -> None:
    # Squares of 0..7, halved; the first and the last value depend on the mirrored taps.
    squares = (np.arange(8, dtype=np.float32) ** 2)[None]
    np.testing.assert_allclose(imresize(squares, (1, 4))[0], [0.30078125, 6.26171875, 20.42578125, 43.01171875])


@settings(deadline=None, max_examples=60)
@given(
    size=st.integers(1, 24),
    scale=st.sampled_from([0.25, 1 / 3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0]),
    seed=st.integers(0, 99),
    antialias=st.booleans(),
)
def test_agrees_with_the_direct_sum(size: int, scale: float, seed: int, antialias: bool) -> None:
    line = np.random.default_rng(seed).random(size)
    out = math.ceil(size * scale - 1e-9)
    expected = direct_resize(line, out, scale, antialias=antialias)
    wide = np.repeat(line.astype(np.float32)[None], 3, axis=0)
    across = imresize(wide, scale, antialias=antialias)
    assert across.shape[1] == out
    np.testing.assert_allclose(across[0], expected, atol=2e-6)
    np.testing.assert_allclose(imresize(wide.T, scale, antialias=antialias)[:, 0], expected, atol=2e-6)


@settings(deadline=None, max_examples=30)
@given(height=st.integers(1, 30), width=st.integers(1, 30), out_height=st.integers(1, 50), out_width=st.integers(1, 50))
def test_any_size_to_any_size_keeps_a_constant(height: int, width: int, out_height: int, out_width: int) -> None:
    result = imresize(np.full((2, 3, height, width), 0.25, np.float32), (out_height, out_width))
    assert result.shape == (2, 3, out_height, out_width)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, 0.25, atol=1e-6)


def test_output_size_is_rounded_up_but_not_by_binary_fractions() -> None:
    assert imresize(np.zeros((3, 7, 30), np.float32), 0.5).shape == (3, 4, 15)
    assert imresize(np.zeros((3, 30, 30), np.float32), 0.1).shape == (3, 3, 3)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf, (0, 4)])
def test_unusable_scales(scale: float | tuple[int, int]) -> None:
    with pytest.raises(TaskError, match="imresize needs"):
        imresize(np.zeros((3, 8, 8), np.float32), scale)


@pytest.mark.parametrize("shape", [(5,), (3, 0, 4)])
def test_unusable_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(TaskError, match="non-empty"):
        imresize(np.zeros(shape, np.float32), 2.0)


# Published bicubic scores of Set5 (luma, border = scale) are 33.66 and 28.42 dB. They shrink the luma alone; our
# degradation shrinks RGB, as inputs of a service are RGB, which gives a few hundredths more.
@pytest.mark.parametrize(("scale", "published"), [(2, 33.66), (4, 28.42)])
def test_bicubic_score_of_set5(scale: int, published: float) -> None:
    folder = Path(__file__).parents[3] / "shared" / "data" / "valid" / "Set5"
    files = sorted(folder.glob("*.png"))
    if len(files) != 5:
        pytest.skip("Set5 is not beside this checkout")
    task = get_task("super-resolution", scale)
    luma_scores, rgb_scores = [], []
    for file in files:
        with Image.open(file) as opened:
            pixels = np.array(opened.convert("RGB"), dtype=np.float64)
        height, width = (side // scale * scale for side in pixels.shape[:2])
        pixels = pixels[:height, :width]
        y = np.round(16 + pixels @ [65.481, 128.553, 24.966] / 255).astype(np.float32)
        enlarged = np.round(imresize(imresize(y, 1 / scale), float(scale)))
        inner = slice(scale, -scale)
        error = np.mean((enlarged - y)[inner, inner].astype(np.float64) ** 2)
        luma_scores.append(10 * np.log10(255**2 / error))
        clean = (pixels.transpose(2, 0, 1) / 255).astype(np.float32)
        rgb_scores.append(task.psnr(task.baseline(task.degrade(clean, np.random.default_rng(0))), clean))
    assert np.mean(luma_scores) == pytest.approx(published, abs=0.006)
    assert np.mean(rgb_scores) == pytest.approx(published, abs=0.05)

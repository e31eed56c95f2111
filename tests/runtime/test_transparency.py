import numpy as np
import pytest
from PIL import Image

from runtime.picture import Picture
from runtime.tiles import Tile
from runtime.transparency import Continuation, resize_alpha


def _halve(values: np.ndarray) -> np.ndarray:
    padded = np.pad(values, [(0, 0), (0, values.shape[1] % 2), (0, values.shape[2] % 2)])
    return 0.25 * (padded[:, ::2, ::2] + padded[:, 1::2, ::2] + padded[:, ::2, 1::2] + padded[:, 1::2, 1::2])


def _whole(picture: Picture) -> np.ndarray:
    """The same by the textbook, everything at once in float64: (H, W, C)."""
    alpha = picture.pixels[..., -1] / picture.white
    colors = picture.colors.transpose(2, 0, 1) / picture.white
    levels = [np.concatenate([colors * alpha, alpha[None]])]
    while max(levels[-1].shape[1:]) > 1:
        levels.append(_halve(levels[-1]))
    filled = np.zeros((len(colors), 1, 1))
    for level in reversed(levels):
        below = filled.repeat(2, axis=1).repeat(2, axis=2)[:, : level.shape[1], : level.shape[2]]
        filled = np.where(level[-1] > 0, level[:-1] / np.maximum(level[-1], 1e-300), below)
    return filled.transpose(1, 2, 0) * picture.white


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (31, 1), (41, 50), (300, 37), (513, 20)])
def test_bands_give_what_the_whole_gives(size: tuple[int, int], channels: int, dtype: type) -> None:
    rng = np.random.default_rng(size)
    pixels = rng.integers(0, np.iinfo(dtype).max + 1, (*size, channels)).astype(dtype)
    pixels[size[0] // 3 :, : size[1] // 2 + 1, -1] = 0
    picture = Picture(pixels)
    colors = Continuation(picture).colors(Tile(0, 0, *size))
    np.testing.assert_allclose(colors, _whole(picture), atol=0.52 if dtype == np.uint8 else 2)
    visible = pixels[..., -1] > 0
    np.testing.assert_array_equal(colors[visible], picture.colors[visible])


def test_a_tile_is_a_part_of_the_whole() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (67, 45, 4), dtype=np.uint8)
    pixels[5:60, 7:41, 3] = 0
    found = Continuation(Picture(pixels))
    whole = found.colors(Tile(0, 0, 67, 45))
    for top, left in ((0, 0), (3, 5), (20, 31), (64, 44)):
        part = found.colors(Tile(top, left, 16, 16))
        np.testing.assert_array_equal(part, whole[top : top + 16, left : left + 16])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_alpha_is_enlarged_without_seams_between_bands(scale: int, dtype: type) -> None:
    white = np.iinfo(dtype).max
    alpha = np.random.default_rng(1).integers(0, white + 1, (300, 21)).astype(dtype)
    out = np.empty((300 * scale, 21 * scale), dtype=dtype)
    resize_alpha(alpha, scale, out)
    source = Image.fromarray(alpha.astype(np.float32))
    whole = np.asarray(source.resize((21 * scale, 300 * scale), Image.Resampling.BICUBIC))
    assert np.abs(out - np.clip(whole, 0, white)).max() < 0.6

"""Transparent pictures: colours nobody sees must not reach those one does, and alpha grows with the picture.

No function here holds the whole picture in floats: the finest level is worked through in bands of rows.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime.picture import Depth, Picture, Pixels, to_integers
from runtime.tiles import Tile

__all__ = ["Continuation", "resize_alpha"]

FloatArray = NDArray[np.float32]

_BAND_ROWS = 128  # even, so that bands begin with a row of the next coarser level


class Continuation:
    """What stands in for the colours under an alpha of zero: a smooth continuation of the visible ones around them.

    Averages over 2x2, weighted by alpha, are taken until a single pixel is left (pull), then each level takes from the
    next coarser one what it lacks (push). Kept is the level of half the resolution, as integers.

    Args:
        picture: With alpha.
    """

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        # Colours times alpha, and alpha.
        level = np.concatenate([_halve(_weighted(picture, rows)) for rows in _bands(picture.height)], axis=1)
        levels = [level]
        while max(levels[-1].shape[1:]) > 1:
            levels.append(_halve(levels[-1]))
        filled = np.zeros((level.shape[0] - 1, 1, 1), dtype=np.float32)
        for level in reversed(levels[1:]):
            filled = _push(level, filled)
        finest = levels[0]
        self._coarse = np.empty((*finest.shape[1:], finest.shape[0] - 1), dtype=picture.pixels.dtype)
        for rows in _bands(finest.shape[1]):
            band = _push(finest[:, rows], filled[:, rows.start // 2 : (rows.stop + 1) // 2])
            self._coarse[rows] = to_integers(band, picture.depth).transpose(1, 2, 0)

    def colors(self, tile: Tile) -> Pixels:
        """The colours of a tile with the invisible ones replaced: (up to its height, up to its width, 1 or 3)."""
        rows, columns = slice(tile.top, tile.top + tile.height), slice(tile.left, tile.left + tile.width)
        colors, alpha = self._picture.colors[rows, columns], self._picture.pixels[rows, columns, -1:]
        if alpha.all():
            return colors
        height, width = alpha.shape[:2]
        row, column = np.arange(tile.top, tile.top + height) // 2, np.arange(tile.left, tile.left + width) // 2
        return np.where(alpha > 0, colors, self._coarse[row[:, None], column])


def resize_alpha(alpha: Pixels, scale: int, out: Pixels) -> None:
    """Enlarge an alpha channel bicubically.

    Args:
        alpha: (H, W), uint8 or uint16.
        scale: How many times.
        out: (scale*H, scale*W) of the same dtype, filled in.
    """
    if scale == 1:
        out[:] = alpha
        return
    height, width = alpha.shape
    depth: Depth = 8 if alpha.dtype == np.uint8 else 16
    # In floats, because Pillow resizes 16 bits wrongly, and 8 bits with a rounding in between that differs from band to
    # band.
    source = Image.fromarray(np.asarray(alpha / np.float32(2**depth - 1), dtype=np.float32))
    for rows in _bands(height):
        size = (scale * width, scale * (rows.stop - rows.start))
        band = source.resize(size, Image.Resampling.BICUBIC, box=(0, rows.start, width, rows.stop))
        out[scale * rows.start : scale * rows.stop] = to_integers(np.asarray(band), depth)


def _bands(height: int) -> Iterator[slice]:
    return (slice(top, min(top + _BAND_ROWS, height)) for top in range(0, height, _BAND_ROWS))


def _weighted(picture: Picture, rows: slice) -> FloatArray:
    """Colours times alpha, and alpha: float32 (2 or 4, rows, W)."""
    values = picture.pixels[rows].transpose(2, 0, 1) / np.float32(picture.white)
    values[:-1] *= values[-1]
    return np.asarray(values, dtype=np.float32)


def _push(level: FloatArray, coarser: FloatArray) -> FloatArray:
    """The colours of a level, those that nobody sees taken from the next coarser one.

    Args:
        level: Colours times weight, and weight, from an even row on.
        coarser: Colours, from half that row on.
    """
    weights = level[-1]
    height, width = weights.shape
    below = coarser.repeat(2, axis=1).repeat(2, axis=2)[:, :height, :width]
    return np.where(weights > 0, level[:-1] / np.maximum(weights, np.finfo(np.float32).tiny), below)


def _halve(values: FloatArray) -> FloatArray:
    """Sums over 2x2 of the last two axes, an odd row or column alone, scaled down so that they cannot grow."""
    rows, columns = values.shape[-2:]
    padded = np.pad(values, [(0, 0)] * (values.ndim - 2) + [(0, rows % 2), (0, columns % 2)])
    quarter = np.float32(0.25)
    return np.asarray(
        quarter * (padded[..., ::2, ::2] + padded[..., 1::2, ::2] + padded[..., ::2, 1::2] + padded[..., 1::2, 1::2]),
        dtype=np.float32,
    )

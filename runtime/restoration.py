"""One picture on its way through a network, tile by tile, in memory of the size of the picture and a row of tiles."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.errors import EngineError, NonFiniteOutputError
from runtime.picture import Picture, Pixels
from runtime.stitch import Stitcher
from runtime.tiles import SizeContract, Tile, pad_tile, plan_tiles
from runtime.transparency import Continuation, resize_alpha

__all__ = ["TiledRestoration"]

FloatArray = NDArray[np.float32]

# Luma of BT.601, what Pillow uses from RGB to L as well.
_LUMA = np.asarray([0.299, 0.587, 0.114], dtype=np.float32)

# Rows turned into integers at a time: enough for speed, little enough for the processor's cache and for memory.
_BAND_ROWS = 64


class TiledRestoration:
    """A picture being restored: cut a tile, run it, put its output; in any order, from any thread.

    A gray picture stays gray: of the network's colours their luma is taken. Alpha is kept, or resized for
    super-resolution; colours nobody can see, those under an alpha of zero, have no influence on the others.

    Whole pictures are held as integers only: the one that came and the one that is made. Floats are there for the tiles
    that were cut, and for the row of tiles under way. The result does not depend on the order in which tiles are put,
    but one that comes before its turn is kept as it is until then: run them about in order.

    Args:
        picture: At least 1x1 pixels.
        contract: The sizes the network takes, its scale, and how tiles overlap.
        source: What is run where, for messages: `"The model of 'rain' on cpu-onnxruntime-fp32-1t"`.

    Attributes:
        tiles: What is to be run, all of one shape, in the order to run.
        tile_shape: Height and width of every tile.
    """

    def __init__(self, picture: Picture, contract: SizeContract, source: str = "The model") -> None:
        self.tiles: Sequence[Tile] = tuple(plan_tiles(picture.height, picture.width, contract))
        self.tile_shape: tuple[int, int] = (self.tiles[0].height, self.tiles[0].width)
        self._picture = picture
        self._scale = contract.scale
        self._source = source
        hidden = picture.has_alpha and not picture.pixels[..., -1].all()
        self._continuation = Continuation(picture) if hidden else None
        size = (contract.scale * picture.height, contract.scale * picture.width, picture.pixels.shape[2])
        # An object of its own: were it this one, the two would hold each other, and both pictures would stay in memory
        # until the garbage collector comes by.
        self._canvas = _Canvas(np.empty(size, dtype=picture.pixels.dtype), picture.white)
        self._stitcher = Stitcher(self.tiles, picture.height, picture.width, contract, self._canvas.write)

    def cut(self, index: int) -> FloatArray:
        """The input of a tile: float32 (1, 3, h, w) in [0, 1], made anew."""
        tile = self.tiles[index]
        if self._continuation is not None:
            colors = self._continuation.colors(tile)
        else:
            rows, columns = slice(tile.top, tile.top + tile.height), slice(tile.left, tile.left + tile.width)
            colors = self._picture.colors[rows, columns]
        values = np.empty((3, *colors.shape[:2]), dtype=np.float32)
        np.divide(colors.transpose(2, 0, 1), np.float32(self._picture.white), out=values)
        return pad_tile(values, tile)[None]

    def put(self, index: int, output: FloatArray) -> None:
        """Take what the network made of a tile.

        Args:
            index: Of the tile.
            output: float32 (3, scale*h, scale*w). Not to be changed afterwards.

        Raises:
            EngineError: If the output has another shape.
            NonFiniteOutputError: If a value in it is infinite or not a number.
            ValueError: If this tile was put before.
        """
        height, width = self.tile_shape
        expected = (3, self._scale * height, self._scale * width)
        if output.ndim != 3 or output.shape[1:] != expected[1:]:
            raise EngineError(
                f"{self._source} gave {output.shape} for {(3, height, width)}; with scale {self._scale} it has to give "
                f"{expected}. The bundle's manifest does not fit its model."
            )
        if output.shape[0] != 3:
            raise EngineError(f"{self._source} gave {output.shape[0]} channels, not 3.")
        # Without the array of booleans that np.isfinite makes; a single NaN is passed on by min, an infinity by either.
        if not (np.isfinite(output.min()) and np.isfinite(output.max())):
            raise NonFiniteOutputError(f"{self._source} gave values that are not numbers.")
        values = np.asarray(output, dtype=np.float32)
        if self._picture.gray:
            values = np.tensordot(_LUMA, np.clip(values, 0.0, 1.0), axes=1)[None]
        self._stitcher.put(index, values)

    def result(self) -> Picture:
        """The restored picture, `scale` times as high and wide, with the depth, profile and EXIF of the one that came.

        Raises:
            EngineError: If a tile has not been put yet.
        """
        if not self._stitcher.complete:
            raise EngineError("The picture is not restored yet: put all its tiles first.")
        if self._picture.has_alpha:
            resize_alpha(self._picture.pixels[..., -1], self._scale, self._canvas.pixels[..., -1])
        return Picture(self._canvas.pixels, self._picture.icc, self._picture.exif)


class _Canvas:
    """The picture that is made: (H, W, channels) in integers."""

    def __init__(self, pixels: Pixels, white: int) -> None:
        self.pixels = pixels
        self._white = np.float32(white)

    def write(self, first: int, rows: FloatArray) -> None:
        """Round finished rows, in [0, 1], half up to integers, in place; `first` is the number of the first one."""
        colors = rows.shape[0]
        for top in range(0, rows.shape[1], _BAND_ROWS):
            band = rows[:, top : top + _BAND_ROWS]
            np.clip(band, 0.0, 1.0, out=band)
            band *= self._white
            band += np.float32(0.5)
            begin = first + top
            # The cast cuts off what is behind the point, which for positive values is rounding down.
            self.pixels[begin : begin + band.shape[1], :, :colors] = band.transpose(1, 2, 0)

"""Joining the outputs of tiles: floats for the rows of tiles under way, everything above is handed on.

The outputs may come in any order and from several threads. They are summed in the order of the plan, so that the
result is the same to the last bit; one that comes early waits.
"""

import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.errors import EngineError, ImageError
from runtime.tiles import SizeContract, Tile, axis_weights, cut_tile, plan_tiles

__all__ = ["Finish", "Stitcher", "band_bytes", "run_tiled"]

FloatArray = NDArray[np.float32]

Finish = Callable[[int, FloatArray], None]
"""Takes finished rows: the number of the first one in the output, and float32 (C, rows, W). The array is reused."""


def band_bytes(height: int, width: int, contract: SizeContract) -> int:
    """Bytes of the floats that a picture of three channels needs while a row of its tiles is under way.

    Args:
        height: Rows of the input.
        width: Columns of the input.
        contract: The sizes the model takes, its scale, and how tiles overlap.
    """
    tile = plan_tiles(height, width, contract)[0]
    return 3 * 4 * contract.scale**2 * min(tile.height, height) * width


class Stitcher:
    """Blends tiles into one picture and hands on its rows from top to bottom, each exactly once.

    Args:
        tiles: The plan, row by row, as `plan_tiles` gives it.
        height: Rows of the input.
        width: Columns of the input.
        contract: The sizes the model takes, its scale, and how tiles overlap.
        finish: Called with finished rows, never by two threads at once.
    """

    def __init__(self, tiles: Sequence[Tile], height: int, width: int, contract: SizeContract, finish: Finish) -> None:
        self._tiles = tiles
        self._scale = contract.scale
        self._height, self._width = height * contract.scale, width * contract.scale
        self._finish = finish
        self._rows = axis_weights([tile.top for tile in tiles], tiles[0].height, contract)
        self._columns = axis_weights([tile.left for tile in tiles], tiles[0].width, contract)
        self._lock = threading.Lock()
        self._waiting: dict[int, FloatArray] = {}
        self._next = 0
        self._band: FloatArray | None = None  # sums for the output rows of the current row of tiles
        self._done = 0  # rows handed on; the current row of tiles begins here

    @property
    def complete(self) -> bool:
        """Whether every tile has been put and every row handed on."""
        return self._next == len(self._tiles)

    def put(self, index: int, output: FloatArray) -> None:
        """Take the output of one tile.

        Args:
            index: Of the tile in the plan.
            output: float32 (C, scale*h, scale*w). It must not change afterwards.

        Raises:
            ValueError: If this tile was put before.
        """
        with self._lock:
            if index < self._next or index in self._waiting:
                raise ValueError(f"Tile {index} was put before.")
            self._waiting[index] = output
            while (ready := self._waiting.pop(self._next, None)) is not None:
                self._add(self._tiles[self._next], ready)
                self._next += 1
                self._hand_on()

    def _add(self, tile: Tile, output: FloatArray) -> None:
        scale = self._scale
        if self._band is None:
            # No rows past the picture: one that is a row high and millions wide would take a tile's height of them.
            rows = min(scale * tile.height, self._height)
            self._band = np.zeros((output.shape[0], rows, self._width), dtype=np.float32)
        left = scale * tile.left
        target = self._band[:, :, left : left + scale * tile.width]
        # The last tile of a row of tiles may reach past the picture.
        height, width = target.shape[1:]
        weights = self._rows[tile.top][:height, None] * self._columns[tile.left][:width]
        target += output[:, :height, :width] * weights

    def _hand_on(self) -> None:
        """After the last tile of a row of tiles: finish what the next row does not reach, carry on the rest."""
        row_goes_on = not self.complete and self._tiles[self._next].left > 0
        if self._band is None or row_goes_on:
            return
        end = self._height if self.complete else self._scale * self._tiles[self._next].top
        count = end - self._done
        kept = self._band[:, count:].copy()  # the overlap; also rows past the end of the picture, which nobody asks for
        self._finish(self._done, self._band[:, :count])
        if self.complete:
            self._band = None
            return
        self._band[:, : kept.shape[1]] = kept
        self._band[:, kept.shape[1] :] = 0.0
        self._done = end


def run_tiled(
    image: FloatArray,
    contract: SizeContract,
    run: Callable[[FloatArray], FloatArray],
    checkpoint: Callable[[], None] | None = None,
) -> FloatArray:
    """Run a model over a picture of any size, all in floats: for measuring, where rounding would be in the way.

    Args:
        image: float32 (C, H, W).
        contract: The sizes the model takes, its scale, and how tiles overlap.
        run: The model: float32 (1, C, h, w) to (1, C', scale*h, scale*w).
        checkpoint: Called before each tile; what it raises ends the work and is passed on.

    Returns:
        float32 (C', scale*H, scale*W), not clipped.

    Raises:
        ImageError: If `image` is not float32 (C, H, W) with at least one pixel.
        EngineError: If `run` gives another shape than the contract says.
    """
    if image.ndim != 3 or image.dtype != np.float32:
        raise ImageError(
            f"A picture is float32 of shape (C, H, W), got {image.dtype} {image.shape}.", code="bad_array", status=422
        )
    height, width = image.shape[1:]
    scale = contract.scale
    canvas: FloatArray | None = None

    def finish(first: int, rows: FloatArray) -> None:
        nonlocal canvas
        if canvas is None:
            canvas = np.empty((rows.shape[0], scale * height, scale * width), dtype=np.float32)
        canvas[:, first : first + rows.shape[1]] = rows

    tiles = plan_tiles(height, width, contract)
    stitcher = Stitcher(tiles, height, width, contract, finish)
    for index, tile in enumerate(tiles):
        if checkpoint is not None:
            checkpoint()
        stitcher.put(index, _run_one(cut_tile(image, tile)[None], run, scale))
    assert canvas is not None  # there is at least one tile
    return canvas


def _run_one(batch: FloatArray, run: Callable[[FloatArray], FloatArray], scale: int) -> FloatArray:
    output = run(batch)
    _, _, height, width = batch.shape
    if output.ndim != 4 or output.shape[0] != 1 or output.shape[2:] != (scale * height, scale * width):
        raise EngineError(
            f"The model gave {output.shape} for {batch.shape}; with scale {scale} it has to give "
            f"(1, C, {scale * height}, {scale * width}). The bundle's manifest does not fit its model."
        )
    return np.asarray(output[0], dtype=np.float32)

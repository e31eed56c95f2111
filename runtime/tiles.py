"""How a picture of any size is covered with equal tiles for a model that wants sizes of its own.

How neighbouring tiles are joined. Two tiles share `overlap` input pixels. Near its inner border a tile has seen padding
in place of its neighbour's pixels, so its outermost `trim` pixels there get the weight zero; over the middle of the
shared strip the weight goes linearly from one tile to the other. Weights are separable (rows times columns) and sum to
one at every output pixel.

When the result is exact. It equals that of one run over the whole picture if the receptive radius of the model, the
input pixels it looks at to each side, is at most `trim`: a quarter of the overlap, or `margin` where it is given, so
that an overlap of twice the radius is enough. A model with strided layers also has to see each tile in phase with the
picture: every tile but the last of a row or column does, the last one where the side of the picture is a multiple of
`multiple`. Other models, first of all those with a global pooling, change smoothly from tile to tile instead of at a
seam.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from runtime.errors import ImageError

__all__ = ["SizeContract", "Tile", "axis_weights", "cut_tile", "pad_tile", "plan_tiles"]

FloatArray = NDArray[np.float32]


class SizeContract(BaseModel):
    """What sizes a model takes and what it gives. Pixels of the input unless said.

    Attributes:
        multiple: Height and width of a batch are multiples of this.
        minimum: Smallest side of a batch.
        tile: Height and width of a tile, multiples of `multiple`.
        overlap: Pixels that two neighbouring tiles share at least, less than each side of a tile.
        scale: Output pixels per input pixel and side.
        margin: Outermost pixels at an inner tile border that are thrown away, at most half of `overlap`. For an exact
            result set it to the receptive radius of the model. None means a quarter of `overlap`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    multiple: int = Field(ge=1)
    minimum: int = Field(ge=1)
    tile: tuple[int, int]
    overlap: int = Field(ge=0)
    scale: int = Field(ge=1)
    margin: int | None = Field(default=None, ge=0)

    @property
    def trim(self) -> int:
        """The margin in use: results are exact for a receptive radius up to this many input pixels."""
        return self.overlap // 4 if self.margin is None else self.margin

    @model_validator(mode="after")
    def _check(self) -> Self:
        for side in self.tile:
            if side < self.minimum or side % self.multiple:
                raise ValueError(
                    f"a tile side of {side} has to be a multiple of {self.multiple} and at least {self.minimum}"
                )
            if side - self.overlap < self.multiple:
                raise ValueError(
                    f"an overlap of {self.overlap} leaves a tile side of {side} less than {self.multiple} of its own"
                )
        if 2 * self.trim > self.overlap:
            raise ValueError(f"a margin of {self.trim} on both sides needs an overlap of {2 * self.trim} or more")
        return self


@dataclass(frozen=True)
class Tile:
    """A rectangle of the input. It may reach past the end of the picture, where the picture is padded.

    Attributes:
        top: First row.
        left: First column.
        height: Rows.
        width: Columns.
    """

    top: int
    left: int
    height: int
    width: int


def plan_tiles(height: int, width: int, contract: SizeContract) -> list[Tile]:
    """Cover a picture with tiles of one size, row by row.

    A side of the picture that is not longer than the tile gets one tile of that side, rounded up to what the model
    takes. On a longer side tiles follow each other at a fixed step and the last one is shifted inwards to end with
    the picture, or less than one multiple after it: that keeps it on the model's grid.

    Raises:
        ImageError: If a side is below 1.
    """
    if height < 1 or width < 1:
        raise ImageError(f"A picture has at least 1x1 pixels, got {height}x{width}.", code="empty", status=400)
    rows = _starts(height, contract.tile[0], contract)
    columns = _starts(width, contract.tile[1], contract)
    tile_height = _tile_side(height, contract.tile[0], contract)
    tile_width = _tile_side(width, contract.tile[1], contract)
    return [Tile(top, left, tile_height, tile_width) for top in rows for left in columns]


def _tile_side(side: int, tile: int, contract: SizeContract) -> int:
    if side >= tile:
        return tile
    return math.ceil(max(side, contract.minimum) / contract.multiple) * contract.multiple


def _starts(side: int, tile: int, contract: SizeContract) -> list[int]:
    if side <= tile:
        return [0]
    step = (tile - contract.overlap) // contract.multiple * contract.multiple
    last = math.ceil(side / contract.multiple) * contract.multiple - tile
    return [*range(0, last, step), last]


def cut_tile(image: FloatArray, tile: Tile) -> FloatArray:
    """The pixels of a tile: reflected at the end of the picture, or its edge repeated where it is too short for that.

    Args:
        image: float32 (C, H, W).
        tile: Where to cut.

    Returns:
        float32 (C, tile.height, tile.width), contiguous.
    """
    return pad_tile(image[:, tile.top : tile.top + tile.height, tile.left : tile.left + tile.width], tile)


def pad_tile(piece: FloatArray, tile: Tile) -> FloatArray:
    """What there is of a tile (C, up to its height, up to its width), continued to its full size; see `cut_tile`."""
    for axis, missing in ((1, tile.height - piece.shape[1]), (2, tile.width - piece.shape[2])):
        if missing > 0:
            before_after = [(0, 0), (0, 0), (0, 0)]
            before_after[axis] = (0, missing)
            piece = np.pad(piece, before_after, mode="reflect" if missing < piece.shape[axis] else "edge")
    return np.ascontiguousarray(piece)


def axis_weights(starts: list[int], side: int, contract: SizeContract) -> dict[int, FloatArray]:
    """Weights of the output pixels of tiles along one axis; at each output pixel of the picture they sum to one.

    Args:
        starts: Where tiles begin along this axis, in input pixels; in any order, repeated at will.
        side: Input pixels of a tile along this axis.
        contract: How tiles overlap.

    Returns:
        For every start the weights, float32 (scale * side,).
    """
    unique = sorted(set(starts))
    scale, trim = contract.scale, contract.trim
    ramp = contract.overlap - 2 * trim
    # Distance of the centre of each output pixel from the start of its tile, in input pixels.
    distance = (np.arange(side * scale, dtype=np.float64) + 0.5) / scale
    raw: dict[int, NDArray[np.float64]] = {}
    total = np.zeros((unique[-1] + side) * scale, dtype=np.float64)
    for start in unique:
        weight = np.ones(side * scale, dtype=np.float64)
        for is_inner, depth in ((start > unique[0], distance), (start < unique[-1], distance[::-1])):
            if is_inner:
                weight *= np.clip((depth - trim) / ramp, 0.0, 1.0) if ramp else depth > trim
        raw[start] = weight
        total[start * scale : (start + side) * scale] += weight
    return {
        start: (weight / total[start * scale : (start + side) * scale]).astype(np.float32)
        for start, weight in raw.items()
    }

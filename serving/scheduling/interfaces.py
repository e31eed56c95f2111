"""What the scheduler is told of a request, and what it needs of a network and of a picture on its way through one."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from serving.scheduling.costs import TileCosts

FloatArray = NDArray[np.float32]


class Model(Protocol):
    """A network that is loaded on every slot."""

    @property
    def name(self) -> str:
        """Unique among the models in use; tiles of one name and shape may share a batch."""

    @property
    def costs(self) -> TileCosts:
        """What its tiles cost."""

    def run(self, slot: int, batch: FloatArray) -> FloatArray:
        """(N, 3, h, w) to (N, 3, s*h, s*w) on one slot; `slot` counts from 0."""


class Restoration(Protocol):
    """One picture cut into tiles of one shape; `runtime.restoration.TiledRestoration` is one. Thread-safe."""

    @property
    def tiles(self) -> Sized:
        """The tiles, in the order to run; only how many there are is asked."""

    @property
    def tile_shape(self) -> tuple[int, int]:
        """Rows and columns of each tile."""

    def cut(self, index: int) -> FloatArray:
        """Tile number `index` as (1, 3, h, w)."""

    def put(self, index: int, output: FloatArray) -> None:
        """Takes the network's answer to one tile, (3, s*h, s*w). Raises EngineError if it is not usable."""


@dataclass(frozen=True)
class Demand:
    """What one request will need, as predicted from its header and its picture's size.

    Attributes:
        model: The network.
        tile: Rows and columns of its tiles.
        tiles: How many.
        decode_s: Seconds of one core to decode the picture.
        inference_s: Seconds of one slot for all tiles; `for_tiles` computes it. Kept for reporting: the scheduler asks
            `model.costs` again as tiles are done, because the machine's speed changes.
        encode_s: Seconds of one core to encode the result.
        picture_bytes: Decoded and restored pixels held from decoding to the answer.

    Raises:
        ValueError: A number is negative, or there is no tile.
    """

    model: Model
    tile: tuple[int, int]
    tiles: int
    decode_s: float
    inference_s: float
    encode_s: float
    picture_bytes: int

    def __post_init__(self) -> None:
        if self.tiles < 1 or min(self.decode_s, self.inference_s, self.encode_s, self.picture_bytes) < 0:
            raise ValueError(f"A demand has at least one tile and no negative time or size, got {self}.")

    @classmethod
    def for_tiles(
        cls, model: Model, tile: tuple[int, int], tiles: int, *, decode_s: float, encode_s: float, picture_bytes: int
    ) -> Demand:
        """A demand whose `inference_s` is what the model's costs say now."""
        return cls(model, tile, tiles, decode_s, model.costs.work(tile, tiles), encode_s, picture_bytes)

"""Networks of known cost and pictures of known content."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from runtime.errors import EngineError
from serving.scheduling import Demand, TileCosts
from serving.scheduling.interfaces import FloatArray
from serving.scheduling.records import Line


@dataclass(eq=False)
class KnownModel:
    """A network that answers its input; counts how many of its runs go on at once."""

    costs: TileCosts
    name: str = "known"
    work: Callable[[int, FloatArray], FloatArray] = lambda _, batch: batch
    running: int = 0
    most: int = 0
    batches: list[tuple[int, ...]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, slot: int, batch: FloatArray) -> FloatArray:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
            self.batches.append(batch.shape)
        try:
            return self.work(slot, batch)
        finally:
            with self._lock:
                self.running -= 1


def known_model(
    fixed: float = 0.0, each: float = 1e-3, *, batch: int = 1, cores: int = 1, side: int = 8, name: str = "known"
) -> KnownModel:
    """A model whose runs of tiles of `side` cost `fixed + each * tiles` seconds by its costs."""
    return KnownModel(TileCosts(Line(fixed, each / side**2), batch=batch, cores=cores), name)


class Strips:
    """A picture of one row of tiles; its own small restoration."""

    def __init__(self, pixels: FloatArray, side: int = 8) -> None:
        self.pixels, self.side = pixels, side
        self.tiles = range(pixels.shape[2] // side)
        self.tile_shape = (side, side)
        self.result = np.full_like(pixels, -1.0)
        self.cuts: list[int] = []

    def cut(self, index: int) -> FloatArray:
        self.cuts.append(index)
        return self.pixels[None, :, :, index * self.side : (index + 1) * self.side]

    def put(self, index: int, output: FloatArray) -> None:
        if not np.isfinite(output).all():
            raise EngineError("The network's answer is not finite.")
        self.result[:, :, index * self.side : (index + 1) * self.side] = output


def strips(tiles: int, value: float = 0.5, side: int = 8) -> Strips:
    return Strips(np.full((3, side, side * tiles), value, dtype=np.float32), side)


def demand(
    model: KnownModel, tiles: int, *, decode: float = 0.0, encode: float = 0.0, room: int = 0, side: int = 8
) -> Demand:
    return Demand.for_tiles(model, (side, side), tiles, decode_s=decode, encode_s=encode, picture_bytes=room)

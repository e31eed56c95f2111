"""What tiles of one model cost on one target: a line through measurements, corrected by what the machine does lately.

    seconds of one run = drift * (fixed + per_pixel * tiles * height * width)

The line comes from the bundle's records until `calibrate` has timed this machine. That a run of several tiles lies on
the same line is what makes the scheduler's sums exact (see `feasibility`).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import numpy as np

from runtime.manifest import Manifest
from runtime.target import Target
from serving.scheduling.interfaces import FloatArray
from serving.scheduling.records import Line, batch_of, promise_of, slowest_line

_RUNS = 3
# How much one run moves the drift, how far off one run may be to count, and how far the drift goes at all.
_WEIGHT, _OUTLIER, _DRIFT_RANGE = 0.1, 2.0, (0.25, 8.0)


class TileCosts:
    """Seconds of one model on one target. Thread-safe.

    Args:
        line: What a run costs where nothing disturbs it.
        batch: Tiles a run at most.
        cores: Cores that a run keeps busy; 0 for one on a GPU.
        record: The line of the bundle's records, if it has any for this target.
        small: A small size that the model takes, for `calibrate`; None: a quarter of the tile's sides.
    """

    def __init__(
        self,
        line: Line,
        *,
        batch: int = 1,
        cores: int = 1,
        record: Line | None = None,
        small: tuple[int, int] | None = None,
    ) -> None:
        self.batch = batch
        self.cores = cores
        self._line = line
        self._record = record
        self._small = small
        self._factor = 1.0
        self._observed = False
        self._reference: int | None = None  # pixels of the tile that the drift is told of
        self._lock = threading.Lock()

    @classmethod
    def for_bundle(cls, manifest: Manifest, target: Target) -> TileCosts:
        """Costs by a bundle's records of this kind of target; threads and device may differ, it is a first guess.

        Without any such record the line is that of the slowest record of another target, and `promised` is None.
        """
        batch = batch_of(manifest, target)
        promise = promise_of(manifest, target, batch)
        record = None if promise is None else promise.line
        line = record or slowest_line(manifest)
        size = manifest.size
        sides = [_quarter(side, size.multiple, size.minimum) for side in size.tile]
        cores = 0 if target.on_gpu else target.threads
        return cls(line, batch=batch, cores=cores, record=record, small=(sides[0], sides[1]))

    @property
    def factor(self) -> float:
        """How much slower runs are lately than the line says."""
        return self._factor

    @property
    def fixed(self) -> float:
        """Seconds every run costs, as the machine is now."""
        return self._factor * self._line.fixed

    @property
    def drift(self) -> float | None:
        """Time of a tile, by the runs lately, over what the records promise; None without a record or before a run.

        Always of the bundle's own tile: for smaller ones the records promise nothing, and their share of its time would
        be too little, since a part of the time of a run is the same for all sizes.
        """
        if self._record is None or not self._observed or self._reference is None:
            return None
        pixels = self._reference
        promised = self._record.at(pixels)
        return self._factor * self._line.at(pixels) / promised if promised > 0 else None

    def per_tile(self, tile: tuple[int, int]) -> float:
        """Seconds each tile adds to a run, as the machine is now."""
        return self._factor * self._line.per_pixel * tile[0] * tile[1]

    def seconds(self, tile: tuple[int, int], tiles: int) -> float:
        """Seconds of one run of so many tiles on one slot, as the machine is now."""
        return self._factor * self._line.at(tiles * tile[0] * tile[1])

    def work(self, tile: tuple[int, int], tiles: int) -> float:
        """Seconds of one slot for any number of tiles, in runs of `batch`."""
        return math.ceil(tiles / self.batch) * self.fixed + tiles * self.per_tile(tile)

    def promised(self, tile: tuple[int, int], tiles: int) -> float | None:
        """Seconds of one run by the bundle's records alone; None if none is of this kind of target."""
        return None if self._record is None else self._record.at(tiles * tile[0] * tile[1])

    def calibrate(self, run: Callable[[FloatArray], FloatArray], tile: tuple[int, int]) -> None:
        """Times this machine and forgets the drift so far; to be called at warm-up, before requests.

        Args:
            run: The model, (N, 3, h, w) to (N, 3, s*h, s*w).
            tile: Rows and columns of the bundle's tile.
        """
        height, width = self._small or (_quarter(tile[0], 8, 8), _quarter(tile[1], 8, 8))
        # Where batches are used, what one tile more adds to a run matters more than what a pixel does.
        few = (1, *tile) if self.batch > 1 else (1, min(height, tile[0]), min(width, tile[1]))
        points = [(math.prod(shape), _lowest(run, shape)) for shape in (few, (self.batch, *tile))]
        with self._lock:
            self._line = Line.through(*points)
            self._factor, self._observed, self._reference = 1.0, False, tile[0] * tile[1]

    def observe(self, tile: tuple[int, int], tiles: int, seconds: float) -> None:
        """Takes notice of one run, so that predictions follow a busy machine.

        Args:
            tile: Rows and columns.
            tiles: Tiles of the run.
            seconds: What it took, with time lost to sharing the cores with codecs left out.
        """
        expected = self._line.at(tiles * tile[0] * tile[1])
        if expected <= 0 or not seconds > 0:
            return
        with self._lock:
            old = self._factor
            ratio = min(max(seconds / expected, old / _OUTLIER), old * _OUTLIER)
            low, high = _DRIFT_RANGE
            # In logarithms, so that a run of twice and one of half the time cancel out.
            self._factor = min(max(old * (ratio / old) ** _WEIGHT, low), high)
            self._observed = True
            self._reference = self._reference or tile[0] * tile[1]


def _quarter(side: int, multiple: int, minimum: int) -> int:
    wanted = max(side // 4, minimum, 1)
    return min(side, math.ceil(wanted / multiple) * multiple)


def _lowest(run: Callable[[FloatArray], FloatArray], shape: tuple[int, ...]) -> float:
    batch = np.full((shape[0], 3, *shape[1:]), 0.5, dtype=np.float32)
    run(batch)  # the first run allocates
    times = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        run(batch)
        times.append(time.perf_counter() - start)
    return min(times)

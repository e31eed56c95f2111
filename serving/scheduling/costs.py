"""What tiles of one model cost on one target: a line through measurements, corrected by what the machine does lately.

    seconds of one run = drift * (fixed + per_pixel * tiles * height * width)

The line comes from the bundle's records until `calibrate` has timed this machine. That a run of several tiles lies on
the same line is what makes the scheduler's sums exact (see `feasibility`).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from runtime.manifest import Manifest
from runtime.records import without_threads
from runtime.target import Target
from serving.scheduling.interfaces import FloatArray

# A batch must save this share of the time of one tile to be worth the wait of its first tiles.
_GAIN = 0.10
# Records of two dates were not timed in turns, and a shared machine differs by more than that from minute to minute.
_GAIN_BETWEEN_DATES = 0.20
_RUNS = 3
# How much one run moves the drift, how far off one run may be to count, and how far the drift goes at all.
_WEIGHT, _OUTLIER, _DRIFT_RANGE = 0.1, 2.0, (0.25, 8.0)
# Stands in until `calibrate` has run, if a bundle has no record at all: a slow processor's time for a pixel.
_UNKNOWN_PER_PIXEL = 1e-6


@dataclass(frozen=True)
class Line:
    """Seconds of a run over its pixels: `fixed + per_pixel * pixels`, both at least 0."""

    fixed: float
    per_pixel: float

    @classmethod
    def through(cls, small: tuple[int, float], large: tuple[int, float]) -> Line:
        """The line that meets the large point, and the small one too unless a coefficient would be negative.

        Args:
            small: Pixels and seconds.
            large: Pixels and seconds.
        """
        (few, short), (many, long) = small, large
        slope = (long - short) / (many - few) if many > few else math.inf
        per_pixel = min(max(slope, 0.0), long / many)
        return cls(long - per_pixel * many, per_pixel)

    def at(self, pixels: int) -> float:
        """Seconds of a run over so many pixels."""
        return self.fixed + self.per_pixel * pixels


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
        self._reference: int | None = None  # pixels of a tile of the last run
        self._lock = threading.Lock()

    @classmethod
    def for_bundle(cls, manifest: Manifest, target: Target) -> TileCosts:
        """Costs by a bundle's records of this kind of target; threads and device may differ, it is a first guess.

        Without any such record the line is that of the slowest record of another target, and `promised` is None.
        """
        batch = batch_of(manifest, target)
        record = _recorded_line(manifest, target.kind, batch)
        line = record or _slowest_line(manifest)
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
        """Time of runs lately over what the records promise; None without a record or before the first run."""
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
            self._observed, self._reference = True, tile[0] * tile[1]


def batch_of(manifest: Manifest, target: Target) -> int:
    """Tiles a run that cost least each by the records of this kind of target, 1 unless that saves a tenth.

    A fifth, where the two were not timed in turns.
    """
    each: dict[int, _Timing] = {}
    for record in _same_threads(manifest, target):
        # Batches are comparable at one tile size only, that of the bundle.
        same_size = (record.height, record.width) == tuple(manifest.size.tile)
        if same_size and (record.batch not in each or record.each < each[record.batch].each):
            each[record.batch] = record
    single = each.get(1)
    if single is None:
        return 1
    best = min(each.values(), key=lambda record: (record.each, record.batch))
    gain = _GAIN if best.date == single.date else _GAIN_BETWEEN_DATES
    return best.batch if best.each <= (1.0 - gain) * single.each else 1


@dataclass(frozen=True)
class _Timing:
    slug: str
    batch: int
    height: int
    width: int
    ms: float
    date: str

    @property
    def each(self) -> float:
        return self.ms / self.batch

    @property
    def point(self) -> tuple[int, float]:
        return self.batch * self.height * self.width, self.ms / 1000


def _same_threads(manifest: Manifest, target: Target) -> list[_Timing]:
    """Records of this kind of target; only those with its threads if there are such."""
    records = [record for record in _timings(manifest) if without_threads(record.slug) == target.kind]
    return [record for record in records if record.slug == target.slug] or records


def _timings(manifest: Manifest) -> Iterable[_Timing]:
    for speed in manifest.speed:
        yield _Timing(speed.target, speed.batch, speed.height, speed.width, speed.ms, speed.date)
    # What was promised counts only where it was not timed as speed: the later measurement is the better one.
    timed = {without_threads(speed.target) for speed in manifest.speed}
    for record in manifest.latency:
        if without_threads(record.target) not in timed:
            ms = record.predicted_ms if record.measured_ms is None else record.measured_ms
            yield _Timing(record.target, 1, record.height, record.width, ms, record.date)


def _recorded_line(manifest: Manifest, kind: str, batch: int) -> Line | None:
    records = [r for r in _timings(manifest) if without_threads(r.slug) == kind and r.batch <= batch]
    return _line_of([record.point for record in records])


def _line_of(points: Sequence[tuple[int, float]]) -> Line | None:
    if not points:
        return None
    return Line.through(min(points), max(points))


def _slowest_line(manifest: Manifest) -> Line:
    points = [record.point for record in _timings(manifest)]
    return Line(0.0, max((seconds / pixels for pixels, seconds in points), default=_UNKNOWN_PER_PIXEL))


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

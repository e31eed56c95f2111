"""What a bundle's records say of the time of its tiles: their batch, what is promised, and the budget that is kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from runtime.manifest import Manifest
from runtime.records import without_threads
from runtime.target import Target

__all__ = ["Line", "Promise", "batch_of", "budget_of", "promise_of", "slowest_line"]

# A batch must save this share of the time of one tile to be worth the wait of its first tiles.
_GAIN = 0.10
# Records of two dates were not timed in turns, and a shared machine differs by more than that from minute to minute.
_GAIN_BETWEEN_DATES = 0.20
# Stands in until this machine was timed, if a bundle has no record at all: a slow processor's time for a pixel.
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


@dataclass(frozen=True)
class Promise:
    """What a bundle's records promise on one kind of target.

    Attributes:
        line: Seconds of a run.
        target: Slug of the record that it rests on; its threads may be others than those of the server.
        device: Processor or accelerator of that record.
    """

    line: Line
    target: str
    device: str


def budget_of(manifest: Manifest, target: Target) -> float | None:
    """The budget for one full-size tile of a bundle, in seconds.

    A budget is for one size, so only records of the bundle's tile count. Of those, one of this target comes first, then
    one of its kind (other threads), then the first: who made the bundle for one target and serves it on another wants
    the same pace there.

    Args:
        manifest: Of the bundle.
        target: Where it runs.

    Returns:
        None if no record of this size has a budget.
    """
    records = [
        record
        for record in manifest.latency
        if record.budget_ms > 0 and (record.height, record.width) == tuple(manifest.size.tile)
    ]
    own = [record for record in records if record.target == target.slug]
    kin = [record for record in records if without_threads(record.target) == target.kind]
    chosen = next(iter([*own, *kin, *records]), None)
    return None if chosen is None else chosen.budget_ms / 1000


def promise_of(manifest: Manifest, target: Target, batch: int) -> Promise | None:
    """What the records of this kind of target promise; None if there is none.

    Args:
        manifest: Of the bundle.
        target: Where it runs.
        batch: Tiles a run at most; records of larger batches say nothing of those that will run.
    """
    records = [record for record in _same_threads(manifest, target) if record.batch <= batch]
    if not records:
        return None
    small, large = min(records, key=_by_point), max(records, key=_by_point)
    return Promise(Line.through(small.point, large.point), large.slug, large.device)


def slowest_line(manifest: Manifest) -> Line:
    """A guess where no record is of this kind of target: what the slowest record of another takes for a pixel."""
    points = [record.point for record in _timings(manifest)]
    return Line(0.0, max((seconds / pixels for pixels, seconds in points), default=_UNKNOWN_PER_PIXEL))


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
    device: str
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


def _by_point(record: _Timing) -> tuple[int, float]:
    return record.point


def _same_threads(manifest: Manifest, target: Target) -> Sequence[_Timing]:
    """Records of this kind of target; only those with its threads if there are such."""
    records = [record for record in _timings(manifest) if without_threads(record.slug) == target.kind]
    return [record for record in records if record.slug == target.slug] or records


def _timings(manifest: Manifest) -> Iterable[_Timing]:
    for speed in manifest.speed:
        yield _Timing(speed.target, speed.device, speed.batch, speed.height, speed.width, speed.ms, speed.date)
    # What was promised counts only where it was not timed as speed: the later measurement is the better one.
    timed = {without_threads(speed.target) for speed in manifest.speed}
    for record in manifest.latency:
        if without_threads(record.target) not in timed:
            ms = record.predicted_ms if record.measured_ms is None else record.measured_ms
            yield _Timing(record.target, record.device, 1, record.height, record.width, ms, record.date)

"""Which target is the default of a bundle: all timed in turns, the fastest that passed its gate."""

import datetime
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from export.anchor import anchor_for
from runtime import (
    SpeedRecord,
    StabilityRule,
    Target,
    Timing,
    device_name,
    engine_version,
    open_engine,
    time_interleaved,
)
from runtime.engines.stored import StoredEngine
from runtime.target import TARGETS

MOST_PIXELS = 16 * 512 * 512
"""Pixels of all inputs that are timed in one sitting. Every engine keeps its memory while others run; ONNX Runtime was
seen to hold about a kilobyte per pixel of a restoration network's input, so a sitting takes four gigabytes at most."""
MARGIN = 0.03
"""A target that is faster by less than this part is not faster."""
ERRORS = 2.0
"""Nor is one that is faster by less than so many standard errors of the two timings."""
RULES: Mapping[int, StabilityRule] = {
    1: StabilityRule(min_runs=8, max_runs=30, tolerance=0.01, max_seconds=8.0),
    4: StabilityRule(min_runs=4, max_runs=10, tolerance=0.03, max_seconds=5.0),
    8: StabilityRule(min_runs=4, max_runs=10, tolerance=0.03, max_seconds=5.0),
}
"""Tiles at a time -> when their timings count as settled."""
_PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class Candidate:
    """A target that passed its gate.

    Attributes:
        target: Where.
        model: What runs there, an ONNX file.
        db_lost: Against the reference.
        stored: An engine built ahead of time for it.
    """

    target: Target
    model: bytes
    db_lost: float
    stored: StoredEngine | None = None


@dataclass(frozen=True)
class Timed:
    """A speed record and the relative standard error of its milliseconds."""

    record: SpeedRecord
    error: float


@dataclass(frozen=True)
class Choice:
    """The default target without threads, and why it is that one."""

    kind: str
    reason: str


def time_candidates(
    candidates: Sequence[Candidate],
    tile: tuple[int, int],
    *,
    rules: Mapping[int, StabilityRule] = RULES,
    seed: int = 0,
) -> tuple[list[Timed], list[str]]:
    """Time every candidate at every batch size, in turns with each other and with an anchor.

    Candidates of one batch size share a sitting as far as they fit into memory; multiples of the anchor can be compared
    between sittings. A GPU's are not timed in turns with the processor's: an anchor tells of one device only.

    Args:
        candidates: At least one.
        tile: (height, width) of a tile.
        rules: When a timing counts as settled, for each batch size: those that are timed.
        seed: Order of the turns.

    Returns:
        What was timed, and a sentence for each batch size that was left out.

    Raises:
        EngineError: An engine refuses a batch.
    """
    timed: list[Timed] = []
    left_out: list[str] = []
    for batch, rule in rules.items():
        pixels = batch * tile[0] * tile[1]
        if pixels > MOST_PIXELS:
            left_out.append(
                f"batches of {batch} tiles of {tile[1]}x{tile[0]} were not timed: their {pixels / 1e6:.1f} million "
                f"pixels would take more memory than is spent on timing ({MOST_PIXELS / 1e6:.1f} million at most)"
            )
            continue
        for sitting in _sittings(candidates, pixels):
            timed += _sit(sitting, batch, tile, rule, seed)
    return timed, left_out


def choose_default(timed: Sequence[Timed], candidates: Sequence[Candidate], promised: str) -> Choice:
    """The simplest target that no other is faster than, per picture at batch 1.

    Faster means by 3 % at least and by more than the timings' own errors. fp32 is simpler than fp16, that than int8;
    within a precision the order is that of `TARGETS`.

    Args:
        timed: What `time_candidates` gave.
        candidates: What it was given.
        promised: The target, without threads, that the bundle was made for.
    """
    by_slug = {candidate.target.slug: candidate for candidate in candidates}
    single = {t.record.target: t for t in timed if t.record.batch == 1}
    order = sorted(single, key=lambda slug: _simplicity(by_slug[slug].target))
    chosen = next(
        slug for slug in order if not any(_faster(single[other], single[slug]) for other in order if other != slug)
    )
    kind = by_slug[chosen].target.kind
    if len(order) == 1:
        return Choice(kind, "the only target that could be timed here")
    plain = next((slug for slug in order if by_slug[slug].target.kind == promised), order[0])
    if chosen == plain:
        best = min((slug for slug in order if slug != chosen), key=lambda slug: single[slug].record.ms)
        speed = single[chosen].record.ms / single[best].record.ms
        return Choice(kind, f"not faster: kept {kind}; {by_slug[best].target.kind} runs at {speed:.2f} times its speed")
    ratio = single[plain].record.ms / single[chosen].record.ms
    lost = max(0.0, round(by_slug[chosen].db_lost, 3))
    return Choice(kind, f"{ratio:.1f} times faster than {by_slug[plain].target.kind} at {lost:g} dB lost")


def _faster(one: Timed, other: Timed) -> bool:
    noise = ERRORS * math.hypot(one.error, other.error)
    return one.record.ms < other.record.ms * (1.0 - max(MARGIN, noise))


def _simplicity(target: Target) -> tuple[int, int]:
    return _PRECISIONS.index(target.precision), TARGETS.index(target.kind)


def _sittings(candidates: Sequence[Candidate], pixels: int) -> Iterator[list[Candidate]]:
    """Candidates of one device, as many at a time as fit."""
    most = MOST_PIXELS // pixels
    for device in dict.fromkeys(candidate.target.device for candidate in candidates):
        same = [candidate for candidate in candidates if candidate.target.device == device]
        for start in range(0, len(same), most):
            yield same[start : start + most]


def _sit(
    candidates: Sequence[Candidate], batch: int, tile: tuple[int, int], rule: StabilityRule, seed: int
) -> list[Timed]:
    images = np.random.default_rng(0).random((batch, 3, *tile), dtype=np.float32)
    timers = {
        candidate.target.slug: open_engine(candidate.model, candidate.target, candidate.stored).timer(images)
        for candidate in candidates
    }
    timings, anchor = time_interleaved(timers, _anchor(candidates[0].target), rule, seed=seed)
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")

    def record(candidate: Candidate, timing: Timing) -> Timed:
        target = candidate.target
        return Timed(
            SpeedRecord(
                target=target.slug,
                device=device_name(target),
                engine_version=engine_version(target),
                batch=batch,
                height=tile[0],
                width=tile[1],
                ms=timing.ratio * anchor.ms,
                spread=timing.spread,
                date=date,
            ),
            timing.error,
        )

    return [record(candidate, timings[candidate.target.slug]) for candidate in candidates]


def _anchor(target: Target) -> Callable[[], float]:
    """The anchor on an engine of the device; it has no int8 form."""
    graph, side = anchor_for(target)
    precision = "fp16" if target.precision == "fp16" else "fp32"
    where = Target(target.device, target.engine, precision, target.threads)
    image = np.random.default_rng(0).random((1, 3, side, side), dtype=np.float32)
    return open_engine(graph, where).timer(image)

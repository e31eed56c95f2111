"""Timing exported graphs in the engine that serves, as multiples of one anchor that is the same for every table."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from export.anchor import anchor_for
from runtime import AnchorTiming, StabilityRule, Target, Timing, open_engine, time_interleaved
from search.latency.table import Measured


@dataclass(frozen=True)
class Subject:
    """A graph to time.

    Attributes:
        id: Unique among those that are timed together.
        graph: Serialised ONNX model.
        size: (height, width) of its input.
    """

    id: str
    graph: bytes
    size: tuple[int, int]

    @property
    def hash(self) -> str:
        """Of the graph."""
        return hashlib.sha256(self.graph).hexdigest()[:16]


def anchor(target: Target) -> Subject:
    """Convolutions whose time tells how fast the machine is just now."""
    graph, side = anchor_for(target)
    return Subject("anchor", graph, (side, side))


def time_graphs(
    subjects: Sequence[Subject],
    target: Target,
    rule: StabilityRule | Mapping[str, StabilityRule],
    *,
    seed: int = 0,
    on_round: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, Timing], AnchorTiming]:
    """Time graphs against each other and the anchor, in turns and in random order, each on one random image.

    Args:
        subjects: What to time; ids must differ.
        target: Where they run.
        rule: When a timing counts as settled; one for all, or one for each id.
        seed: Order of the turns.
        on_round: Called with (rounds done, subjects not settled) after each round.

    Returns:
        Id -> timing, whose `ratio` times a table's `anchor_ms` are milliseconds in that table's terms; and the anchor's
        own timing.
    """
    timers = {subject.id: _timer(subject, target) for subject in subjects}
    if len(timers) != len(subjects):
        raise ValueError(f"subjects share an id: {sorted(subject.id for subject in subjects)}")
    return time_interleaved(timers, _timer(anchor(target), target), rule, seed=seed, on_round=on_round)


def measured(subject: Subject, timing: Timing, anchor_ms: float, session: int) -> Measured:
    """A timing as a table's entry."""
    return Measured(
        id=subject.id,
        graph=subject.hash,
        session=session,
        ms=timing.ratio * anchor_ms,
        error=timing.error,
        raw_ms=timing.raw_ms,
        spread=timing.spread,
        runs=timing.runs,
        stable=timing.stable,
    )


def _timer(subject: Subject, target: Target) -> Callable[[], float]:
    image = np.random.default_rng(0).random((1, 3, *subject.size), dtype=np.float32)
    return open_engine(subject.graph, target).timer(image)

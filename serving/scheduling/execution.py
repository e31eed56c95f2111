"""One batch on one slot: cut, run, put. What one tile does wrong never touches the others of its batch."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from runtime.errors import EngineError
from serving.scheduling.dispatcher import Run
from serving.scheduling.entry import Entry
from serving.scheduling.interfaces import FloatArray


@dataclass
class Outcome:
    """What came of one batch.

    Attributes:
        failures: What went wrong, for each request that it went wrong for.
        whole: Whether the batch ran as one; only then its time says what such a batch costs.
        seconds: That the network took for the batch, if it ran as one.
    """

    failures: dict[Entry, Exception] = field(default_factory=dict)
    whole: bool = True
    seconds: float = 0.0


def execute(run: Run, slot: int) -> Outcome:
    """Runs a batch and hands its tiles back. Raises nothing: what fails is in the outcome, under whose tile it was."""
    outcome = Outcome()
    pieces: list[tuple[Entry, int, FloatArray]] = []
    for entry, index in run.tiles:
        restoration = entry.restoration
        if restoration is None or not entry.alive:
            outcome.whole = False
            continue
        try:
            pieces.append((entry, index, restoration.cut(index)))
        except Exception as error:  # whatever it is, it ends one request and not this thread
            outcome.failures[entry] = error
            outcome.whole = False
    _run(run, slot, pieces, outcome)
    return outcome


def _run(run: Run, slot: int, pieces: list[tuple[Entry, int, FloatArray]], outcome: Outcome) -> None:
    if not pieces:
        outcome.whole = False
        return
    batch = pieces[0][2] if len(pieces) == 1 else np.concatenate([piece for _, _, piece in pieces])
    start = time.perf_counter()
    try:
        outputs = run.model.run(slot, batch)
        outcome.seconds = time.perf_counter() - start
        if outputs.shape[0] != len(pieces):
            raise EngineError(f"{run.model.name} gave {outputs.shape[0]} results for {len(pieces)} tiles.")
    except Exception as error:
        outcome.whole = False
        if len(pieces) == 1:
            outcome.failures[pieces[0][0]] = error
            return
        # One of them may be to blame, or the size of the batch: each gets its own try.
        for piece in pieces:
            if piece[0] not in outcome.failures and piece[0].alive:
                _run(run, slot, [piece], outcome)
        return
    for (entry, index, _), output in zip(pieces, outputs, strict=True):
        restoration = entry.restoration
        if restoration is None or entry in outcome.failures:
            continue
        try:
            restoration.put(index, output)
        except Exception as error:
            outcome.failures[entry] = error

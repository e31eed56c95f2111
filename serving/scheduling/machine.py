"""How the machine shares its cores among what runs: the model behind every prediction.

A run of tiles keeps `cores` cores busy (none if it is on a GPU), a codec job one. While all that runs wants no more
than there is, everything goes at full speed; beyond, the system slows all down alike. Each second of a piece of work
counts as a part of the machine's time, its `share`: a codec job one core of all, a run one slot of all or its cores of
all, whichever is more. Whenever all slots, all codec threads or all cores are busy, shares add up to at least one
second a second (codecs on `c` of `C` cores: c/C; `m` runs on `m` slots: m * 1/m; more than fits: slowed to exactly 1).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(eq=False)
class Piece:
    """A run of tiles or a codec job in progress; it is not interrupted.

    Attributes:
        seconds: Predicted, at full speed.
        cores: Cores it keeps busy.
        share: Part of the machine that a second of it takes, up to 1.
        done: Seconds at full speed so far, may exceed the prediction.
    """

    seconds: float
    cores: float
    share: float
    done: float = 0.0

    @property
    def left(self) -> float:
        """Seconds to go at full speed, at least 0."""
        return max(0.0, self.seconds - self.done)


class Machine:
    """Slots and cores, and what runs on them.

    Args:
        slots: Runs at the same time, at least 1.
        cores: Processor cores, at least 1.
    """

    def __init__(self, slots: int, cores: int) -> None:
        if slots < 1 or cores < 1:
            raise ValueError(f"A machine has at least 1 slot and 1 core, got {slots} and {cores}.")
        self.slots, self.cores = slots, cores
        self.codec_share = 1.0 / cores
        self.pieces: list[Piece] = []
        self._now = 0.0

    def run_share(self, threads: int) -> float:
        """The share of a run that uses so many threads."""
        return min(1.0, max(1.0 / self.slots, threads / self.cores))

    @property
    def speed(self) -> float:
        """At what part of its full speed everything runs now, above 0 and at most 1."""
        wanted = sum(piece.cores for piece in self.pieces)
        return min(1.0, self.cores / wanted) if wanted else 1.0

    def advance(self, now: float) -> None:
        """Lets time pass until `now`."""
        elapsed = now - self._now
        self._now = now
        if elapsed > 0 and self.pieces:
            progress = elapsed * self.speed
            for piece in self.pieces:
                piece.done += progress

    def start(self, piece: Piece, now: float) -> None:
        """A piece of work begins."""
        self.advance(now)
        self.pieces.append(piece)

    def finish(self, piece: Piece, now: float) -> None:
        """A piece of work has ended, whatever was predicted."""
        self.advance(now)
        self.pieces.remove(piece)

"""Margins between arms, and what may be said about them; plain numbers in, plain words out."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.claims.common import Verdict

Outcome = Literal["won", "tie", "lost"]

CLEAR = 2.0
"""A margin counts from so many standard errors on; fixed before the first run."""


@dataclass(frozen=True)
class Margin:
    """How far an arm is ahead of a rival.

    Attributes:
        rival: Name.
        db: Mean over seeds of the arm's dB minus the rival's.
        error_db: Standard error of `db`.
    """

    rival: str
    db: float
    error_db: float

    @property
    def outcome(self) -> Outcome:
        """`won` or `lost` from `CLEAR` standard errors on, otherwise `tie`; equal numbers are a tie."""
        if self.db == 0 or abs(self.db) < CLEAR * self.error_db:
            return "tie"
        return "won" if self.db > 0 else "lost"


def paired_margin(rival: str, arm: Sequence[float], other: Sequence[float], sampling: float = 0.0) -> Margin:
    """Compare seed by seed: both were searched and trained with the same seeds, so what a seed does to both cancels.

    Args:
        rival: Name.
        arm: dB per seed.
        other: The rival's dB, for the same seeds in the same order.
        sampling: A further standard error that seeds do not show: that of the mean over a few random networks.

    Raises:
        ValueError: Different numbers of seeds, or fewer than two.
    """
    if len(arm) != len(other) or len(arm) < 2:
        raise ValueError(f"need the same two or more seeds of both, got {len(arm)} and {len(other)}")
    differences = [a - b for a, b in zip(arm, other, strict=True)]
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return Margin(rival, statistics.fmean(differences), math.hypot(error, sampling))


def sampling_error(network_means: Sequence[float]) -> float:
    """Standard error of the mean over drawn networks; one dB per network."""
    return statistics.stdev(network_means) / math.sqrt(len(network_means))


def rank_among(db: float, others: Sequence[float]) -> int:
    """1 if none of the others is better, one more for each that is."""
    return 1 + sum(other > db for other in others)


def verdict(margins: Sequence[Margin]) -> tuple[Verdict, str]:
    """`holds` only if every rival is beaten clearly; and what was found, rival by rival."""
    won, tied, lost = (
        [f"{m.rival} ({m.db:+.3f} ± {m.error_db:.3f} dB)" for m in margins if m.outcome == outcome]
        for outcome in ("won", "tie", "lost")
    )
    words = [
        f"{text} {', '.join(rivals)}"
        for text, rivals in (("clearly ahead of", won), ("not told apart from", tied), ("clearly behind", lost))
        if rivals
    ]
    return "holds" if won and not tied and not lost else "does not hold", f"Latency is {'; '.join(words)}."

"""Margins between arms, and what may be said about them; plain numbers in, plain words out."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

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


def paired_margin(rival: str, arm: Sequence[float], other: Sequence[float]) -> Margin:
    """Compare seed by seed: both were searched and trained with the same seeds, so what a seed does to both cancels.

    Args:
        rival: Name.
        arm: dB per seed.
        other: The rival's dB, for the same seeds in the same order.

    Raises:
        ValueError: Different numbers of seeds, or fewer than two.
    """
    if len(arm) != len(other) or len(arm) < 2:
        raise ValueError(f"need the same two or more seeds of both, got {len(arm)} and {len(other)}")
    differences = [a - b for a, b in zip(arm, other, strict=True)]
    return Margin(rival, statistics.fmean(differences), _error_of_mean(differences))


def independent_margin(rival: str, arm: Sequence[float], others: Sequence[float]) -> Margin:
    """Compare the mean of one group with that of another; a group's spread is its own.

    Raises:
        ValueError: A group has fewer than two.
    """
    if min(len(arm), len(others)) < 2:
        raise ValueError(f"need two or more of both, got {len(arm)} and {len(others)}")
    error = math.hypot(_error_of_mean(arm), _error_of_mean(others))
    return Margin(rival, statistics.fmean(arm) - statistics.fmean(others), error)


def _error_of_mean(values: Sequence[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values))


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


def joint_verdict(margins: Mapping[str, Sequence[Margin]]) -> tuple[Verdict, str]:
    """`holds` only if it holds under every condition; the words of all of them."""
    found = {condition: verdict(of_rivals) for condition, of_rivals in margins.items()}
    every = bool(found) and all(outcome == "holds" for outcome, _ in found.values())
    words = " ".join(f"{condition}: {text}" for condition, (_, text) in found.items())
    return "holds" if every else "does not hold", words


def above_line(points: Sequence[tuple[float, float]], ms: float, db: float) -> float:
    """How many dB a network is above the straight line through (ms, dB) of others, at its own ms.

    Slope: median over all pairs of points; height: median of what is left (Theil and Sen). Unlike least squares it is
    not moved by a few networks that failed to learn.
    """
    x, y = np.array(points).T
    apart = x[:, None] < x[None, :]
    slope = np.median((y[None, :] - y[:, None])[apart] / (x[None, :] - x[:, None])[apart])
    return float(db - slope * ms - np.median(y - slope * x))

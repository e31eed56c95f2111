"""The graphs that price a space: chains of carriers, and the linear system that turns their times into rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import lsq_linear
from torch import Tensor, nn

from models import Carrier, OpKey
from models.mixed import weighted_sum

LONG = 4
"""Units in a chain; long enough that the fixed cost of stem and tail does not drown a unit."""
PULL = 1e-4
"""Strength of the pull of rows towards zero beside one chain's relative error: decides only what nothing else does."""


class _Chain(nn.Module):
    """(N, 3, H, W) -> (N, 3, H, W) at the carrier's resolution: stem, `length` units, tail.

    With several scales the stem makes one input per scale, and the tail brings all of them back to the finest.
    """

    def __init__(self, carrier: Carrier, length: int) -> None:
        super().__init__()
        strides = [2**n for n in range(carrier.branches)]
        self.stem = nn.ModuleList(nn.Conv2d(3, carrier.channels * s, s, stride=s) for s in strides)
        self.units = nn.ModuleList(carrier.make() for _ in range(length))
        self.tail = nn.ModuleList(
            nn.Sequential(nn.Conv2d(carrier.channels * s, 3 * s * s, 1), nn.PixelShuffle(s) if s > 1 else nn.Identity())
            for s in strides
        )

    def forward(self, x: Tensor) -> Tensor:
        scales = [F.relu(stem(x)) for stem in self.stem]
        if len(scales) == 1:
            for unit in self.units:
                scales[0] = unit(scales[0])
        else:
            for unit in self.units:
                scales = unit(scales)
        return weighted_sum((1.0, tail(scale)) for tail, scale in zip(self.tail, scales, strict=True))


@dataclass(frozen=True)
class Chain:
    """A carrier repeated `length` times."""

    carrier: Carrier
    length: int

    @property
    def id(self) -> str:
        """Unique within a table."""
        return f"{self.length} x ({self.carrier.id})"

    def module(self) -> nn.Module:
        """The network to export and time, with seeded weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return _Chain(self.carrier, self.length)


def is_chain(subject: str) -> bool:
    """Is this the id of a chain, and not of a whole network?"""
    return " x (" in subject


def plan_chains(carriers: Sequence[Carrier]) -> list[list[Chain]]:
    """Chains to time, in groups that share resolution, channels and number of scales.

    Each carrier is timed once, `LONG` units long; the first of each group also one unit long, which fixes the cost of
    the group's stem and tail.
    """
    groups: dict[tuple[int, int, int], list[Chain]] = {}
    for carrier in carriers:
        group = groups.setdefault((carrier.divisor, carrier.channels, carrier.branches), [])
        if not group:
            group.append(Chain(carrier, 1))
        group.append(Chain(carrier, LONG))
    return list(groups.values())


def solve_rows(groups: Sequence[Sequence[Chain]], chain_ms: Mapping[str, float]) -> dict[OpKey, float]:
    """Milliseconds of each row from the chains' times: least squares over times that cannot be negative.

    `time(chain) = fixed(group) + length * sum(rows of the carrier)`. Where two rows only ever occur together (the
    reference convolution into and out of a narrower width) a faint pull towards zero shares their time equally, and
    every prediction uses only their sum.
    """
    keys = sorted({key for group in groups for chain in group for key in chain.carrier.keys})
    column = {key: len(groups) + index for index, key in enumerate(keys)}
    rows, times = [], []
    for number, group in enumerate(groups):
        for chain in group:
            row = np.zeros(len(groups) + len(keys))
            row[number] = 1.0
            for key in chain.carrier.keys:
                row[column[key]] += chain.length
            # Relative weighting: a slow chain's noise is in proportion to its time.
            scale = 1.0 / chain_ms[chain.id]
            rows.append(row * scale)
            times.append(1.0)
    pull = PULL / float(np.median(list(chain_ms.values()))) * np.eye(len(groups) + len(keys))
    pull[: len(groups)] = 0.0
    matrix, target = np.vstack([np.array(rows), pull]), np.concatenate([times, np.zeros(len(pull))])
    solution = lsq_linear(matrix, target, bounds=(0.0, np.inf), method="bvls").x
    return {key: float(solution[column[key]]) for key in keys}

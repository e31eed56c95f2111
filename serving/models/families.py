"""Which model of a family is fast, balanced or best: by what was measured, never by what it is called."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from serving.models.facts import Facts, QualityKey, SpeedKey

__all__ = ["ROLES", "Ranking", "Role", "rank"]

Role = Literal["fast", "balanced", "best"]
ROLES: tuple[Role, ...] = get_args(Role)
"""What a request may ask for in place of a name."""

# A time of zero has no logarithm.
_SMALLEST_MS = 1e-9


@dataclass(frozen=True)
class Ranking:
    """Positions of a family's members.

    Attributes:
        order: Best first.
        fast: Who takes the least time.
        balanced: Who is between the two others; see `rank`.
        best: Who has the highest quality, the first of `order`.
    """

    order: tuple[int, ...]
    fast: int
    balanced: int
    best: int

    def of(self, role: Role) -> int:
        """Who has a role."""
        return {"fast": self.fast, "balanced": self.balanced, "best": self.best}[role]


def rank(members: Sequence[Facts]) -> Ranking:
    """Gives every role to a member; one member can have several.

    Quality is the dB of what is served, if all members have it of the same images and metric; if not, it is the number
    of parameters. Time is what was measured on one device where all were made, if there is such a device, so that all
    workers agree; if not, it is what this machine needs. Among equals the one that was found first comes first.

    *best* has the highest quality and *fast* the least time. *balanced* is chosen among those that no other member
    beats in one without losing in the other, and that are neither: the one whose time is nearest, by ratio, to the
    geometric mean of the times of fast and best. A family without such a member (two members, for example) has no
    middle, and its best is its balanced: who wants less time asks for fast.

    Args:
        members: At least one, in the order in which they were found.
    """
    quality, ms = _qualities(members), _times(members)
    order = sorted(range(len(members)), key=lambda member: -quality[member])
    best = order[0]
    fast = min(order, key=lambda member: ms[member])
    between = [
        member
        for member in order
        if ms[fast] < ms[member] < ms[best] and not any(_beats(other, member, quality, ms) for other in order)
    ]
    middle = math.sqrt(ms[fast] * ms[best])
    balanced = min(between, key=lambda member: abs(math.log(ms[member] / middle)), default=best)
    return Ranking(tuple(order), fast, balanced, best)


def _beats(other: int, member: int, quality: Sequence[float], ms: Sequence[float]) -> bool:
    as_good = quality[other] >= quality[member] and ms[other] <= ms[member]
    return as_good and (quality[other], ms[other]) != (quality[member], ms[member])


def _qualities(members: Sequence[Facts]) -> list[float]:
    key = _shared_quality(members)
    return [float(member.parameters) if key is None else member.quality[key] for member in members]


def _times(members: Sequence[Facts]) -> list[float]:
    key = _shared_speed(members)
    return [max(member.here_ms if key is None else member.speed[key], _SMALLEST_MS) for member in members]


def _shared_quality(members: Sequence[Facts]) -> QualityKey | None:
    return next((key for key in members[0].quality if all(key in member.quality for member in members)), None)


def _shared_speed(members: Sequence[Facts]) -> SpeedKey | None:
    return next((key for key in members[0].speed if all(key in member.speed for member in members)), None)

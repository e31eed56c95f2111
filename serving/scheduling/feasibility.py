"""Who makes its deadline, by sums over the order of deadlines.

The bound. Let requests be served by earliest deadline first, and nothing else begin. Then request k is done after at
most

    B(k) = what runs now + load of all requests up to k that has not begun + path(k)

in seconds, where `load` counts each second by its share of the machine and `path` adds what the longest chain of
k's own pieces takes beyond its shares. Why: at any moment before k is done, either all slots, all codec threads or all
cores are busy, and then the sum of shares falls by a second a second (see `machine`); or a piece of k runs at full
speed, and then its share falls in the sum and the rest of the second falls in `path(k)`. This is Graham's bound for
list scheduling. What runs for others counts at most for the time up to k's deadline: it cannot take more before.

The invariant. B(k) falls by a second a second while only pieces of requests up to k begin. A piece of a later request
raises it by the piece's share of the time; so it may begin while the slack `deadline - now - B(k)` of every earlier
request is at least that (`Table.allows`). A request is admitted when its own slack and that of all admitted requests
stay at least 0. So with exact costs no admitted request is late, whatever comes after it. The tests play this
against random arrivals on a simulated machine.

Held back. A piece that may not begin waits although a slot or a core is idle, while an earlier request without slack
for it is on its path. So a bound also holds the paths of all earlier requests at risk: those with less slack than all
that is left of later ones. Nothing but an admission puts a request at risk, since a piece that begins takes as much
from what is left as from the slack, or less.

Room. Where pictures of all admitted requests do not fit into memory together, a request without room may have to wait
until those that have some are done. Meanwhile at least one of them makes progress, so the sum of their seconds, one
piece after the other, bounds the wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from serving.scheduling.entry import Entry
from serving.scheduling.machine import Machine

EPSILON = 1e-9
"""Rounding of sums of seconds."""

RECHECK_S = 0.001
"""What is held back is looked at again after this at the earliest; mostly something else ends before."""


class Standing(NamedTuple):
    """One request in order of deadlines.

    Attributes:
        entry: The request.
        bound: Seconds from now until it is done at the latest.
        slack: Seconds that may be spent on later requests first.
        lost: Whether it would be late even if it were alone; then nothing is held back for it.
    """

    entry: Entry
    bound: float
    slack: float
    lost: bool

    @property
    def safe(self) -> bool:
        """Whether its promise can be kept."""
        return self.slack >= -EPSILON


class Table:
    """Bounds of all requests at one moment.

    Args:
        entries: Those that are alive, by deadline.
        machine: With what runs on it, at `now`.
        now: The moment.
        crowded: Whether their pictures do not all fit into memory.
    """

    def __init__(self, entries: Sequence[Entry], machine: Machine, now: float, crowded: bool = False) -> None:
        self.now = now
        self.crowded = crowded
        running = [(piece.left, piece.share) for piece in machine.pieces]
        serial = 0.0
        if crowded:
            serial = sum(left for left, _ in running) + sum(entry.serial for entry in entries if entry.granted)
        loads = [entry.load for entry in entries]
        later, before, held = sum(loads), 0.0, 0.0
        self.rows: list[Standing] = []
        for entry, load in zip(entries, loads, strict=True):
            path = entry.path
            before += load
            later -= load
            left = entry.deadline - now
            bound = before + path + held
            for rest, share in running:
                bound += min(rest, max(left, 0.0)) * share
            if crowded and not entry.granted:
                serial += entry.serial
                bound = max(bound, serial)
            lost = load + path > left + EPSILON
            if not lost and left - bound < later - EPSILON:
                held += path
            self.rows.append(Standing(entry, bound, left - bound, lost))

    def allows(self, entry: Entry, seconds: float, share: float) -> bool:
        """Whether every earlier deadline is kept if a piece of `entry` of so many seconds begins now."""
        for row in self.rows:
            if row.entry is entry:
                break
            if row.lost or not self._concerns(row, entry):
                continue
            if row.slack < self._harm(row, seconds, share) - EPSILON:
                return False
        return True

    def held_until(self, entry: Entry, seconds: float, share: float) -> float | None:
        """The moment until which a piece of `entry` must not begin though nothing else can; None if it may.

        Time is left unused only for a promise that is kept by it. One that is broken already, because costs were not
        as predicted, is served first but nothing waits for it.
        """
        moments = []
        for row in self.rows:
            if row.entry is entry:
                break
            concerned = row.safe and not row.lost and self._concerns(row, entry)
            if concerned and row.slack < self._harm(row, seconds, share) - EPSILON:
                moments.append(self.now + max(row.slack, RECHECK_S))
        return min(moments, default=None)

    def _concerns(self, row: Standing, entry: Entry) -> bool:
        # A request that waits for the room of `entry` has all of that in its bound already.
        return not (self.crowded and entry.granted and not row.entry.granted)

    def _harm(self, row: Standing, seconds: float, share: float) -> float:
        return min(seconds, max(row.entry.deadline - self.now, 0.0)) * share


def breaks_promise(before: Table, after: Table) -> bool:
    """Whether a request that was safe, or at least not lost, is worse off and late in the second table."""
    slack = {row.entry: row.slack for row in before.rows}
    for row in after.rows:
        if row.safe or row.lost or row.entry not in slack:
            continue
        if row.slack < slack[row.entry] - EPSILON:
            return True
    return False

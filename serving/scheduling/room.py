"""Memory room for pictures: who may decode, so that what is decoded and not yet answered fits into a budget."""

from __future__ import annotations

from collections.abc import Sequence

from serving.scheduling.entry import Entry
from serving.scheduling.feasibility import EPSILON, Table

PASSING_S = 2.0
"""How long smaller pictures may pass one that does not fit yet."""


class Room:
    """Bytes of pictures held at a time. One picture larger than all of it goes alone.

    Args:
        capacity: Bytes.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held = 0
        self._asked: set[Entry] = set()

    def is_crowded(self, entries: Sequence[Entry]) -> bool:
        """Whether pictures of these requests do not fit together with what is held by those that have ended."""
        waiting = sum(entry.demand.picture_bytes for entry in entries if not entry.granted)
        return self.held + waiting > self.capacity

    @property
    def waiting(self) -> int:
        """Requests that wait for room."""
        return len(self._asked)

    def ask(self, entry: Entry) -> None:
        """A request wants to decode."""
        self._asked.add(entry)

    def forget(self, entry: Entry) -> None:
        """A request waits no longer."""
        self._asked.discard(entry)

    def leave(self, entry: Entry) -> None:
        """A request needs the room it has no longer."""
        if entry.granted:
            entry.granted = False
            self.held -= entry.demand.picture_bytes

    def grant(self, table: Table) -> list[Entry]:
        """Gives room to whom it can, earliest deadline first; call again after a grant, with a new table.

        A smaller picture passes one that does not fit yet only for a while, and never if that would break the deadline
        of one that waits: until the smaller one is done its room is gone.
        """
        passed: list[Entry] = []
        for row in table.rows:
            entry = row.entry
            if entry.granted:
                continue
            if entry not in self._asked:
                passed.append(entry)
            elif not self._fits(entry):
                if entry.blocked_since is None:
                    entry.blocked_since = table.now
                passed.append(entry)
            elif self._may_pass(entry, passed, table):
                self._asked.discard(entry)
                entry.granted = True
                self.held += entry.demand.picture_bytes
                return [entry]
            else:
                passed.append(entry)
        return []

    def _fits(self, entry: Entry) -> bool:
        return self.held == 0 or self.held + entry.demand.picture_bytes <= self.capacity

    def _may_pass(self, entry: Entry, passed: list[Entry], table: Table) -> bool:
        if not table.crowded:
            return True
        slacks = {row.entry: row for row in table.rows}
        for other in passed:
            row = slacks[other]
            if other.blocked_since is not None and table.now - other.blocked_since > PASSING_S:
                return False
            if row.safe and not row.lost and row.slack < entry.serial - EPSILON:
                return False
        return True

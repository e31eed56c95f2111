"""Start-time fair queueing: requests share the slots equally, each from the moment its tiles may run.

Every request carries a tag, the virtual time at which its next tile is due. The lowest tag is served and grows by what
was served; virtual time is the tag served last. A request that becomes ready starts at the present virtual time, so a
thumbnail waits for what runs, and then for at most one run of every other active request.
"""

from __future__ import annotations

from collections.abc import Iterable

from serving.scheduling.entry import Entry


class FairOrder:
    """The virtual clock of one scheduler."""

    def __init__(self) -> None:
        self._now = 0.0

    def join(self, entry: Entry) -> None:
        """A request's tiles may run from now on."""
        entry.tag = max(entry.tag, self._now)

    def order(self, entries: Iterable[Entry]) -> list[Entry]:
        """The most deserving first; of equals, the one admitted first."""
        return sorted(entries, key=lambda entry: (entry.tag, entry.number))

    def serve(self, entry: Entry, seconds: float, *, leads: bool) -> None:
        """A request is given so many seconds of a slot; the one that leads a run moves virtual time."""
        if leads:
            self._now = max(self._now, entry.tag)
        entry.tag += seconds

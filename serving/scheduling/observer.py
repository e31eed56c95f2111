"""Who is told what happens in a scheduler, at the moment it happens."""

from __future__ import annotations

from typing import Protocol

from serving.scheduling.interfaces import Model

__all__ = ["ADMITTED", "NOBODY", "Observer"]

ADMITTED = "admitted"
"""The decision to take a request; the others are the codes of the errors in `errors`."""


class Observer(Protocol):
    """Told from any thread, of decisions and late requests under the scheduler's lock.

    So every method is quick, waits for nothing, calls nothing of the scheduler and raises nothing.
    """

    def decided(self, decision: str) -> None:
        """Admission has decided about one request: `admitted`, `queue_full` or `deadline_unattainable`."""

    def ran(self, model: Model, tile: tuple[int, int], tiles: int, seconds: float) -> None:
        """A batch has run as one, before anybody is told of its tiles.

        Args:
            model: The network.
            tile: Rows and columns of each tile.
            tiles: How many.
            seconds: That the network took for all of them, cutting and stitching left out.
        """

    def late(self) -> None:
        """An admitted request is dropped at its deadline."""


class _Nobody:
    """Takes no notice."""

    def decided(self, decision: str) -> None:
        """Nothing."""

    def ran(self, model: Model, tile: tuple[int, int], tiles: int, seconds: float) -> None:
        """Nothing."""

    def late(self) -> None:
        """Nothing."""


NOBODY: Observer = _Nobody()
"""Takes no notice of anything."""

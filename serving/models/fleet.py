"""Several workers with the same models: an order given to one is carried out by all."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runtime.errors import MillisightError
from serving.errors import ModelNotFoundError
from serving.models.catalogue import Catalogue
from serving.models.discovery import fingerprint
from serving.models.keeper import Change, ModelKeeper
from serving.models.shared_state import Action, Order, Outcome, SharedState
from serving.settings import Settings

__all__ = ["Fleet", "Report", "rehearse"]

logger = logging.getLogger("bentoml.service.millisight")

POLL_S = 0.5
BEAT_S = 2.0
_ASK_AGAIN_S = 0.05


@dataclass(frozen=True)
class Report:
    """How an order went.

    Attributes:
        number: Of the order.
        outcomes: One for every worker that was alive.
        own: The id of the worker that gave it.
    """

    number: int
    outcomes: tuple[Outcome, ...]
    own: str

    @property
    def complete(self) -> bool:
        """Whether every worker has carried it out, well or not."""
        return all(outcome.state != "waiting" for outcome in self.outcomes)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        workers = [{"pid": outcome.pid, "state": outcome.state, **outcome.told} for outcome in self.outcomes]
        return {"order": self.number, "complete": self.complete, "workers": workers}


class Fleet:
    """This worker's part in a server of several: it follows the orders in the shared state, its own among them.

    Threads, not tasks: a worker that has not had a request yet follows too, and the event loop never waits for a disk.

    Args:
        keeper: The models of this process.
        state: What the workers share.
    """

    def __init__(self, keeper: ModelKeeper, state: SharedState) -> None:
        self.keeper = keeper
        self._state = state
        self._done_until = 0
        self._looked_at: frozenset[tuple[str, int, int, int]] = frozenset()
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._follow, name="follow-orders", daemon=True),
            threading.Thread(target=self._beat, name="beat", daemon=True),
        ]

    @classmethod
    def of(cls, settings: Settings, on_change: Callable[[Catalogue], None] | None = None) -> Fleet:
        """This worker's part in the server with these settings.

        Args:
            settings: Where bundles are, and where the workers meet.
            on_change: Told every new catalogue, as by `ModelKeeper`.

        Raises:
            SettingsError: The shared folder cannot be used.
        """
        return cls(ModelKeeper(settings, on_change), SharedState(settings.state))

    def open(self) -> None:
        """Makes this worker known and opens its models; those that were unloaded stay so.

        Raises:
            MillisightError: As `ModelKeeper.open`.
        """
        self._done_until, unloaded = self._state.register()
        self._looked_at = fingerprint(self.keeper.settings)
        self.keeper.open(unloaded)

    def warm_up(self) -> None:
        """Warms the models up, then follows orders.

        Raises:
            MillisightError: As `ModelKeeper.warm_up`.
        """
        self.keeper.warm_up()
        if self._state.announce(self._digest()):
            logger.warning("Other workers serve other versions than lie on the disk now: all of them look again.")
            self._state.order("reload")
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Follows no more and drops the models."""
        self._ended.set()
        self._wake.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        self._state.leave()
        self.keeper.close()

    async def order(self, action: Action, name: str = "") -> Report:
        """Has all workers do something, and waits until they have, at most as long as a request may take.

        Raises:
            ModelNotFoundError: There is no bundle of this name.
        """
        number = await asyncio.to_thread(self._give, action, name)
        limit = time.monotonic() + self.keeper.settings.request_timeout
        while True:
            report = Report(number, tuple(await asyncio.to_thread(self._state.outcomes, number)), self._state.worker)
            if report.complete or time.monotonic() > limit:
                return report
            await asyncio.sleep(_ASK_AGAIN_S)

    def _give(self, action: Action, name: str) -> int:
        if action != "reload" and not self.keeper.knows(name):
            known = ", ".join(model.name for model in self.keeper.catalogue.models) or "nothing"
            raise ModelNotFoundError(f"There is no bundle called {name[:80]!r}. Loaded: {known}.")
        number = self._state.order(action, name)
        self._wake.set()
        return number

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            try:
                self._state.beat()
            except sqlite3.Error:
                logger.exception("The workers' shared file could not be written; trying again.")

    def _follow(self) -> None:
        looked = time.monotonic()
        watch_s = self.keeper.settings.watch_s
        while not self._ended.is_set():
            self._wake.wait(POLL_S)
            self._wake.clear()
            try:
                for order in self._state.orders_after(self._done_until):
                    if self._ended.is_set():
                        return
                    self._carry_out(order)
                if watch_s > 0 and time.monotonic() - looked >= watch_s:
                    looked = time.monotonic()
                    self._watch()
            except (MillisightError, OSError, sqlite3.Error):
                logger.exception("Orders for the models could not be followed; trying again.")

    def _carry_out(self, order: Order) -> None:
        """Carries out one order; whatever happens, it is not tried twice."""
        self._done_until = order.number
        told, failed = dict[str, Any](), False
        try:
            told = _told(self._do(order))
        except Exception as error:  # a defect must not end the thread, and whoever gave the order is told
            logger.exception("The order %s %s failed.", order.action, order.name)
            told, failed = {"error": type(error).__name__}, True
        self._state.carried_out(order, told, failed=failed, digest=self._digest())

    def _do(self, order: Order) -> Change:
        if order.action == "unload":
            return self.keeper.unload(order.name)
        if order.action == "load":
            return self.keeper.load(order.name)
        self._looked_at = fingerprint(self.keeper.settings)
        return self.keeper.reload()

    def _watch(self) -> None:
        seen = fingerprint(self.keeper.settings)
        if seen != self._looked_at:
            self._looked_at = seen
            self.keeper.reload()
            self._state.announce(self._digest())

    def _digest(self) -> str:
        """Of all that this worker serves."""
        served = sorted(f"{model.name} {model.digest}" for model in self.keeper.catalogue.models)
        return hashlib.sha256("\n".join(served).encode()).hexdigest()


def rehearse(settings: Settings) -> None:
    """Opens and warms up everything once, as one slot of a worker would, and drops it again.

    Raises:
        MillisightError: A worker with these settings could not start.
    """
    one_slot = settings.model_copy(update={"slots": 1, "threads": settings.slot_threads})
    state, keeper = SharedState(settings.state), ModelKeeper(one_slot)
    try:
        keeper.open(state.unloaded())
        keeper.warm_up()
    finally:
        keeper.close()
        state.close()


def _told(change: Change) -> dict[str, Any]:
    refused = [{"bundle": refusal.label, "name": refusal.name, "reason": refusal.reason} for refusal in change.refused]
    return {
        "loaded": list(change.loaded),
        "swapped": list(change.swapped),
        "unloaded": list(change.unloaded),
        "refused": refused,
    }

"""A run's own registry of metrics, sent on every few seconds, at every change of stage and at the end."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Gauge

from training.telemetry import catalogue
from training.telemetry.catalogue import Family, families
from training.telemetry.protocol import STAGES, NetworkSeconds, Progress, RunFacts, Stage
from training.telemetry.sinks import Outlet, Sink

EVERY = 5.0
"""Least seconds between two reports of a stage. Sending takes a few milliseconds."""


@dataclass(frozen=True)
class _Place:
    """Where a run is."""

    stage: Stage
    part: int
    parts: int


class RunMetrics:
    """The `Telemetry` that Prometheus hears. Use it for one sitting of one run.

    Everything is sent from the thread of the run: a thread beside it would disturb timings.

    Args:
        facts: What the run is.
        sinks: Where its metrics go.
        every: Least seconds between two reports within a stage; more where sending is slow (see `Outlet`).
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        facts: RunFacts,
        sinks: Sequence[Sink],
        *,
        every: float = EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = CollectorRegistry()
        self.outlets = tuple(Outlet(sink, every, clock) for sink in sinks)
        self._facts = facts
        self._gauges = {f.name: Gauge(f.name, f.help, f.labels, registry=self.registry) for f in families()}
        self._place: _Place | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """See `Telemetry`."""
        facts = self._facts
        self._set(catalogue.RUN_INFO, 1.0, facts.task, facts.method, facts.target, facts.preset, facts.report)
        self._set(catalogue.START_TIME, time.time())
        self._ended(finished=False, failed=False)
        self._go(None)
        in_order = False
        try:
            yield
            in_order = True
        finally:
            self._ended(finished=in_order, failed=not in_order)
            self._stamp()
            for outlet in self.outlets:
                outlet.close(self.registry)

    @contextmanager
    def stage(self, name: Stage, *, part: int = 0, parts: int = 1, steps: int = 0) -> Iterator[None]:
        """See `Telemetry`. A stage that is left with an exception stays the current one: it is where the run failed."""
        outer, here = self._place, _Place(name, part, parts)
        if steps:
            self._count(here, 0, steps)
        self._go(here)
        yield
        if steps:
            self._count(here, steps, steps)
        self._go(outer)

    def report(self, progress: Callable[[], Progress], *, force: bool = False) -> None:
        """See `Telemetry`.

        Raises:
            RuntimeError: The run is in no stage.
        """
        if not force and not any(outlet.due for outlet in self.outlets):
            return
        if self._place is None:
            raise RuntimeError("progress is reported outside of a stage: wrap the work in `telemetry.stage(...)`")
        self._show(self._place, progress())
        self._send(force=force)

    def network(self, times: Callable[[], NetworkSeconds]) -> None:
        """See `Telemetry`."""
        found = times()
        self._set(catalogue.NETWORK_BUDGET, found.allowed, found.budget)
        self._set(catalogue.NETWORK_PREDICTED, found.predicted, found.budget)
        if found.measured is not None:
            self._set(catalogue.NETWORK_MEASURED, found.measured, found.budget)
        self._send(force=True)

    def _show(self, here: _Place, seen: Progress) -> None:
        self._count(here, seen.done, seen.total)
        for family, value in (
            (catalogue.LOSS, seen.loss),
            (catalogue.LEARNING_RATE, seen.learning_rate),
            (catalogue.VALIDATION_DB, seen.validation_db),
        ):
            if value is not None:
                self._set(family, value, here.stage)
        for family, value in (
            (catalogue.EXPECTED_SECONDS, seen.expected_seconds),
            (catalogue.BUDGET_SECONDS, seen.budget_seconds),
            (catalogue.PRICE, seen.price),
        ):
            if value is not None:
                self._set(family, value)
        for choice, entropy in seen.entropies.items():
            self._set(catalogue.CHOICE_ENTROPY, entropy, choice)

    def _count(self, here: _Place, done: int, steps: int) -> None:
        self._set(catalogue.STEPS_DONE, here.part * steps + done, here.stage)
        self._set(catalogue.STEPS, here.parts * steps, here.stage)

    def _go(self, place: _Place | None) -> None:
        self._place = place
        for name in STAGES:
            self._set(catalogue.RUN_STAGE, float(place is not None and place.stage == name), name)
        self._send(force=True)

    def _ended(self, *, finished: bool, failed: bool) -> None:
        self._set(catalogue.FINISHED, float(finished))
        self._set(catalogue.FAILED, float(failed))

    def _set(self, family: Family, value: float, *labels: str) -> None:
        self._gauges[family.name].labels(self._facts.run, *labels).set(value)

    def _stamp(self) -> None:
        self._set(catalogue.UPDATE_TIME, time.time())

    def _send(self, *, force: bool) -> None:
        self._stamp()
        for outlet in self.outlets:
            outlet.send(self.registry, force=force)

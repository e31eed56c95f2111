"""All metrics of one worker, and what is recorded in them when something happens."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from runtime.errors import NonFiniteOutputError
from serving.metrics.exposition import Exposition
from serving.metrics.family import ABSENT
from serving.metrics.instruments import Instruments
from serving.metrics.series import ModelSeries
from serving.metrics.standing import ModelStanding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from serving.guard.budget import ByteBudget
    from serving.jobs import Holdings
    from serving.models import Catalogue, LoadedModel
    from serving.pipeline import Order, Result
    from serving.scheduling import Model, Stats

__all__ = ["NO_MODEL", "Metrics"]

# Label of a request whose model is not known, because it was refused before one was chosen.
NO_MODEL = "none"
_OK, _TIME_IS_UP = 200, 504
_DECISIONS = ("admitted", "queue_full", "deadline_unattainable")
_OUTCOMES = ("done", "failed", "cancelled")


class Metrics(Instruments):
    """All metrics of one worker; they are `serving.scheduling`'s observer too.

    Every label value comes from a fixed set or from a loaded bundle; a path or a name a client made up never becomes a
    series. What can be counted is counted when it happens, so that a worker that is killed loses nothing; only what
    stands now, a queue or a drift, is looked at from time to time.

    Args:
        worker: Its number, from 1.
    """

    def __init__(self, worker: int = 1) -> None:
        self._exposition = Exposition(worker)
        super().__init__(self._exposition.registry)
        self._standing = ModelStanding(self)
        # By identity: while a version is replaced, batches of both run. An entry lives as long as its model.
        self._series: WeakKeyDictionary[object, ModelSeries] = WeakKeyDictionary()
        self._decided = {decision: self.decisions.labels(decision) for decision in _DECISIONS}

    # Models

    def observe_catalogue(self, catalogue: Catalogue) -> None:
        """Records what is loaded now and how it stands. To be called before a catalogue is served, and often after."""
        for model in catalogue.models:
            self._of(model)
        self._standing.show(catalogue)

    def _of(self, model: LoadedModel) -> ModelSeries:
        found = self._series.get(model)
        if found is None:
            found = self._series[model] = ModelSeries(self, model)
        return found

    # Requests and files of jobs

    @contextmanager
    def watching(self, order: Order, read_s: float | None = None) -> Iterator[None]:
        """Records an order whatever its end: the stages it came through, and an answer of its network that is none.

        Args:
            order: While it is worked on.
            read_s: Seconds that reading its body took, if it had one of its own.
        """
        try:
            yield
        except NonFiniteOutputError:
            if order.model is not None:
                self._of(order.model).nonfinite.inc()
            raise
        finally:
            if order.model is not None:
                series = self._of(order.model)
                for stage, seconds in order.stages(read_s).items():
                    series.stage_seconds(stage).observe(seconds)

    def observe_result(self, result: Result) -> None:
        """Records the pixels of a decoded picture and of its restored one, and the tiles between them."""
        series = self._of(result.model)
        series.input_megapixels.observe(result.input_pixels / 1e6)
        series.output_megapixels.observe(result.output_pixels / 1e6)
        series.megapixels.inc(result.input_pixels / 1e6)
        series.tiles.inc(result.tiles)

    def observe_answer(self, task: str, order: Order | None, code: int, arrived: float, now: float) -> None:
        """Records the end of a restoration request.

        Args:
            task: Of the route.
            order: What was wanted, if it could be read.
            code: HTTP status of the answer.
            arrived: Moment at which its header was there; moments are of the monotonic clock.
            now: Moment of the answer.
        """
        model = None if order is None else order.model
        if order is None or model is None:
            self.requests.labels(task, NO_MODEL, str(code)).inc()
            self.request_seconds.labels(task, NO_MODEL).observe(now - arrived)
            return
        series = self._of(model)
        self.requests.labels(task, model.name, str(code)).inc()
        series.request_seconds.observe(now - arrived)
        if order.admitted is None or order.predicted_s is None:
            return
        if code == _OK:
            (series.met if now <= order.deadline else series.missed).inc()
            series.predicted_seconds.observe(order.predicted_s)
            series.served_seconds.observe(now - order.admitted)
        elif code == _TIME_IS_UP:
            series.missed.inc()

    # The scheduler, told by itself

    def decided(self, decision: str) -> None:
        """Counts a decision of admission."""
        self._decided[decision].inc()

    def ran(self, model: Model, tile: tuple[int, int], tiles: int, seconds: float) -> None:
        """Records a batch; see `ModelSeries.observe_batch`."""
        series = self._series.get(model)
        if series is not None:
            series.observe_batch(tile, tiles, seconds)

    def late(self) -> None:
        """Counts a request that was dropped at its deadline."""
        self.late_requests.inc()

    def observe_scheduler(self, stats: Stats, bodies: ByteBudget) -> None:
        """Records how the queue, the slots and the memory stand."""
        self.queue_depth.set(stats.waiting)
        self.queue_capacity.set(stats.capacity)
        self.backlog_seconds.set(stats.backlog_s)
        self.slots.set(stats.slots)
        self.slots_busy.set(stats.running)
        self.picture_bytes.set(stats.picture_bytes)
        self.body_bytes.set(bodies.held)

    # Jobs

    def begin_jobs(self, tasks: Sequence[str], capacity: int) -> None:
        """Jobs are on.

        Args:
            tasks: Of their files.
            capacity: Bytes they may hold.
        """
        self.job_bytes_capacity.set(capacity)
        for task in tasks:
            for outcome in _OUTCOMES:
                self.job_files.labels(task, outcome)

    def observe_jobs(self, holdings: Holdings | None) -> None:
        """Records how the jobs of all workers stand; None: their store does not answer."""
        self.job_files_waiting.set(ABSENT if holdings is None else holdings.files_waiting)
        self.job_bytes.set(ABSENT if holdings is None else holdings.held_bytes)

    def count_files(self, task: str, outcome: str, files: int) -> None:
        """Counts files of a job that have ended: done, failed or cancelled."""
        self.job_files.labels(task, outcome).inc(files)

    def render(self) -> tuple[bytes, str]:
        """The exposition text over all workers, and its content type."""
        return self._exposition.render()

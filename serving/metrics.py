"""Prometheus metrics of the service; names and labels are listed in the class.

With several workers BentoML gives every worker one directory in PROMETHEUS_MULTIPROC_DIR and prometheus_client decides
at its *import* whether it writes there. So it is imported when a worker builds its metrics, never at module level.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from serving.processes import is_alive

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Gauge

    from serving.guard.budget import ByteBudget
    from serving.models import LoadedModel
    from serving.pipeline import Order, Result
    from serving.scheduling import Stats

# Label of a request whose model is not known, because it was refused before one was chosen.
NO_MODEL = "none"
# An environment variable of prometheus_client, set by BentoML.
DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_REQUEST_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_STAGE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_MEGAPIXEL_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """All metrics of one worker.

    Every label value comes from a fixed set or from a loaded bundle; a path or a name a client made up never becomes a
    series. Counters and histograms add up over workers; gauges say how they combine.
    """

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = registry = CollectorRegistry()
        served = ("task", "model")
        self.requests = Counter(
            "restore_requests", "Requests answered, by HTTP status.", (*served, "code"), registry=registry
        )
        self.request_seconds = Histogram(
            "restore_request_duration_seconds",
            "Time from the request's header to its answer.",
            served,
            buckets=_REQUEST_BUCKETS,
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "restore_stage_duration_seconds",
            "Time in one stage of a request.",
            ("stage", *served, "backend"),
            buckets=_STAGE_BUCKETS,
            registry=registry,
        )
        self.input_megapixels = Histogram(
            "restore_input_megapixels",
            "Size of decoded pictures.",
            ("task",),
            buckets=_MEGAPIXEL_BUCKETS,
            registry=registry,
        )
        self.output_megapixels = Histogram(
            "restore_output_megapixels",
            "Size of restored pictures.",
            ("task",),
            buckets=_MEGAPIXEL_BUCKETS,
            registry=registry,
        )
        self.megapixels = Counter(
            "restore_megapixels_processed", "Input megapixels restored.", served, registry=registry
        )
        self.rejected = Counter("restore_rejected", "Requests not served, by reason.", ("reason",), registry=registry)
        self.in_flight = Gauge(
            "restore_requests_in_flight",
            "Restoration requests being worked on.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.tiles = Counter("restore_tiles", "Tiles run for requests that were answered.", served, registry=registry)
        self.predicted_seconds = Histogram(
            "restore_predicted_duration_seconds",
            "What admission expected a request to take from there to its answer.",
            served,
            buckets=_REQUEST_BUCKETS,
            registry=registry,
        )
        # Looked at twice a second, see `Workplace`.
        self.queue_depth = self._level("restore_queue_depth", "Requests admitted of which nothing runs now.")
        self.queue_capacity = self._level("restore_queue_capacity", "Requests that may be admitted at a time.")
        self.backlog_seconds = self._level("restore_backlog_seconds", "Predicted time until all admitted is done.")
        self.slots = self._level("restore_slots", "Batches that may run at a time.")
        self.slots_busy = self._level("restore_slots_busy", "Batches that run.")
        self.picture_bytes = self._level("restore_picture_bytes", "Pixels held, decoded and restored.")
        self.body_bytes = self._level("restore_body_bytes", "Request bodies held.")
        self._shown: set[tuple[str, ...]] = set()
        self.model_info = Gauge(
            "restore_model_info",
            "1 for every loaded model, 0 for one that was loaded.",
            ("task", "model", "backend", "precision", "sha256"),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.model_load_seconds = Gauge(
            "restore_model_load_seconds",
            "Time to verify a bundle and open its engine; the slowest worker.",
            served,
            registry=registry,
            multiprocess_mode="livemax",
        )

    def _level(self, name: str, text: str) -> Gauge:
        """A number that adds up over the workers that are alive."""
        from prometheus_client import Gauge

        return Gauge(name, text, registry=self._registry, multiprocess_mode="livesum")

    def observe_models(self, models: Iterable[LoadedModel]) -> None:
        """Records what is loaded now; what was loaded before and is not any more counts 0."""
        now = set()
        for model in models:
            labels = (model.task, model.name, model.backend, model.target.precision, model.digest)
            now.add(labels)
            self.model_info.labels(*labels).set(1)
            self.model_load_seconds.labels(model.task, model.name).set(model.load_seconds)
        for gone in self._shown - now:
            self.model_info.labels(*gone).set(0)
        self._shown |= now

    def observe_order(self, order: Order, read_s: float | None = None) -> None:
        """Records the stages that an order came through, and what was predicted for it.

        Args:
            order: Ended, well or not.
            read_s: Seconds that reading its body took, if it had one of its own.
        """
        model = order.model
        if model is None:
            return
        for stage, seconds in order.stages(read_s).items():
            self.stage_seconds.labels(stage, model.task, model.name, model.backend).observe(seconds)
        if order.predicted_s is not None:
            self.predicted_seconds.labels(model.task, model.name).observe(order.predicted_s)

    def observe_result(self, result: Result) -> None:
        """Records the pixels of a decoded picture and of its restored one, and the tiles between them."""
        model = result.model
        self.input_megapixels.labels(model.task).observe(result.input_pixels / 1e6)
        self.output_megapixels.labels(model.task).observe(result.output_pixels / 1e6)
        self.megapixels.labels(model.task, model.name).inc(result.input_pixels / 1e6)
        self.tiles.labels(model.task, model.name).inc(result.tiles)

    def observe_scheduler(self, stats: Stats, bodies: ByteBudget) -> None:
        """Records how the queue, the slots and the memory stand."""
        self.queue_depth.set(stats.waiting)
        self.queue_capacity.set(stats.capacity)
        self.backlog_seconds.set(stats.backlog_s)
        self.slots.set(stats.slots)
        self.slots_busy.set(stats.running)
        self.picture_bytes.set(stats.picture_bytes)
        self.body_bytes.set(bodies.held)

    def render(self) -> tuple[bytes, str]:
        """The exposition text over all workers, and its content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        directory = os.environ.get(DIRECTORY_VARIABLE)
        if directory is None:
            return generate_latest(self._registry), CONTENT_TYPE_LATEST
        _forget_dead_workers(Path(directory))
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=directory)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST


def _forget_dead_workers(directory: Path) -> None:
    """Removes the live gauges of workers that were killed; otherwise their requests stay in flight for ever."""
    from prometheus_client.multiprocess import mark_process_dead

    pids = {int(file.stem.rpartition("_")[2]) for file in directory.glob("gauge_live*_*.db")}
    for pid in pids:
        if not is_alive(pid):
            mark_process_dead(pid, str(directory))  # type: ignore[no-untyped-call]

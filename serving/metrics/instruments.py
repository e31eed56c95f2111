"""The counters, gauges and histograms that one worker writes, made from their definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.metrics import definitions as defined
from serving.metrics.family import ABSENT, counter_of, gauge_of, histogram_of

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["Instruments"]


class Instruments:
    """All of them, named as in `definitions`.

    Args:
        registry: That they are registered in.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.http_requests = counter_of(defined.HTTP_REQUESTS, registry)
        self.requests = counter_of(defined.REQUESTS, registry)
        self.request_seconds = histogram_of(defined.REQUEST_SECONDS, registry)
        self.stage_seconds = histogram_of(defined.STAGE_SECONDS, registry)
        self.input_megapixels = histogram_of(defined.INPUT_MEGAPIXELS, registry)
        self.output_megapixels = histogram_of(defined.OUTPUT_MEGAPIXELS, registry)
        self.megapixels = counter_of(defined.MEGAPIXELS, registry)
        self.tiles = counter_of(defined.TILES, registry)
        self.rejected = counter_of(defined.REJECTED, registry)
        self.in_flight = gauge_of(defined.IN_FLIGHT, registry)
        self.deadlines = counter_of(defined.DEADLINES, registry)
        self.late_requests = counter_of(defined.LATE, registry)
        self.decisions = counter_of(defined.DECISIONS, registry)

        self.predicted_seconds = histogram_of(defined.PREDICTED_SECONDS, registry)
        self.served_seconds = histogram_of(defined.SERVED_SECONDS, registry)
        self.inference_seconds = counter_of(defined.INFERENCE_SECONDS, registry)
        self.promised_seconds = counter_of(defined.PROMISED_SECONDS, registry)
        self.tile_seconds = histogram_of(defined.TILE_SECONDS, registry)
        self.budget_tiles = counter_of(defined.BUDGET_TILES, registry)
        self.batch_tiles = histogram_of(defined.BATCH_TILES, registry)
        self.drift = gauge_of(defined.DRIFT, registry)
        self.budget = gauge_of(defined.BUDGET, registry)
        self.promised_tile = gauge_of(defined.PROMISED_TILE, registry)
        self.promise_info = gauge_of(defined.PROMISE_INFO, registry)
        self.nonfinite = counter_of(defined.NONFINITE, registry)

        self.queue_depth = gauge_of(defined.QUEUE_DEPTH, registry)
        self.queue_capacity = gauge_of(defined.QUEUE_CAPACITY, registry)
        self.backlog_seconds = gauge_of(defined.BACKLOG_SECONDS, registry)
        self.slots = gauge_of(defined.SLOTS, registry)
        self.slots_busy = gauge_of(defined.SLOTS_BUSY, registry)
        self.picture_bytes = gauge_of(defined.PICTURE_BYTES, registry)
        self.body_bytes = gauge_of(defined.BODY_BYTES, registry)

        self.model_info = gauge_of(defined.MODEL_INFO, registry)
        self.model_load_seconds = gauge_of(defined.MODEL_LOAD_SECONDS, registry)
        self.bundles_refused = gauge_of(defined.BUNDLES_REFUSED, registry)

        self.job_files = counter_of(defined.JOB_FILES, registry)
        self.job_files_waiting = gauge_of(defined.JOB_FILES_WAITING, registry)
        self.job_bytes = gauge_of(defined.JOB_BYTES, registry)
        self.job_bytes_capacity = gauge_of(defined.JOB_BYTES_CAPACITY, registry)
        # A gauge without labels is there as soon as it is made; jobs may be off.
        for gauge in (self.job_files_waiting, self.job_bytes, self.job_bytes_capacity):
            gauge.set(ABSENT)

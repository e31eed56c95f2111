"""Every metric family of the service: the one list that code, documentation, dashboards and rules go by.

Labels come from fixed sets or from loaded bundles, never from a client: `task` is derain, denoise or super-resolution,
`model` a bundle's name, `target` where it runs in this server, with threads, as in X-Target.
"""

from __future__ import annotations

from serving.metrics.family import Family, Mode

__all__ = ["families"]

_REQUEST_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_STAGE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_TILE_BUCKETS = (
    0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2.5, 5, 10,
)  # fmt: skip
_MEGAPIXEL_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32)

_SERVED = ("task", "model")
_RUN = ("model", "target")
_WHOLE = ("task", "model", "target")


def _counter(name: str, labels: tuple[str, ...], text: str) -> Family:
    return Family(name, "counter", labels, text)


def _histogram(name: str, labels: tuple[str, ...], buckets: tuple[float, ...], text: str) -> Family:
    return Family(name, "histogram", labels, text, buckets)


def _gauge(name: str, labels: tuple[str, ...], text: str, mode: Mode = "livesum") -> Family:
    return Family(name, "gauge", labels, text, mode=mode)


# Requests

HTTP_REQUESTS = _counter(
    "restore_http_requests_total", ("route", "method", "code"), "Requests of all routes, by HTTP status."
)
REQUESTS = _counter("restore_requests_total", (*_SERVED, "code"), "Requests answered, by HTTP status.")
REQUEST_SECONDS = _histogram(
    "restore_request_duration_seconds", _SERVED, _REQUEST_BUCKETS, "Time from the request's header to its answer."
)
STAGE_SECONDS = _histogram(
    "restore_stage_duration_seconds",
    ("stage", *_SERVED, "backend"),
    _STAGE_BUCKETS,
    "Time in one stage of a request.",
)
INPUT_MEGAPIXELS = _histogram("restore_input_megapixels", ("task",), _MEGAPIXEL_BUCKETS, "Size of decoded pictures.")
OUTPUT_MEGAPIXELS = _histogram("restore_output_megapixels", ("task",), _MEGAPIXEL_BUCKETS, "Size of restored pictures.")
MEGAPIXELS = _counter("restore_megapixels_processed_total", _SERVED, "Input megapixels restored.")
TILES = _counter("restore_tiles_total", _SERVED, "Tiles run for requests that were answered.")
REJECTED = _counter("restore_rejected_total", ("reason",), "Requests not served, by reason.")
IN_FLIGHT = _gauge("restore_requests_in_flight", (), "Restoration requests being worked on.")
DEADLINES = _counter(
    "restore_deadlines_total", (*_SERVED, "outcome"), "Admitted requests, by whether they were restored in time."
)
LATE = _counter("restore_late_total", (), "Requests dropped at their deadline.")
DECISIONS = _counter("restore_admission_decisions_total", ("decision",), "What admission decided.")

# Promise: what was expected beside what it took

PREDICTED_SECONDS = _histogram(
    "restore_predicted_duration_seconds",
    _WHOLE,
    _REQUEST_BUCKETS,
    "What admission expected of requests that were answered 200, from there to the answer.",
)
SERVED_SECONDS = _histogram(
    "restore_served_duration_seconds", _WHOLE, _REQUEST_BUCKETS, "What the same requests took from there to the answer."
)
INFERENCE_SECONDS = _counter(
    "restore_inference_seconds_total", _RUN, "Time of batches of full-size tiles with a promise."
)
PROMISED_SECONDS = _counter(
    "restore_inference_promised_seconds_total", _RUN, "What the bundle's records promise for the same batches."
)
TILE_SECONDS = _histogram(
    "restore_tile_duration_seconds", _RUN, _TILE_BUCKETS, "Time of one full-size tile: of its batch, by its tiles."
)
BUDGET_TILES = _counter(
    "restore_budget_tiles_total", (*_RUN, "outcome"), "Full-size tiles run, by whether each kept the budget."
)
BATCH_TILES = _histogram("restore_batch_tiles", ("model",), _BATCH_BUCKETS, "Tiles of each batch that ran as one.")
DRIFT = _gauge(
    "restore_drift_ratio", _RUN, "Measured over promised time of a full-size tile, as admission follows it.", "livemax"
)
BUDGET = _gauge("restore_budget_seconds", _RUN, "The bundle's budget for one full-size tile.", "livemax")
PROMISED_TILE = _gauge(
    "restore_promised_tile_seconds", _RUN, "What the bundle's records promise for one full-size tile.", "livemax"
)
PROMISE_INFO = _gauge(
    "restore_promise_info", (*_RUN, "promised_target", "device"), "Which record the promise is from.", "livemax"
)
NONFINITE = _counter(
    "restore_nonfinite_outputs_total", _RUN, "Requests and files of jobs that a network answered with NaN or infinity."
)

# How a worker stands; looked at twice a second

QUEUE_DEPTH = _gauge("restore_queue_depth", (), "Requests admitted of which nothing runs now.")
QUEUE_CAPACITY = _gauge("restore_queue_capacity", (), "Requests that may be admitted at a time.")
BACKLOG_SECONDS = _gauge("restore_backlog_seconds", (), "Predicted time until all admitted is done.")
SLOTS = _gauge("restore_slots", (), "Batches that may run at a time.")
SLOTS_BUSY = _gauge("restore_slots_busy", (), "Batches that run.")
PICTURE_BYTES = _gauge("restore_picture_bytes", (), "Pixels held, decoded and restored.")
BODY_BYTES = _gauge("restore_body_bytes", (), "Request bodies held.")

# Models

MODEL_INFO = _gauge(
    "restore_model_info",
    (*_SERVED, "target", "backend", "precision", "sha256"),
    "1 for every loaded model, 0 for one that was loaded.",
    "livemax",
)
MODEL_LOAD_SECONDS = _gauge(
    "restore_model_load_seconds",
    _SERVED,
    "Time to verify a bundle and open its engine; the slowest worker.",
    "livemax",
)
BUNDLES_REFUSED = _gauge("restore_bundles_refused", (), "Bundles found that cannot be served.", "livemax")

# Jobs, where they are on

JOB_FILES = _counter("restore_job_files_total", ("task", "outcome"), "Files of jobs, by how they ended.")
JOB_FILES_WAITING = _gauge("restore_job_files_waiting", (), "Files of jobs that nobody works on yet.", "livemax")
JOB_BYTES = _gauge("restore_job_bytes", (), "Bytes held by jobs.", "livemax")
JOB_BYTES_CAPACITY = _gauge("restore_job_bytes_capacity", (), "Bytes all jobs may hold.", "livemax")

# Made when somebody looks: see `exposition`

BUILD_INFO = _gauge("restore_build_info", ("version",), "1, with the version of the service.")
PROCESS_MEMORY = _gauge("process_resident_memory_bytes", ("worker",), "Memory of a worker's process.")
PROCESS_SECONDS = _counter("process_cpu_seconds_total", ("worker",), "Processor time of a worker's process.")
PROCESS_FDS = _gauge("process_open_fds", ("worker",), "Open files of a worker's process.")
PROCESS_MAX_FDS = _gauge("process_max_fds", ("worker",), "Files that a worker's process may open.")
PROCESS_START = _gauge("process_start_time_seconds", ("worker",), "When a worker's process began, seconds since 1970.")
GPU_MEMORY = _gauge("restore_gpu_memory_used_bytes", ("gpu",), "Memory of the GPU in use, by whomever.")
GPU_MEMORY_TOTAL = _gauge("restore_gpu_memory_total_bytes", ("gpu",), "Memory of the GPU.")
GPU_UTILIZATION = _gauge("restore_gpu_utilization_ratio", ("gpu",), "Part of the time that the GPU was busy lately.")


def families() -> tuple[Family, ...]:
    """All families that the service may expose, in the order of this file."""
    return tuple(value for value in globals().values() if isinstance(value, Family))

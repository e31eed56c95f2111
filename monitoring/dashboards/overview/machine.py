"""Below the service: jobs, worker processes and the GPU."""

from __future__ import annotations

from monitoring.dashboards.board import Section
from monitoring.dashboards.expressions import TASKS, rate, select, total
from monitoring.dashboards.graphs import graph
from monitoring.dashboards.looks import CAPACITY, Unit
from monitoring.dashboards.queries import Query

__all__ = ["GPU", "JOBS", "PROCESSES"]

# Processes of others have metrics of these names too, but no number of a worker.
_WORKERS = 'worker!=""'

JOBS = Section(
    "Jobs",
    (
        graph(
            "Files of jobs",
            "Files of jobs that ended in a second, by outcome. `failed` has its reason in the job itself.",
            Unit.PER_SECOND,
            Query(total(rate("restore_job_files_total", TASKS), "task", "outcome"), "{{task}} {{outcome}}"),
            stacked="normal",
            colors={"done$": "green", "failed$": "red", "cancelled$": "yellow"},
            needs="jobs",
        ),
        graph(
            "Files waiting",
            "Files of jobs that are not done. Growing for hours: more comes in than these instances can do.",
            Unit.COUNT,
            Query("max(restore_job_files_waiting)", "waiting"),
            needs="jobs",
        ),
        graph(
            "Room for jobs",
            "Bytes that jobs hold, and may hold. At the dashed line new jobs are refused until old ones are deleted.",
            Unit.BYTES,
            Query("max(restore_job_bytes)", "held"),
            Query("max(restore_job_bytes_capacity)", "capacity", CAPACITY),
            needs="jobs",
        ),
    ),
    collapsed=True,
)

PROCESSES = Section(
    "Worker processes",
    (
        graph(
            "Memory by worker",
            "Resident memory of every worker. It follows pictures in work; a floor that rises over hours is a leak.",
            Unit.BYTES,
            Query(select("process_resident_memory_bytes", _WORKERS), "{{instance}} {{worker}}"),
            width=6,
        ),
        graph(
            "Processor by worker",
            "Processors that every worker keeps busy. Below the threads of its target under load: something else takes "
            "them.",
            Unit.COUNT,
            Query(rate("process_cpu_seconds_total", _WORKERS), "{{instance}} {{worker}}"),
            width=6,
        ),
        graph(
            "Open files",
            "Open files of the worker that has the most, and the limit. Near the dashed line connections are refused.",
            Unit.COUNT,
            Query(f"max by (instance) ({select('process_open_fds', _WORKERS)})", "{{instance}}"),
            Query(f"min({select('process_max_fds', _WORKERS)})", "limit", CAPACITY),
            logarithmic=True,
            width=6,
        ),
        graph(
            "Restarts of workers",
            "How often a worker was another process than before, within an hour. A roll-out moves all once; one that "
            "goes on alone dies: look into its log.",
            Unit.COUNT,
            Query("instance_worker:restore_worker_starts:changes1h", "{{instance}} {{worker}}"),
            lines=((2, "red"),),
            width=6,
            runbook="RestoreWorkersDying",
        ),
    ),
)

GPU = Section(
    "GPU (absent where there is no NVIDIA GPU)",
    (
        graph(
            "Memory of the GPU",
            "Memory in use by whomever, and how much there is. Near the dashed line loading another model fails.",
            Unit.BYTES,
            Query("max by (gpu) (restore_gpu_memory_used_bytes)", "{{gpu}} used"),
            Query("max by (gpu) (restore_gpu_memory_total_bytes)", "{{gpu}} total", CAPACITY),
            width=12,
            needs="gpu",
        ),
        graph(
            "GPU busy",
            "Part of the time that the GPU worked. Low while slots are busy: decoding and encoding on the processor "
            "hold it up.",
            Unit.RATIO,
            Query("max by (gpu) (restore_gpu_utilization_ratio)", "{{gpu}}"),
            top=1,
            width=12,
            needs="gpu",
        ),
    ),
    collapsed=True,
)

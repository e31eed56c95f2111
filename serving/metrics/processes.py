"""Figures of the workers' processes. prometheus_client gives none where several workers share one text.

Any worker may be asked for all of them, so they are read from /proc, by whoever is asked. On a system without /proc
they are absent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serving.metrics.definitions import (
    PROCESS_FDS,
    PROCESS_MAX_FDS,
    PROCESS_MEMORY,
    PROCESS_SECONDS,
    PROCESS_START,
)
from serving.metrics.family import Family
from serving.metrics.folder import Worker
from serving.processes import ProcessId, read_state, tells_of_processes

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["ProcessCollector", "ProcessFigures", "read_figures"]

_PROC = Path("/proc")
_OPEN_FILES_LIMIT = re.compile(r"^Max open files +(\d+) ", re.MULTILINE)


@dataclass(frozen=True)
class ProcessFigures:
    """What a process uses, and may.

    Attributes:
        resident_bytes: Memory that it holds.
        cpu_seconds: Processor time since it began.
        open_fds: File descriptors, sockets among them.
        max_fds: How many it may have; None without a limit.
    """

    resident_bytes: int
    cpu_seconds: float
    open_fds: int
    max_fds: int | None


def read_figures(process: ProcessId) -> ProcessFigures | None:
    """Reads /proc; None if the process has ended, even if another has its number now."""
    state = read_state(process.pid)
    if state is None or state.started_ticks != process.started_ticks:
        return None
    own = _PROC / str(process.pid)
    try:
        limit = _OPEN_FILES_LIMIT.search((own / "limits").read_text())
        open_fds = sum(1 for _ in os.scandir(own / "fd"))
    except (FileNotFoundError, ProcessLookupError):
        return None
    return ProcessFigures(
        resident_bytes=state.resident_pages * os.sysconf("SC_PAGE_SIZE"),
        cpu_seconds=state.cpu_ticks / os.sysconf("SC_CLK_TCK"),
        open_fds=open_fds,
        max_fds=None if limit is None else int(limit[1]),
    )


class ProcessCollector:
    """The process families of the exposition, with the worker as a label.

    Args:
        living: Gives the workers that live, by their label.
    """

    def __init__(self, living: Callable[[], Mapping[str, Worker]]) -> None:
        self._living = living
        self._can_tell = tells_of_processes()

    def collect(self) -> Iterator[Metric]:
        """Yields the figures of now; nothing on a system without /proc."""
        if not self._can_tell:
            return
        living = self._living()
        found = {label: read_figures(worker.process) for label, worker in living.items()}
        known = {label: figures for label, figures in found.items() if figures is not None}
        yield _family(PROCESS_MEMORY, {label: figures.resident_bytes for label, figures in known.items()})
        yield _family(PROCESS_SECONDS, {label: figures.cpu_seconds for label, figures in known.items()})
        yield _family(PROCESS_FDS, {label: figures.open_fds for label, figures in known.items()})
        yield _family(PROCESS_MAX_FDS, {label: figures.max_fds for label, figures in known.items()})
        yield _family(PROCESS_START, {label: living[label].started_s for label in known})


def _family(family: Family, values: Mapping[str, float | None]) -> Metric:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.help, labels=family.labels)
    for label, value in values.items():
        if value is not None:
            metric.add_metric([label], value)
    return metric

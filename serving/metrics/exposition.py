"""What `GET /metrics` answers: the metrics of all workers in one text, whichever of them is asked.

BentoML gives the workers of one server a directory in PROMETHEUS_MULTIPROC_DIR, and prometheus_client decides at its
*import* whether it writes there. So it is imported when a worker opens its exposition, never at module level. Without
the variable there is one process, and its own metrics are the whole text.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from serving.guard.identity import logger
from serving.metrics.definitions import BUILD_INFO
from serving.metrics.family import Present
from serving.metrics.folder import MetricsFolder, Worker
from serving.metrics.gpu import GpuCollector, find_gpus
from serving.metrics.processes import ProcessCollector
from serving.openapi import product_version

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

__all__ = ["DIRECTORY_VARIABLE", "Exposition"]

# An environment variable of prometheus_client, set by BentoML.
DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


class Exposition:
    """The registry that one worker's metrics are made in, and the text over all workers.

    To be opened before any metric is made: it says where they are written.

    Args:
        number: Of this worker, from 1; a worker that takes the place of a dead one has its number.
    """

    def __init__(self, number: int) -> None:
        directory = os.environ.get(DIRECTORY_VARIABLE)
        self._folder = None if directory is None else MetricsFolder(Path(directory))
        self._label = str(number) if self._folder is None else _write_into(self._folder, number)
        self._own = Worker.own()

        from prometheus_client import CollectorRegistry

        self.registry: CollectorRegistry = CollectorRegistry()
        gpus = find_gpus()
        logger.info("Metrics: %s", gpus.reason)
        self._figures = (_BuildInfo(), ProcessCollector(self._living), GpuCollector(gpus))

    def render(self) -> tuple[bytes, str]:
        """The text, and its content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

        whole = CollectorRegistry()
        whole.register(Present(_Counted(self.registry, self._folder)))
        for collector in self._figures:
            whole.register(Present(collector))
        return generate_latest(whole), CONTENT_TYPE_LATEST

    def _living(self) -> Mapping[str, Worker]:
        return {self._label: self._own} if self._folder is None else self._folder.living()


def _write_into(folder: MetricsFolder, number: int) -> str:
    """Makes prometheus_client name this worker's files by its label; returns that."""
    label = folder.claim(number)
    from prometheus_client import values

    values.ValueClass = values.MultiProcessValue(lambda: label)  # type: ignore[no-untyped-call]
    return label


class _Counted:
    """The metrics that the workers themselves count."""

    def __init__(self, own: CollectorRegistry, folder: MetricsFolder | None) -> None:
        self._own = own
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        if self._folder is None:
            for metric in self._own.collect():
                # When a series began: several workers could not tell, so one does not either.
                metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
                yield metric
            return
        from prometheus_client.multiprocess import MultiProcessCollector

        yield from MultiProcessCollector.merge(self._folder.files())  # type: ignore[no-untyped-call]


class _BuildInfo:
    """Which version answers."""

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        metric = GaugeMetricFamily(BUILD_INFO.name, BUILD_INFO.help, labels=BUILD_INFO.labels)
        metric.add_metric([product_version()], 1)
        yield metric

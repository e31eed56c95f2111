"""What a metric family is, said without prometheus_client, which must not be imported before a worker starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from prometheus_client import Counter, Gauge, Histogram
    from prometheus_client.core import Metric
    from prometheus_client.registry import Collector, CollectorRegistry

__all__ = ["ABSENT", "Family", "Kind", "Mode", "Present", "counter_of", "gauge_of", "histogram_of"]

Kind = Literal["counter", "gauge", "histogram"]
Mode = Literal["livesum", "livemax"]

ABSENT = -inf
"""What a gauge is set to that has nothing to say; its series is left out of the text.

A gauge cannot be taken back: in the files that workers share, a series stays once it was written. And not a number
would win or lose against the values of other workers by the order of their files; minus infinity always loses.
"""


@dataclass(frozen=True)
class Family:
    """One metric family as it is exposed.

    Attributes:
        name: As in the text: of a counter with `_total`, of a histogram without suffix.
        kind: Counter, gauge or histogram.
        labels: Names of its labels.
        help: What it says of itself.
        buckets: Upper ends, of a histogram.
        mode: How the values of workers that are alive make one, of a gauge.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()
    mode: Mode = "livesum"


def counter_of(family: Family, registry: CollectorRegistry) -> Counter:
    """Makes and registers a counter."""
    from prometheus_client import Counter

    return Counter(family.name, family.help, family.labels, registry=registry)


def gauge_of(family: Family, registry: CollectorRegistry) -> Gauge:
    """Makes and registers a gauge."""
    from prometheus_client import Gauge

    return Gauge(family.name, family.help, family.labels, registry=registry, multiprocess_mode=family.mode)


def histogram_of(family: Family, registry: CollectorRegistry) -> Histogram:
    """Makes and registers a histogram."""
    from prometheus_client import Histogram

    return Histogram(family.name, family.help, family.labels, registry=registry, buckets=family.buckets)


class Present:
    """A collector without the series that are `ABSENT`, and without families that have no series left."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def collect(self) -> Iterator[Metric]:
        """Yields what there is."""
        for metric in self._collector.collect():
            metric.samples = [sample for sample in metric.samples if sample.value != ABSENT]
            if metric.samples:
                yield metric

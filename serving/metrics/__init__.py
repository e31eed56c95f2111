"""Prometheus metrics of the service.

definitions   every family: names, kinds, labels; family: what that is
metrics       what is recorded when something happens
├── instruments   the counters, gauges and histograms
├── series        those of one model
└── standing      gauges that come and go with models
exposition    the text over all workers
├── folder        where workers write, and who of them lives
├── processes     figures of the workers' processes
└── gpu           figures of the GPUs
"""

from serving.metrics.definitions import families
from serving.metrics.family import Family
from serving.metrics.metrics import NO_MODEL, Metrics

__all__ = ["NO_MODEL", "Family", "Metrics", "families"]

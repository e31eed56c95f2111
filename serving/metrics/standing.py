"""Gauges that come and go with models: what is loaded, where it runs, what was promised for it, and how it drifts."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from serving.metrics.family import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Gauge

    from serving.metrics.instruments import Instruments
    from serving.models import Catalogue, LoadedModel

    Key = tuple[Gauge, tuple[str, ...]]

__all__ = ["ModelStanding"]


class ModelStanding:
    """Shows one catalogue after the other; a series of a model that has left says nothing any more. Thread-safe.

    Args:
        instruments: Where the gauges are.
    """

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self._shown: dict[Key, float] = {}
        self._lock = threading.Lock()

    def show(self, catalogue: Catalogue) -> None:
        """Sets every gauge to what it is now; cheap where little has changed, so it may be called often."""
        with self._lock:
            now: dict[Key, float] = {(self._instruments.bundles_refused, ()): len(catalogue.refused)}
            for model in catalogue.models:
                now.update(self._of(model))
            for key in self._shown.keys() - now.keys():
                # Whether a model is loaded can be said of one that is not: it is what a rule asks.
                _set(key, 0.0 if key[0] is self._instruments.model_info else ABSENT)
            for key, value in now.items():
                if self._shown.get(key) != value:
                    _set(key, value)
            self._shown = now

    def _of(self, model: LoadedModel) -> Iterator[tuple[Key, float]]:
        made, run = self._instruments, (model.name, model.target.slug)
        about = (model.task, *run, model.backend, model.target.precision, model.digest)
        yield (made.model_info, about), 1.0
        yield (made.model_load_seconds, (model.task, model.name)), model.load_seconds
        if model.budget_s is not None:
            yield (made.budget, run), model.budget_s
        if model.promise is None:
            return
        yield (made.promise_info, (*run, model.promise.target, model.promise.device)), 1.0
        promised, drift = model.costs.promised(model.tile, 1), model.costs.drift
        if promised is not None:
            yield (made.promised_tile, run), promised
        if drift is not None:
            yield (made.drift, run), drift


def _set(key: Key, value: float) -> None:
    gauge, labels = key
    (gauge.labels(*labels) if labels else gauge).set(value)

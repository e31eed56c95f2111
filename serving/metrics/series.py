"""The series of one loaded model, each looked up once: to find one by its labels costs as much as to count in it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import Counter, Histogram

    from serving.metrics.instruments import Instruments
    from serving.models import LoadedModel

__all__ = ["ModelSeries"]


class ModelSeries:
    """What is counted of one version of one model. It holds nothing of the model itself, so that that can be freed.

    Counters that rules watch are there once a model is loaded: Prometheus sees no increase in a series that begins with
    its first event. Histograms are many series each, and begin when there is something to tell.

    Args:
        instruments: Where the series are.
        model: Whose.
    """

    def __init__(self, instruments: Instruments, model: LoadedModel) -> None:
        self._instruments = instruments
        self._served = (model.task, model.name)
        self._run = (model.name, model.target.slug)
        self._backend = model.backend
        self._tile = model.tile
        self._budget_s = model.budget_s
        self._costs = model.costs
        self._stages: dict[str, Histogram] = {}
        self.met = instruments.deadlines.labels(*self._served, "met")
        self.missed = instruments.deadlines.labels(*self._served, "missed")
        self.nonfinite = instruments.nonfinite.labels(*self._run)
        self.megapixels = instruments.megapixels.labels(*self._served)
        self.tiles = instruments.tiles.labels(*self._served)
        self._inference: Counter | None = None
        self._promised: Counter | None = None
        if model.promise is not None:
            self._inference = instruments.inference_seconds.labels(*self._run)
            self._promised = instruments.promised_seconds.labels(*self._run)
        self._budget_tiles: dict[bool, Counter] = {}
        if self._budget_s is not None:
            for kept, outcome in ((True, "kept"), (False, "missed")):
                self._budget_tiles[kept] = instruments.budget_tiles.labels(*self._run, outcome)

    @cached_property
    def request_seconds(self) -> Histogram:
        """From header to answer."""
        return self._instruments.request_seconds.labels(*self._served)

    @cached_property
    def predicted_seconds(self) -> Histogram:
        """As admission expected, from there to the answer."""
        return self._instruments.predicted_seconds.labels(self._served[0], *self._run)

    @cached_property
    def served_seconds(self) -> Histogram:
        """From admission to the answer."""
        return self._instruments.served_seconds.labels(self._served[0], *self._run)

    @cached_property
    def input_megapixels(self) -> Histogram:
        """Of decoded pictures, of the whole task."""
        return self._instruments.input_megapixels.labels(self._served[0])

    @cached_property
    def output_megapixels(self) -> Histogram:
        """Of restored pictures, of the whole task."""
        return self._instruments.output_megapixels.labels(self._served[0])

    @cached_property
    def _batch_tiles(self) -> Histogram:
        return self._instruments.batch_tiles.labels(self._run[0])

    @cached_property
    def _tile_seconds(self) -> Histogram:
        return self._instruments.tile_seconds.labels(*self._run)

    def stage_seconds(self, stage: str) -> Histogram:
        """Of one stage."""
        found = self._stages.get(stage)
        if found is None:
            found = self._stages[stage] = self._instruments.stage_seconds.labels(stage, *self._served, self._backend)
        return found

    def observe_batch(self, tile: tuple[int, int], tiles: int, seconds: float) -> None:
        """Records a batch that ran as one.

        Only full-size tiles are compared with budget and promise, which are of that size: a run costs something
        whatever its size, so smaller tiles would seem to break a promise that nobody gave for them.

        Args:
            tile: Rows and columns of each tile.
            tiles: How many.
            seconds: That the network took for all of them.
        """
        self._batch_tiles.observe(tiles)
        if tile != self._tile:
            return
        each = seconds / tiles
        for _ in range(tiles):
            self._tile_seconds.observe(each)
        if self._budget_s is not None:
            self._budget_tiles[each <= self._budget_s].inc(tiles)
        promised = self._costs.promised(tile, tiles)
        if promised is not None and self._inference is not None and self._promised is not None:
            self._inference.inc(seconds)
            self._promised.inc(promised)

"""A bundle with its engines open: one for each slot, each with its share of the machine's threads."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runtime.auto import AUTO, Choice, choose_target
from runtime.bundle import Bundle
from runtime.engine import open_engine
from runtime.errors import EngineError
from runtime.records import without_threads
from runtime.restorer import Restorer
from runtime.target import Target
from runtime.tiles import plan_tiles
from serving.models.discovery import Found
from serving.models.facts import Facts, facts_of, family_of, quality_of
from serving.scheduling.costs import TileCosts
from serving.scheduling.records import Promise, budget_of, promise_of
from serving.settings import Settings

if TYPE_CHECKING:
    from runtime.picture import Picture
    from runtime.restoration import TiledRestoration

__all__ = ["LoadedModel", "check_target", "open_model"]

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """One bundle, ready for every slot. It lives as long as somebody holds it; then its engines are freed.

    Attributes:
        found: The bundle, its digest and its place in the order.
        restorers: One for each slot, because an engine may run one batch at a time.
        costs: What its tiles cost.
        choice: Its target, and why it is that one.
        load_seconds: Time it took to open its engines, in seconds.
    """

    found: Found
    restorers: tuple[Restorer, ...]
    costs: TileCosts
    choice: Choice
    load_seconds: float

    @property
    def bundle(self) -> Bundle:
        """What is served."""
        return self.found.bundle

    @property
    def digest(self) -> str:
        """The id of all bytes of the bundle."""
        return self.found.digest

    @property
    def why(self) -> str:
        """Why it runs on its target."""
        return self.choice.why

    @property
    def name(self) -> str:
        """Bundle name, unique in this server."""
        return self.bundle.manifest.name

    @property
    def task(self) -> str:
        """derain, denoise or super-resolution."""
        return self.bundle.manifest.task

    @property
    def scale(self) -> int:
        """Output side over input side."""
        return self.bundle.manifest.scale

    @property
    def restorer(self) -> Restorer:
        """That of the first slot."""
        return self.restorers[0]

    @property
    def target(self) -> Target:
        """Where it runs, with the threads of one slot."""
        return self.restorer.target

    @property
    def backend(self) -> str:
        """Engine name, as the metrics label it."""
        return self.target.engine

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and columns of one tile."""
        return self.bundle.manifest.size.tile

    @property
    def family(self) -> str:
        """Shared by the bundles of one run: the hash of its config."""
        return family_of(self.bundle.manifest)

    @property
    def db(self) -> float | None:
        """Decibels of the graph that is served, on the first images its records name; None if nobody measured it."""
        return next(iter(quality_of(self.bundle.manifest, self.target).values()), None)

    @property
    def expected_ms(self) -> float:
        """Milliseconds that a tile takes in one slot, as the machine is now."""
        return self.costs.seconds(self.tile, 1) * 1000

    @cached_property
    def budget_s(self) -> float | None:
        """The budget for one full-size tile, in seconds, if the bundle was made for one."""
        return budget_of(self.bundle.manifest, self.target)

    @cached_property
    def promise(self) -> Promise | None:
        """What its records say of this kind of target; None if they say nothing."""
        return promise_of(self.bundle.manifest, self.target, self.costs.batch)

    @property
    def facts(self) -> Facts:
        """What decides its role in its family."""
        return facts_of(self.bundle.manifest, self.target, self.costs)

    def run(self, slot: int, batch: FloatArray) -> FloatArray:
        """Runs a batch of tiles in a slot.

        Args:
            slot: From 0; one call at a time for each.
            batch: float32 (N, 3, h, w) in [0, 1].

        Returns:
            float32 (N, 3, scale*h, scale*w).

        Raises:
            EngineError: The engine refuses the batch.
        """
        return self.restorers[slot].run(batch)

    def begin(self, picture: Picture) -> TiledRestoration:
        """Plans the tiles of a picture."""
        return self.restorer.begin(picture)

    def warm_up(self) -> None:
        """Runs every slot on the batches it will see and times the first, so that no request pays for what comes first.

        Raises:
            EngineError: An engine fails, or its answer is not finite or not of the right shape.
        """
        least = plan_tiles(1, 1, self.bundle.manifest.size)[0]
        # The full batch first: OpenVINO compiles for the shape that comes first, and once more for all others.
        shapes = dict.fromkeys([(self.costs.batch, self.tile), (1, self.tile), (1, (least.height, least.width))])
        for slot in range(len(self.restorers)):
            for count, tile in shapes:
                self._check(slot, _ramp(count, tile))
        self.costs.calibrate(lambda batch: self.run(0, batch), self.tile)

    def _check(self, slot: int, batch: FloatArray) -> None:
        restored = self.run(slot, batch)
        count, channels, height, width = batch.shape
        expected = (count, channels, height * self.scale, width * self.scale)
        if restored.shape != expected:
            raise EngineError(
                f"The model of '{self.name}' gave {restored.shape} for a batch of shape {batch.shape} at its warm-up, "
                f"not {expected}. Export the bundle again."
            )
        if not np.isfinite(restored).all():
            raise EngineError(
                f"The model of '{self.name}' gave values that are not numbers on {self.target.slug} at its warm-up. "
                "Export the bundle again, or name another target."
            )


def check_target(settings: Settings) -> None:
    """Makes sure that a target that is named exists and is here.

    Raises:
        TargetError: It is not; says what is missing.
    """
    if settings.target != AUTO:
        Target.parse(settings.target).check_available()


def open_model(found: Found, settings: Settings) -> LoadedModel:
    """Opens an engine of a bundle for every slot; call `warm_up` before it is served.

    Raises:
        MillisightError: Its target is not available here, its files were changed since it was found, or the engine
            refuses its graph.
    """
    start = time.perf_counter()
    bundle, choice = found.bundle, _choose(found.bundle, settings)
    target = choice.target
    target.check_available()
    # From bytes that were verified: the folder may be replaced at any moment, and all slots must hold one version.
    graph = bundle.read(bundle.model_path(target.precision).name)
    stored = bundle.engine_for(target)
    restorers = tuple(Restorer(bundle, open_engine(graph, target, stored)) for _ in range(settings.slots))
    costs = TileCosts.for_bundle(bundle.manifest, target)
    return LoadedModel(found, restorers, costs, choice, time.perf_counter() - start)


def _choose(bundle: Bundle, settings: Settings) -> Choice:
    """The target of a bundle; on a processor with the threads of a slot, unless somebody named their number."""
    if settings.target == AUTO:
        choice = choose_target(bundle)
    else:
        choice = Choice(Target.parse(settings.target), "it is set in MILLISIGHT_TARGET")
        if without_threads(settings.target.strip()) != settings.target.strip():
            return choice
    if choice.target.on_gpu:
        return choice
    return replace(choice, target=replace(choice.target, threads=settings.slot_threads))


def _ramp(count: int, tile: tuple[int, int]) -> FloatArray:
    """Pictures in which every channel takes many values of [0, 1]: zeros would let a bad network pass."""
    rows, columns = np.meshgrid(*(np.linspace(0, 1, side, dtype=np.float32) for side in tile), indexing="ij")
    picture = np.stack([rows, columns, rows * columns])
    return np.repeat(picture[None], count, axis=0)

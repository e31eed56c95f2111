"""The bundles this server has loaded, and the rule that says which one answers a request."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.auto import AUTO, Choice, choose_target
from runtime.bundle import Bundle, find_bundles
from runtime.restorer import Restorer
from runtime.target import Target
from serving.errors import ModelNotFoundError, SettingsError
from serving.settings import Settings

logger = logging.getLogger("bentoml.service.millisight")


@dataclass(frozen=True)
class LoadedModel:
    """One bundle with its engine open.

    Attributes:
        restorer: The thing that does the work.
        load_seconds: Time it took to verify the files and open the engine, in seconds.
        why: Why it runs on this target.
    """

    restorer: Restorer
    load_seconds: float
    why: str = ""

    @property
    def name(self) -> str:
        """Bundle name, unique in this server."""
        return self.restorer.bundle.manifest.name

    @property
    def task(self) -> str:
        """derain, denoise or super-resolution."""
        return self.restorer.bundle.manifest.task

    @property
    def scale(self) -> int:
        """Output side over input side."""
        return self.restorer.bundle.manifest.scale

    @property
    def backend(self) -> str:
        """Engine name, as the metrics label it."""
        return self.restorer.target.engine


def discover(settings: Settings) -> list[Bundle]:
    """Finds the bundles to serve, in the order of the roots; of two with one name the first is kept.

    Raises:
        SettingsError: There is none.
        BundleError: A folder that was asked for does not exist, or a bundle is damaged.
    """
    roots = settings.bundles
    if "bundles" not in settings.model_fields_set:
        # The default folders may be missing; a folder somebody named may not.
        roots = tuple(root for root in roots if root.is_dir())
    found: dict[str, Bundle] = {}
    for root in roots:
        for bundle in find_bundles([root]):
            name = bundle.manifest.name
            if name in found:
                logger.warning("Bundle %s is hidden by %s, which has the same name.", bundle.folder, found[name].folder)
                continue
            found[name] = bundle
    if not found:
        searched = ", ".join(str(root.absolute()) for root in settings.bundles)
        raise SettingsError(f"No bundle under {searched}. Set MILLISIGHT_BUNDLES to a folder that holds bundles.")
    return list(found.values())


class Library:
    """Loaded models in a fixed order: roots as configured, then as `find_bundles` lists them.

    A request may narrow the choice by scale and by name; the first model that is left answers. So a user's own run
    hides a bundle shipped in `zoo/`, and nothing else (date, speed, quality) changes the choice.
    """

    def __init__(self, models: Sequence[LoadedModel]) -> None:
        self.models = tuple(models)
        self.ready = False

    @classmethod
    def load(cls, settings: Settings) -> Library:
        """Opens an engine for every bundle found, each on its own target; call `warm_up` before serving.

        Raises:
            MillisightError: No bundle, a damaged one, or a target this machine does not have.
        """
        named = None if settings.target == AUTO else Target.parse(settings.target)
        models = []
        for bundle in discover(settings):
            start = time.perf_counter()
            choice = choose_target(bundle) if named is None else Choice(named, "it is set in MILLISIGHT_TARGET")
            restorer = Restorer.load(bundle, choice.target)
            models.append(LoadedModel(restorer, time.perf_counter() - start, choice.why))
            level = logging.WARNING if choice.fallback else logging.INFO
            logger.log(level, "%s runs on %s: %s", bundle.manifest.name, choice.target.slug, choice.why)
        return cls(models)

    def warm_up(self) -> None:
        """Runs every model once on one tile of zeros, so that no request pays for first allocations."""
        for model in self.models:
            height, width = model.restorer.bundle.manifest.size.tile
            model.restorer.restore_array(np.zeros((3, height, width), dtype=np.float32))
            logger.info("Warmed up %s (%s) on %s.", model.name, model.task, model.restorer.target.slug)
        self.ready = True

    def choose(self, task: str, scale: int | None = None, name: str | None = None) -> LoadedModel:
        """Picks the model for a request.

        Args:
            task: Task of the route.
            scale: Scale asked for, or None for any.
            name: Bundle name asked for, or None for any.

        Raises:
            ModelNotFoundError: None fits; the message lists what is loaded.
        """
        for model in self.models:
            if model.task == task and scale in (None, model.scale) and name in (None, model.name):
                return model
        wanted = [task]
        wanted += [f"scale {scale}"] if scale is not None else []
        wanted += [f"name {name[:80]!r}"] if name is not None else []
        loaded = ", ".join(f"{model.name} ({model.task} x{model.scale})" for model in self.models) or "nothing"
        raise ModelNotFoundError(f"No loaded bundle fits {', '.join(wanted)}. Loaded: {loaded}.")

    def is_default(self, model: LoadedModel) -> bool:
        """Whether this model answers requests for its task and scale that name no model."""
        return self.choose(model.task, model.scale) is model

    def describe(self) -> list[dict[str, Any]]:
        """What /v1/models answers: plain JSON values, the same order as the choice."""
        cards = []
        for model in self.models:
            manifest = model.restorer.bundle.manifest
            card = manifest.model_dump(mode="json", include=_PUBLIC_FIELDS)
            card |= {
                "target": model.restorer.target.slug,
                "target_reason": model.why,
                "default": self.is_default(model),
                "steps": [step.model_dump(mode="json", include=_STEP_FIELDS) for step in manifest.steps],
            }
            cards.append(card)
        return cards


# File names and hashes stay inside; what a client needs to choose and to trust is given.
_PUBLIC_FIELDS = {
    "name", "task", "scale", "size", "method", "parameters", "created", "latency", "quality", "lineage",
    "default_target", "default_reason", "speed",
}  # fmt: skip
_STEP_FIELDS = {"name", "status", "why", "db_lost"}

"""Loading, swapping and unloading the models of one process while it serves; what is served never has a gap."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from runtime.errors import MillisightError
from serving.errors import SettingsError
from serving.models.catalogue import Catalogue
from serving.models.discovery import SECOND_LOOK_S, Found, Refusal, Survey, check_roots, nothing_found, survey
from serving.models.loaded import LoadedModel, check_target, open_model
from serving.scheduling.priority import lower_priority
from serving.settings import Settings

__all__ = ["Change", "ModelKeeper"]

T = TypeVar("T")

logger = logging.getLogger("bentoml.service.millisight")

# What opening and running a bundle raises when the bundle, or the room there is for it, is at fault.
_FAILURES = (MillisightError, OSError, MemoryError)


@dataclass(frozen=True)
class Change:
    """What one look at the disk, or one order, changed.

    Attributes:
        loaded: Names that are served now and were not.
        swapped: Names whose bundle was replaced by another version.
        unloaded: Names that are not served any more.
        refused: What cannot be served; what was served under its name still is.
    """

    loaded: tuple[str, ...] = ()
    swapped: tuple[str, ...] = ()
    unloaded: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()


class ModelKeeper:
    """The models of one process.

    `catalogue` may be read from any thread at any time: it is replaced as a whole, never changed. A request keeps the
    model it chose, so a model that leaves the catalogue works on until the last request that holds it has ended; then
    its engines are freed.

    A changed bundle is opened and warmed up beside the version that serves, one bundle at a time, so that memory has to
    hold one model twice. All of it happens on one thread of lower priority, so calls take their turns, and the threads
    of the engines have that priority too.

    Args:
        settings: Where bundles are, and what every slot gets.
        on_change: Told every new catalogue just before it is served, on the keeper's thread.
    """

    def __init__(self, settings: Settings, on_change: Callable[[Catalogue], None] | None = None) -> None:
        self.settings = settings
        self._catalogue = Catalogue()
        self._on_change = on_change
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="models", initializer=lower_priority)

    @property
    def catalogue(self) -> Catalogue:
        """What is served now."""
        return self._catalogue

    def open(self, unloaded: Collection[str] = ()) -> None:
        """Opens an engine in every slot for every sound bundle; call `warm_up` before serving.

        A broken bundle is logged and listed as refused, and the others are served.

        Args:
            unloaded: Names to leave alone.

        Raises:
            MillisightError: A root or a target that somebody named is not there, or no bundle can be served.
        """
        self._in_turn(lambda: self._open(frozenset(unloaded)))

    def warm_up(self) -> None:
        """Runs every engine once and times this machine; a model that fails is refused. Then the catalogue is ready.

        Raises:
            SettingsError: None is left.
        """
        self._in_turn(self._warm_up)

    def reload(self) -> Change:
        """Looks at the roots again: takes in what is new or changed, drops what is gone, keeps what is broken now."""
        return self._in_turn(self._reconcile)

    def load(self, name: str) -> Change:
        """Brings one name to what lies on the disk, whether it was unloaded, is new or has changed."""
        return self._in_turn(lambda: self._load(name))

    def unload(self, name: str) -> Change:
        """Serves a name no more, until it is loaded again."""
        return self._in_turn(lambda: self._unload(name))

    def knows(self, name: str) -> bool:
        """Whether this is the name of a bundle: loaded, refused, unloaded, or on the disk."""
        seen = self._catalogue
        told = {refusal.name for refusal in seen.refused}
        return seen.find(name) is not None or name in seen.unloaded | told or name in survey(self.settings).found

    def close(self) -> None:
        """Drops all models; each is freed once no request holds it."""
        self._thread.shutdown(cancel_futures=True)
        self._catalogue = Catalogue()

    def _in_turn(self, work: Callable[[], T]) -> T:
        return self._thread.submit(work).result()

    def _open(self, unloaded: frozenset[str]) -> None:
        check_roots(self.settings)
        check_target(self.settings)
        seen = survey(self.settings)
        models, refused = list[LoadedModel](), list(seen.refused)
        for found in seen.found.values():
            if found.name in unloaded:
                logger.warning("Bundle %s is not loaded: somebody unloaded it.", found.name)
                continue
            try:
                models.append(self._opened(found))
            except _FAILURES as error:
                refused.append(found.refused(error))
        for refusal in refused:
            logger.error("Bundle %s is not served: %s", refusal.label, refusal.message)
        self._publish(replace(Catalogue(), refused=tuple(refused), unloaded=unloaded), models)
        self._check_any_left()

    def _warm_up(self) -> None:
        models, refused = list[LoadedModel](), list(self._catalogue.refused)
        for model in self._catalogue.models:
            try:
                model.warm_up()
            except _FAILURES as error:
                refused.append(model.found.refused(error))
                logger.error("Bundle %s is not served: %s", model.name, error)
                continue
            models.append(model)
            logger.info("Warmed up %s (%s) on %s.", model.name, model.task, model.target.slug)
        self._publish(replace(self._catalogue, refused=tuple(refused)), models)
        self._check_any_left()
        self._publish(replace(self._catalogue, ready=True))

    def _check_any_left(self) -> None:
        """Without any model there is nothing to serve, unless somebody wanted it so."""
        catalogue = self._catalogue
        if catalogue.models or catalogue.unloaded:
            return
        if not catalogue.refused:
            raise nothing_found(self.settings)
        reasons = " ".join(refusal.message for refusal in catalogue.refused)
        raise SettingsError(f"None of the bundles found can be served. {reasons}")

    def _load(self, name: str) -> Change:
        self._publish(replace(self._catalogue, unloaded=self._catalogue.unloaded - {name}))
        return self._reconcile(name)

    def _unload(self, name: str) -> Change:
        catalogue = self._catalogue
        left = [model for model in catalogue.models if model.name != name]
        served = len(left) < len(catalogue.models)
        self._publish(replace(catalogue, unloaded=catalogue.unloaded | {name}), left)
        logger.info("Bundle %s is unloaded until it is loaded again.", name)
        return Change(unloaded=(name,) if served else ())

    def _reconcile(self, only: str | None = None) -> Change:
        """Brings the catalogue to what lies on the disk, for one name or for all."""
        seen = self._look(only)
        refused = [refusal for refusal in map(self._named, seen.refused) if only in (None, refusal.name)]
        loaded, swapped = list[str](), list[str]()
        for found in seen.found.values():
            if only not in (None, found.name) or found.name in self._catalogue.unloaded:
                continue
            try:
                was_served = self._catalogue.find(found.name) is not None
                if self._take_in(found, seen):
                    (swapped if was_served else loaded).append(found.name)
            except _FAILURES as error:
                refused.append(found.refused(error))
        gone = [name for name in self._gone(seen) if only in (None, name)]
        for refusal in refused:
            logger.error("Bundle %s is not served as it is now: %s", refusal.label, refusal.message)
        others = [refusal for refusal in self._catalogue.refused if only not in (None, refusal.name)]
        left = [model for model in self._catalogue.models if model.name not in gone]
        self._publish(replace(self._catalogue, refused=(*others, *refused)), left)
        change = Change(tuple(loaded), tuple(swapped), tuple(gone), tuple(refused))
        if loaded or swapped or gone:
            lists = [", ".join(names) or "none" for names in (loaded, swapped, gone)]
            logger.info("Bundles loaded: %s; swapped: %s; gone: %s.", *lists)
        return change

    def _look(self, only: str | None) -> Survey:
        """A survey; a second one if something seems gone, because a bundle is replaced by two renames."""
        seen = survey(self.settings)
        if any(only in (None, name) for name in self._gone(seen)):
            time.sleep(SECOND_LOOK_S)
            return survey(self.settings)
        return seen

    def _gone(self, seen: Survey) -> list[str]:
        """Names of models whose bundle is not there any more; one that cannot be read still is."""
        models = self._catalogue.models
        return [model.name for model in models if model.name not in seen.found and not seen.refuses(model.found.place)]

    def _named(self, refusal: Refusal) -> Refusal:
        """A refusal under the name of what is served from its place, if its own cannot be read."""
        served = (model.name for model in self._catalogue.models if model.found.place == refusal.place)
        return refusal if refusal.name else replace(refusal, name=next(served, ""))

    def _take_in(self, found: Found, seen: Survey) -> bool:
        """Serves a bundle if it is new or changed; whether that was so.

        Raises:
            MillisightError: It cannot be served; what was served before still is.
        """
        current = self._catalogue.find(found.name)
        if current is not None and seen.refuses(current.found.place):
            return False  # its own folder is broken; what that one hid does not take its place
        if current is not None and current.digest == found.digest:
            if current.found.place != found.place:
                self._show(replace(current, found=found))
            return False
        self._publish(replace(self._catalogue, loading=(found.name,)))
        try:
            fresh = self._opened(found)
            fresh.warm_up()
            self._show(fresh)
        finally:
            self._publish(replace(self._catalogue, loading=()))
        return True

    def _show(self, fresh: LoadedModel) -> None:
        """Puts a model into the catalogue, in place of the one of its name."""
        others = [model for model in self._catalogue.models if model.name != fresh.name]
        self._publish(self._catalogue, [*others, fresh])

    def _opened(self, found: Found) -> LoadedModel:
        model = open_model(found, self.settings)
        level = logging.WARNING if model.choice.fallback else logging.INFO
        logger.log(level, "%s runs on %s: %s", model.name, model.target.slug, model.choice.why)
        return model

    def _publish(self, catalogue: Catalogue, models: Collection[LoadedModel] | None = None) -> None:
        """Replaces the catalogue by one assignment, after those who count what is served know of it."""
        if models is not None:
            catalogue = replace(catalogue, models=tuple(sorted(models, key=lambda model: model.found.place)))
        if self._on_change is not None:
            self._on_change(catalogue)
        self._catalogue = catalogue

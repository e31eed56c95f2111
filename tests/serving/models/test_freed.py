"""What nobody uses any more is freed, engines and all."""

from __future__ import annotations

import gc
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path

from serving.models import ModelKeeper
from tests.servers import known_network, write_known_bundle
from tests.serving.models.conftest import gain_of

Make = Callable[..., ModelKeeper]


def test_engines_are_freed_when_the_last_request_ends(keeper: ModelKeeper, zoo: Path) -> None:
    model = keeper.catalogue.find("first")
    assert model is not None
    engine = weakref.ref(model.restorers[0]._engine)
    write_known_bundle(zoo / "a", "first", "denoise", gain=0.75)
    keeper.reload()
    gc.collect()
    assert engine() is not None  # a request still holds it
    assert gain_of(model) == 0.5
    del model
    assert engine() is None  # at once, without the garbage collector


def test_engines_of_what_is_unloaded_or_refused_are_freed(keeper: ModelKeeper, zoo: Path) -> None:
    def engines() -> list[weakref.ref[object]]:
        return [weakref.ref(model.restorers[0]._engine) for model in keeper.catalogue.models]

    first, second, rain = engines()
    keeper.unload("first")
    shutil.rmtree(zoo / "b")
    keeper.reload()
    gc.collect()
    assert [engine() is None for engine in (first, second, rain)] == [True, True, False]
    keeper.close()
    assert rain() is None


def test_many_swaps_do_not_grow(keeper: ModelKeeper, zoo: Path) -> None:
    model = known_network(1, 0.5)
    swaps = 12
    alive = []
    for swap in range(swaps):
        # The same network with other bytes: every one is a new version.
        write_known_bundle(zoo / "a", "first", "denoise", model=model, created=f"2026-02-{swap + 1:02}T00:00:00Z")
        assert keeper.reload().swapped == ("first",)
        served = keeper.catalogue.find("first")
        assert served is not None
        alive.append(weakref.ref(served))
        del served
    assert sum(reference() is not None for reference in alive) == 1

"""Thumbnails are served between the tiles of a large picture."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.scheduling.dispatcher import Dispatcher
from serving.scheduling.fairness import FairOrder
from tests.serving.scheduling.known import demand, known_model
from tests.serving.scheduling.simulation import Arrival, Fate, Simulation

TILE = 0.1


def waits(fates: list[Fate]) -> list[float]:
    """Seconds from its arrival to its first tile, of every thumbnail."""
    found = []
    for fate in fates:
        if fate.arrival.demand.tiles == 1:
            assert fate.first_tile is not None
            found.append(fate.first_tile - fate.arrival.at)
    return found


def mixed(large: int, times: list[float]) -> list[Arrival]:
    model = known_model(0.0, TILE)
    big = [Arrival(0.0, 1e6, demand(model, 100)) for _ in range(large)]
    # Later deadlines than the large pictures', so that only fairness helps them.
    return big + [Arrival(time, 2e6, demand(model, 1)) for time in times]


@settings(max_examples=40, deadline=None)
@given(large=st.integers(1, 4), times=st.lists(st.floats(0.01, 8), min_size=1, max_size=6))
def test_a_thumbnail_waits_one_quantum_per_active_request(large: int, times: list[float]) -> None:
    fates = Simulation(Dispatcher(1, 1, 1), mixed(large, times)).play()
    assert max(waits(fates)) <= TILE * (1 + large + len(times)) + 1e-9


def test_planted_fault_first_come_first_served_breaks_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FairOrder, "order", lambda _, entries: sorted(entries, key=lambda entry: entry.number))
    fates = Simulation(Dispatcher(1, 1, 1), mixed(1, [0.5])).play()
    assert max(waits(fates)) > TILE * 3


def test_two_large_pictures_share_equally() -> None:
    model = known_model(0.0, TILE)
    simulation = Simulation(Dispatcher(1, 1, 1), [Arrival(0.0, 1e6, demand(model, 50)) for _ in range(2)])
    simulation.play()
    half = [run.entries[0].number for _, run in simulation.log[:50]]
    assert abs(half.count(0) - half.count(1)) <= 1


def test_an_urgent_request_goes_first_when_its_deadline_needs_it() -> None:
    model = known_model(0.0, TILE)
    arrivals = [Arrival(0.0, 1e6, demand(model, 30)), Arrival(0.05, 1.15, demand(model, 10))]
    fates = Simulation(Dispatcher(1, 1, 1), arrivals).play()
    assert fates[1].end is not None
    assert fates[1].end <= 1.2 + 1e-9


@settings(max_examples=30, deadline=None)
@given(counts=st.lists(st.integers(1, 7), min_size=1, max_size=6), batch=st.integers(1, 4))
def test_batches_are_filled_up_with_what_is_there(counts: list[int], batch: int) -> None:
    model = known_model(0.01, 0.1, batch=batch)
    simulation = Simulation(Dispatcher(1, 1, 1), [Arrival(0.0, 1e6, demand(model, count)) for count in counts])
    simulation.play()
    sizes = [len(run.tiles) for _, run in simulation.log]
    assert sum(sizes) == sum(counts)
    # The first run may begin before the others have come; after that only the last is not full.
    assert all(size == batch for size in sizes[1:-1])
    tiles = [(entry.number, index) for _, run in simulation.log for entry, index in run.tiles]
    assert len(set(tiles)) == len(tiles)


def test_models_and_shapes_are_never_mixed() -> None:
    dispatcher = Dispatcher(1, 1, 1)
    first, second = known_model(batch=8, name="a"), known_model(batch=8, name="b")
    simulation = Simulation(
        dispatcher, [Arrival(0.0, 1e6, demand(model, 3)) for model in (first, second, first, second)]
    )
    simulation.play()
    assert all(len({entry.model.name for entry, _ in run.tiles}) == 1 for _, run in simulation.log)

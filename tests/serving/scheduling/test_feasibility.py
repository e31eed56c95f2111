"""No admitted request is late when costs are exact: the theorem of `feasibility`, played and compared."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from serving.scheduling.dispatcher import Dispatcher
from serving.scheduling.feasibility import Table
from tests.serving.scheduling.known import demand, known_model
from tests.serving.scheduling.simulation import Arrival, Fate, Simulation

seconds = st.sampled_from([0.0, 0.001, 0.01, 0.05, 0.3, 1.0])
# Shrinking arrivals takes minutes and says little more than the seed does.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
PROPERTY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=PHASES)


@st.composite
def machines(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Slots, cores, threads of a run (0: GPU), tiles a batch."""
    slots, cores = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    return slots, cores, draw(st.integers(0, cores)), draw(st.sampled_from([1, 1, 3, 4]))


@st.composite
def traffic(draw: st.DrawFn, threads: int, batch: int, *, most: int = 14, room: int = 0) -> list[Arrival]:
    models = [
        known_model(draw(seconds), each, batch=batch, cores=threads, name=f"model-{number}")
        for number, each in enumerate(draw(st.lists(st.sampled_from([0.005, 0.02, 0.1]), min_size=1, max_size=2)))
    ]
    arrivals = []
    for _ in range(draw(st.integers(1, most))):
        wanted = demand(
            draw(st.sampled_from(models)),
            draw(st.sampled_from([1, 1, 2, 5, 20])),
            decode=draw(seconds),
            encode=draw(seconds),
            room=draw(st.integers(0, room)),
        )
        alone = wanted.inference_s + wanted.decode_s + wanted.encode_s
        within = alone * draw(st.sampled_from([0.5, 1.0, 1.1, 1.5, 3.0, 10.0])) + draw(st.sampled_from([0.0, 0.2, 2.0]))
        arrivals.append(Arrival(draw(st.floats(0, 4)), within, wanted))
    return arrivals


def late(fates: list[Fate]) -> list[Fate]:
    tolerance = 1e-6
    return [
        fate
        for fate in fates
        if fate.entry and (fate.end is None or fate.end > fate.arrival.at + fate.arrival.within + tolerance)
    ]


@PROPERTY
@given(st.data())
def test_no_admitted_request_is_late_with_exact_costs(data: st.DataObject) -> None:
    slots, cores, threads, batch = data.draw(machines())
    dispatcher = Dispatcher(slots, cores, 10**9)
    simulation = Simulation(dispatcher, data.draw(traffic(threads, batch)))
    assert late(simulation.play()) == []
    assert simulation.most_runs <= slots


@PROPERTY
@given(st.data())
def test_no_admitted_request_is_late_where_memory_is_short(data: st.DataObject) -> None:
    slots, cores, threads, batch = data.draw(machines())
    dispatcher = Dispatcher(slots, cores, data.draw(st.integers(1, 12)))
    fates = Simulation(dispatcher, data.draw(traffic(threads, batch, room=10))).play()
    assert late(fates) == []


@PROPERTY
@given(st.data())
def test_a_request_alone_is_done_when_predicted(data: st.DataObject) -> None:
    slots, cores, threads, _ = data.draw(machines())
    tiles = data.draw(st.integers(1, 9))
    wanted = demand(known_model(0.01, 0.05, cores=threads), tiles, decode=data.draw(seconds), encode=data.draw(seconds))
    fate = Simulation(Dispatcher(slots, cores, 1), [Arrival(0.0, 1e6, wanted)]).play()[0]
    assert fate.end is not None
    assert fate.end <= fate.bound + 1e-9
    if slots == 1:
        assert fate.end == pytest.approx(fate.bound)


def test_planted_fault_everybody_admitted_is_late() -> None:
    """The simulation sees lateness: without admission, an overload makes it."""
    model = known_model(0.0, 0.1)
    arrivals = [Arrival(0.01 * number, 0.5, demand(model, 2)) for number in range(20)]
    assert late(Simulation(Dispatcher(1, 1, 1), arrivals, checked=False).play())
    assert not late(Simulation(Dispatcher(1, 1, 1), arrivals).play())


def test_planted_fault_fairness_that_heeds_no_deadline_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two requests: sharing equally would make the urgent one late; the check of slack is what prevents it."""
    model = known_model(0.0, 0.1)
    arrivals = [Arrival(0.0, 10.0, demand(model, 20)), Arrival(0.05, 1.1, demand(model, 10))]
    assert not late(Simulation(Dispatcher(1, 1, 1), arrivals).play())
    monkeypatch.setattr(Table, "allows", lambda *_: True)
    assert late(Simulation(Dispatcher(1, 1, 1), arrivals).play())


def test_time_is_left_unused_only_for_a_promise_that_needs_it() -> None:
    """A slow tile would begin while an urgent picture decodes; it waits, and both are in time."""
    slow, quick = known_model(0.0, 1.0, cores=0, name="slow"), known_model(0.0, 0.1, cores=0, name="quick")
    arrivals = [
        Arrival(0.0, 60.0, demand(slow, 3, decode=0.1)),
        Arrival(0.05, 0.35, demand(quick, 1, decode=0.2)),
    ]
    fates = Simulation(Dispatcher(1, 4, 1), arrivals).play()
    assert all(fate.entry for fate in fates)
    assert late(fates) == []
    assert fates[0].first_tile == pytest.approx(0.35)


def feasible_by_brute_force(jobs: list[tuple[int, int]]) -> bool:
    """Whether some order of (seconds, deadline) on one slot, all there from the start, is in time for all."""
    for order in itertools.permutations(jobs):
        ends = itertools.accumulate(length for length, _ in order)
        if all(end <= deadline for end, (_, deadline) in zip(ends, order, strict=True)):
            return True
    return False


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 20)), min_size=1, max_size=6))
def test_on_one_slot_admission_is_exact(jobs: list[tuple[int, int]]) -> None:
    """Admitting one after the other takes all of them exactly if an order exists that is in time for all."""
    model = known_model(0.0, 1.0)
    dispatcher = Dispatcher(1, 1, 1)
    took_all = True
    for length, deadline in jobs:
        wanted = demand(model, length)
        found = dispatcher.predict(wanted, deadline, 0.0)
        took = found.keeps_others and found.bound_s <= deadline
        took_all = took_all and took
        if took:
            dispatcher.admit(wanted, deadline)
    assert took_all == feasible_by_brute_force(jobs)

"""Memory room, codec costs and priorities."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass

import pytest

from serving.scheduling import CodecCosts, call_lowered, lower_priority
from serving.scheduling.dispatcher import Dispatcher
from serving.scheduling.room import PASSING_S, Room
from tests.serving.scheduling.known import demand, known_model
from tests.serving.scheduling.simulation import Arrival, Simulation


def order_of_first_tiles(room: int, arrivals: list[Arrival]) -> tuple[list[int], int]:
    """Who begins in which order, and the most bytes held."""
    most, dispatcher = 0, Dispatcher(1, 1, room)
    real = dispatcher.grant

    def watched(now: float) -> None:
        nonlocal most
        real(now)
        most = max(most, dispatcher.room.held)

    dispatcher.grant = watched  # type: ignore[method-assign]
    simulation = Simulation(dispatcher, arrivals)
    simulation.play()
    return list(dict.fromkeys(run.entries[0].number for _, run in simulation.log)), most


def test_pictures_never_exceed_the_room() -> None:
    model = known_model(0.0, 0.1)
    arrivals = [Arrival(0.0, 1e6 + n, demand(model, 3, room=4)) for n in range(5)]
    order, most = order_of_first_tiles(10, arrivals)
    assert sorted(order) == list(range(5))
    assert most == 8


def test_one_larger_than_the_room_goes_alone() -> None:
    model = known_model(0.0, 0.1)
    arrivals = [Arrival(0.0, 100.0 + n, demand(model, 3, room=size)) for n, size in enumerate((1, 50, 1))]
    order, most = order_of_first_tiles(10, arrivals)
    assert sorted(order) == [0, 1, 2]
    assert most == 50


def test_small_ones_pass_a_blocked_one_only_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    model = known_model(0.0, 0.1)
    arrivals = [Arrival(0.0, 1e5, demand(model, 40, room=6)), Arrival(0.01, 1e5, demand(model, 1, room=9))]
    arrivals += [Arrival(0.02 + 0.3 * n, 1e6, demand(model, 1, room=4)) for n in range(40)]
    order, most = order_of_first_tiles(10, arrivals)
    assert most <= 10
    passed = order.index(1) - 1
    assert 1 <= passed <= PASSING_S / 0.3 + 2
    monkeypatch.setattr("serving.scheduling.room.PASSING_S", 1e9)
    assert order_of_first_tiles(10, arrivals)[0].index(1) - 1 > passed  # the fault: no bound


def test_room_knows_when_it_is_crowded() -> None:
    dispatcher = Dispatcher(1, 1, 10)
    entries = [dispatcher.admit(demand(known_model(), 1, room=5), 1.0) for _ in range(3)]
    assert Room(10).is_crowded(entries)
    assert not Room(10).is_crowded(entries[:2])


@dataclass(frozen=True)
class Header:
    format: str
    width: int
    height: int


def test_codec_costs_are_measured_and_follow() -> None:
    costs = CodecCosts()
    costs.calibrate()
    small, large = Header("PNG", 100, 100), Header("PNG", 1000, 1000)
    for name in ("PNG", "JPEG", "WebP", "TIFF", "BMP", "GIF"):
        assert 0 < costs.decode_seconds(Header(name, 1000, 1000)) < 60
    assert costs.decode_seconds(large) > costs.decode_seconds(small)
    assert costs.encode_seconds("png", 1000, 1000) > 0
    before = costs.decode_seconds(large)
    for _ in range(100):
        costs.observe_decode(large, 2 * before)
        costs.observe_encode("png", 1000, 1000, 0.5)
    assert costs.decode_seconds(large) == pytest.approx(2 * before, rel=0.05)
    assert costs.encode_seconds("png", 1000, 1000) == pytest.approx(0.5, rel=0.05)
    assert costs.decode_seconds(small) < before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
def test_threads_that_a_lowered_thread_starts_are_lowered_too() -> None:
    here = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    seen: list[int] = []

    def child() -> None:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    def work() -> None:
        thread = threading.Thread(target=child)
        thread.start()
        thread.join()

    call_lowered(work)
    assert seen[0] == min(here + 3, 19)
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == here
    assert call_lowered(lambda: 7) == 7
    assert call_lowered(lower_priority) is True
    with pytest.raises(ZeroDivisionError):
        call_lowered(lambda: 1 // 0)

"""Who watches a scheduler is told of every decision, batch and late request, once and when it happens."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from runtime.errors import EngineError
from serving.errors import ClientGoneError, DeadlineExceededError
from serving.scheduling import DeadlineUnattainableError, Model, QueueFullError, Scheduler
from serving.scheduling.dispatcher import Dispatcher
from serving.scheduling.interfaces import FloatArray
from tests.serving.scheduling.known import KnownModel, Strips, demand, known_model, strips

FAR = 3600.0


class Notes:
    """Writes down what it is told, and when it was told of batches."""

    def __init__(self) -> None:
        self.decisions: Counter[str] = Counter()
        self.batches: list[tuple[str, tuple[int, int], int, float]] = []
        self.told: list[float] = []
        self.lates = 0

    def decided(self, decision: str) -> None:
        self.decisions[decision] += 1

    def ran(self, model: Model, tile: tuple[int, int], tiles: int, seconds: float) -> None:
        self.told.append(time.perf_counter())
        self.batches.append((model.name, tile, tiles, seconds))

    def late(self) -> None:
        self.lates += 1


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def watched(notes: Notes) -> Iterator[Scheduler]:
    made = Scheduler(slots=1, cores=2, max_waiting=100, picture_bytes=2**30, observer=notes)
    yield made
    made.close(wait_s=10)


async def restore(scheduler: Scheduler, model: KnownModel, picture: Strips) -> None:
    with scheduler.admit(demand(model, len(picture.tiles)), scheduler.clock() + FAR) as admission:
        await admission.restore(picture)


def played(scheduler: Scheduler, model: KnownModel, *pictures: Strips) -> list[object]:
    async def main() -> list[object]:
        work = [restore(scheduler, model, picture) for picture in pictures]
        return await asyncio.gather(*work, return_exceptions=True)

    return asyncio.run(main())


def test_every_batch_is_told_before_its_request_ends(watched: Scheduler, notes: Notes) -> None:
    model = known_model(batch=4, each=1e-5)

    async def main() -> None:
        await restore(watched, model, strips(9))
        # Nobody has waited for anything but the answer.
        assert sum(tiles for _, _, tiles, _ in notes.batches) == 9

    asyncio.run(main())
    assert {(name, tile) for name, tile, _, _ in notes.batches} == {("known", (8, 8))}
    assert Counter(tiles for _, _, tiles, _ in notes.batches) == watched.stats.batches
    assert all(seconds > 0 for *_, seconds in notes.batches)


def test_seconds_are_those_of_the_network_alone(watched: Scheduler, notes: Notes) -> None:
    moments: list[float] = []

    class Slow(Strips):
        def cut(self, index: int) -> FloatArray:
            moments.append(time.perf_counter())
            time.sleep(0.02)
            return super().cut(index)

    def run(_: int, batch: FloatArray) -> FloatArray:
        moments.append(time.perf_counter())
        time.sleep(0.02)
        moments.append(time.perf_counter())
        return batch

    model = known_model()
    model.work = run
    played(watched, model, Slow(strips(1).pixels))
    cut, began, ended = moments
    (*_, seconds) = notes.batches[0]
    assert ended - began <= seconds
    # Were the cut in it, the two together would be longer than both took one after the other.
    assert seconds + (began - cut) / 2 < notes.told[0] - cut


def fails(slot: int, batch: FloatArray) -> FloatArray:
    raise EngineError(f"broken for {len(batch)} in slot {slot}")


def too_few(_: int, batch: FloatArray) -> FloatArray:
    return batch[:0]


@pytest.mark.parametrize("work", [fails, too_few])
def test_a_batch_that_did_not_run_as_one_is_not_told(
    watched: Scheduler, notes: Notes, work: Callable[[int, FloatArray], FloatArray]
) -> None:
    model = known_model(batch=4, each=1e-5)
    model.work = work
    (outcome,) = played(watched, model, strips(4))
    assert isinstance(outcome, EngineError)
    assert notes.batches == []
    assert sum(watched.stats.batches.values()) > 0


def test_tiles_that_could_not_be_cut_make_a_batch_a_smaller_one(watched: Scheduler, notes: Notes) -> None:
    class Broken(Strips):
        def cut(self, index: int) -> FloatArray:
            if index == 1:
                raise EngineError("no such tile")
            return super().cut(index)

    broken = Broken(strips(4).pixels)
    (outcome,) = played(watched, known_model(batch=4, each=1e-5), broken)
    assert isinstance(outcome, EngineError)
    assert notes.batches == []


def test_an_answer_that_is_no_picture_took_its_time_all_the_same(watched: Scheduler, notes: Notes) -> None:
    model = known_model()
    model.work = lambda _, batch: np.full_like(batch, np.nan)
    played(watched, model, strips(1))
    assert [tiles for _, _, tiles, _ in notes.batches] == [1]


def test_every_request_is_decided_about_once(notes: Notes) -> None:
    scheduler = Scheduler(slots=1, cores=1, max_waiting=1, picture_bytes=1, clock=lambda: 1000.0, observer=notes)
    model = known_model(each=1.0)
    with pytest.raises(DeadlineUnattainableError):
        scheduler.admit(demand(model, 10), 1005.0)
    assert scheduler.predict(demand(model, 10), 1005.0) == float("inf")  # a question is no decision
    scheduler.admit(demand(model, 10), 1020.0)
    for ask in (lambda: scheduler.check_room(1100.0), lambda: scheduler.admit(demand(model, 1), 1100.0)):
        with pytest.raises(QueueFullError):
            ask()
    scheduler.close(wait_s=10)
    assert notes.decisions == {"admitted": 1, "queue_full": 2, "deadline_unattainable": 1}
    assert notes.decisions == scheduler.stats.decisions


def test_late_ones_are_told_once_and_those_that_left_are_not(watched: Scheduler, notes: Notes) -> None:
    for _ in range(2):
        watched.admit(demand(known_model(), 1), watched.clock() + FAR)
    entries = list(watched._open)
    watched.expire_entry(entries[0], DeadlineExceededError("too late"))
    watched.expire_entry(entries[0], DeadlineExceededError("too late"))
    watched.fail_entry(entries[1], ClientGoneError("gone"))
    watched.expire_entry(entries[1], DeadlineExceededError("too late"))
    assert notes.lates == watched.stats.late == 1


def test_those_that_are_found_late_are_told_too(notes: Notes) -> None:
    dispatcher = Dispatcher(1, 1, 1, notes)
    dispatcher.admit(demand(known_model(), 1), 10.0)
    dispatcher.pick_run(10.0)
    assert notes.lates == 0
    dispatcher.pick_run(11.0)
    dispatcher.pick_run(12.0)
    assert notes.lates == dispatcher.late == 1

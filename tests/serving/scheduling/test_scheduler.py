"""The scheduler with its threads: results, slots, deadlines, cancelling, failures of one tile."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import EngineError
from runtime.picture import Picture
from runtime.restoration import TiledRestoration
from runtime.tiles import SizeContract
from serving.errors import ClientGoneError, DeadlineExceededError, NotReadyError
from serving.scheduling import DeadlineUnattainableError, QueueFullError, Scheduler
from serving.scheduling.interfaces import FloatArray
from tests.serving.scheduling.known import KnownModel, Strips, demand, known_model, strips

FAR = 3600.0


async def restore(scheduler: Scheduler, model: KnownModel, picture: Strips, within: float = FAR) -> Strips:
    wanted = demand(model, len(picture.tiles), decode=1e-4, encode=1e-4)
    with scheduler.admit(wanted, scheduler.clock() + within) as admission:
        decoded = await admission.decode(lambda: picture)
        await admission.restore(decoded)
        return await admission.encode(lambda: decoded)


def test_all_stages_run_and_their_times_are_told(scheduler: Scheduler) -> None:
    async def main() -> None:
        wanted = demand(known_model(), 5)
        with scheduler.admit(wanted, scheduler.clock() + FAR) as admission:
            assert admission.predicted_s == pytest.approx(0.005, rel=0.01)
            picture = await admission.decode(lambda: strips(5, 0.25))
            await admission.restore(picture)
            assert (picture.result == 0.25).all()
            assert await admission.encode(lambda: b"file") == b"file"
            assert set(admission.seconds) == {"queue", "decode", "inference", "encode"}

    asyncio.run(main())
    stats = scheduler.stats
    assert (stats.admitted, stats.picture_bytes, stats.backlog_s) == (0, 0, 0.0)
    assert stats.decisions == {"admitted": 1}


def doubled(_: int, batch: FloatArray) -> FloatArray:
    return batch * 2


def play(sizes: list[int], batch: int, slots: int, work: Callable[[int, FloatArray], FloatArray]) -> KnownModel:
    """Doubles pictures of so many tiles at the same time, and compares with doubling each alone."""
    scheduler = Scheduler(slots=slots, cores=1, max_waiting=100, picture_bytes=1)
    model = known_model(batch=batch, each=1e-5)
    model.work = work
    pictures = [
        Strips(np.random.default_rng(seed).random((3, 8, 8 * size), dtype=np.float32))
        for seed, size in enumerate(sizes)
    ]

    async def main() -> None:
        await asyncio.gather(*(restore(scheduler, model, picture) for picture in pictures))

    asyncio.run(main())
    scheduler.close(wait_s=10)
    for picture in pictures:
        assert np.array_equal(picture.result, picture.pixels * 2)
        assert sorted(picture.cuts) == list(picture.tiles)
    return model


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12), batch=st.integers(1, 5), slots=st.integers(1, 3))
def test_results_are_those_of_single_tiles_whatever_shares_a_batch(sizes: list[int], batch: int, slots: int) -> None:
    model = play(sizes, batch, slots, doubled)
    assert model.most <= slots
    assert max(shape[0] for shape in model.batches) <= batch


def test_planted_fault_crossed_results_are_seen() -> None:
    with pytest.raises(AssertionError):
        play([4, 4], 4, 1, lambda _, batch: batch[::-1] * 2)


def test_64_callers_each_get_their_own(scheduler: Scheduler) -> None:
    model = known_model(each=1e-5, batch=4)
    pictures = [strips(3, number / 64) for number in range(64)]
    errors: list[BaseException] = []

    def caller(picture: Strips) -> None:
        try:
            asyncio.run(restore(scheduler, model, picture))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=caller, args=(picture,)) for picture in pictures]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not errors
    assert all((picture.result == number / 64).all() for number, picture in enumerate(pictures))


def test_tiles_of_several_requests_share_batches(scheduler: Scheduler) -> None:
    model = known_model(each=1e-4, batch=4)
    go = threading.Event()

    def wait(_: int, batch: FloatArray) -> FloatArray:
        assert go.wait(30)
        return batch

    model.work = wait

    async def main() -> None:
        tasks = [asyncio.create_task(restore(scheduler, model, strips(1))) for _ in range(9)]
        await until(lambda: scheduler.stats.running == 1 and not scheduler.stats.codecs_waiting)
        await asyncio.sleep(0.2)
        go.set()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert 4 in {shape[0] for shape in model.batches}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.002)


def test_runs_never_exceed_slots_through_deadlines_and_cancels() -> None:
    """BentoML #5642: six calls of three tiles with a short deadline left four handlers running at once there."""
    scheduler = Scheduler(slots=1, cores=2, max_waiting=100, picture_bytes=2**30)
    model = known_model(each=1e-6)  # promises far less than it takes, so that everything is admitted

    def slow(_: int, batch: FloatArray) -> FloatArray:
        time.sleep(0.1)
        return batch

    model.work = slow
    pictures = [strips(3) for _ in range(6)]

    async def main() -> list[object]:
        tasks = [asyncio.create_task(restore(scheduler, model, picture, within=0.15)) for picture in pictures[:5]]
        tasks.append(asyncio.create_task(restore(scheduler, model, pictures[5])))
        await asyncio.sleep(0.05)
        tasks[5].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    outcomes = asyncio.run(main())
    assert isinstance(outcomes[5], asyncio.CancelledError)
    assert all(isinstance(outcome, DeadlineExceededError) for outcome in outcomes[:5])
    limit = time.monotonic() + 30
    while scheduler.stats.running and time.monotonic() < limit:
        time.sleep(0.01)
    assert model.most == 1
    assert scheduler.stats.admitted == 0
    # What was given up has not run on: far fewer than the 18 tiles there were.
    assert sum(len(picture.cuts) for picture in pictures) <= 6
    scheduler.close(wait_s=10)


def test_planted_fault_the_counter_of_runs_sees_two_at_once() -> None:
    scheduler = Scheduler(slots=2, cores=2, max_waiting=10, picture_bytes=1)
    model = known_model()
    meet = threading.Barrier(2, timeout=30)

    def both(_: int, batch: FloatArray) -> FloatArray:
        meet.wait()
        return batch

    model.work = both
    asyncio.run(restore(scheduler, model, strips(2)))
    assert model.most == 2
    scheduler.close(wait_s=10)


def test_revoke_stops_within_one_tile_and_holds_the_slot_until_it_ends(scheduler: Scheduler) -> None:
    model, picture = known_model(), strips(10)
    begun, go = threading.Event(), threading.Event()

    def wait(_: int, batch: FloatArray) -> FloatArray:
        begun.set()
        assert go.wait(30)
        return batch

    model.work = wait

    async def main() -> None:
        with scheduler.admit(demand(model, 10, room=1000), scheduler.clock() + FAR) as admission:
            await admission.decode(lambda: None)
            task = asyncio.create_task(admission.restore(picture))
            await asyncio.to_thread(begun.wait, 30)
            admission.revoke(ClientGoneError("gone"))
            with pytest.raises(ClientGoneError):
                await task
            with pytest.raises(ClientGoneError):
                await admission.encode(lambda: None)
        stats = scheduler.stats
        assert (stats.running, stats.picture_bytes, stats.admitted) == (1, 1000, 0)
        go.set()
        await until(lambda: scheduler.stats.running == 0)

    asyncio.run(main())
    assert scheduler.stats.picture_bytes == 0
    assert picture.cuts == [0]


def test_a_tile_that_is_not_finite_fails_its_own_request_only(scheduler: Scheduler) -> None:
    model = known_model(batch=4, each=1e-5)
    model.work = lambda _, batch: np.where(batch == 0.25, np.nan, batch).astype(np.float32)

    async def main() -> list[object]:
        pictures = [strips(3, value) for value in (0.25, 0.5, 0.75)]
        return await asyncio.gather(*(restore(scheduler, model, p) for p in pictures), return_exceptions=True)

    outcomes = asyncio.run(main())
    assert isinstance(outcomes[0], EngineError)
    assert all(isinstance(outcome, Strips) for outcome in outcomes[1:])


def test_a_batch_that_fails_is_tried_one_by_one() -> None:
    scheduler = Scheduler(slots=1, cores=2, max_waiting=100, picture_bytes=1)
    model = known_model(batch=4, each=1e-5)
    go = threading.Event()

    def picky(_: int, batch: FloatArray) -> FloatArray:
        assert go.wait(30)
        if (batch == 0.25).any():
            raise EngineError("no quarter")
        return batch

    model.work = picky

    async def main() -> list[object]:
        pictures = [strips(1, value) for value in (0.5, 0.25, 0.75, 0.8, 0.9)]
        tasks = [asyncio.create_task(restore(scheduler, model, picture)) for picture in pictures]
        await until(lambda: scheduler.stats.running == 1)
        await asyncio.sleep(0.2)
        go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    outcomes = asyncio.run(main())
    assert isinstance(outcomes[1], EngineError)
    assert all(isinstance(outcome, Strips) for outcome in (outcomes[0], *outcomes[2:]))
    assert max(shape[0] for shape in model.batches) > 1
    scheduler.close(wait_s=10)


def test_full_and_late_are_told_apart() -> None:
    moment = [1000.0]
    scheduler = Scheduler(slots=1, cores=1, max_waiting=2, picture_bytes=1, clock=lambda: moment[0])
    model, now = known_model(each=1.0), 1000.0
    with pytest.raises(DeadlineUnattainableError, match="idle server could not") as too_long:
        scheduler.admit(demand(model, 10), now + 5)
    scheduler.admit(demand(model, 10), now + 20)
    with pytest.raises(DeadlineUnattainableError, match="idle server could do it") as busy:
        scheduler.admit(demand(model, 12), now + 21)
    assert int(busy.value.headers["Retry-After"]) >= 1
    assert int(too_long.value.headers["Retry-After"]) >= 1
    with pytest.raises(DeadlineUnattainableError, match="promised theirs"):
        scheduler.admit(demand(model, 11), now + 19)
    scheduler.check_room(now + 20)
    moment[0] += 10.0
    with pytest.raises(DeadlineUnattainableError, match="come first"):
        scheduler.check_room(now + 20)
    scheduler.check_room(now + 100)
    second = scheduler.admit(demand(model, 1), now + 100)
    with pytest.raises(QueueFullError) as full:
        scheduler.check_room(now + 100)
    assert int(full.value.headers["Retry-After"]) >= 1
    with pytest.raises(QueueFullError):
        scheduler.admit(demand(model, 1), now + 100)
    assert (QueueFullError.status, DeadlineUnattainableError.status) == (429, 503)
    second.close()
    second.close()
    scheduler.check_room(now + 100)
    assert scheduler.predict(demand(model, 10), now + 5) == float("inf")
    assert scheduler.predict(demand(model, 1)) < scheduler.predict(demand(model, 10))
    scheduler.close(wait_s=10)


def test_closing_ends_who_waits(scheduler: Scheduler) -> None:
    model, go = known_model(), threading.Event()

    def wait(_: int, batch: FloatArray) -> FloatArray:
        assert go.wait(30)
        return batch

    model.work = wait

    async def main() -> None:
        task = asyncio.create_task(restore(scheduler, model, strips(5)))
        await until(lambda: scheduler.stats.running == 1)
        scheduler.close()
        with pytest.raises(NotReadyError):
            await task
        go.set()

    asyncio.run(main())
    with pytest.raises(NotReadyError):
        scheduler.check_room(scheduler.clock() + 1)


def test_costs_follow_what_runs_take(scheduler: Scheduler) -> None:
    model = known_model(each=1e-3)

    def slow(_: int, batch: FloatArray) -> FloatArray:
        time.sleep(0.005)
        return batch

    model.work = slow
    asyncio.run(restore(scheduler, model, strips(10)))
    assert model.costs.factor > 1.2


def test_a_loop_wakes_once_for_all_tiles(scheduler: Scheduler) -> None:
    wakes = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        real = loop.call_soon_threadsafe

        def counted(*arguments: object, **options: object) -> asyncio.Handle:
            wakes.append(1)
            return real(*arguments, **options)  # type: ignore[arg-type]

        loop.call_soon_threadsafe = counted  # type: ignore[method-assign, assignment]
        await restore(scheduler, known_model(each=1e-6), strips(1000))

    asyncio.run(main())
    assert len(wakes) == 3  # decode, all tiles, encode


def test_the_real_restoration_equals_the_one_without_scheduler() -> None:
    contract = SizeContract(multiple=8, minimum=8, tile=(32, 32), overlap=8, scale=2)
    pixels = np.random.default_rng(3).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    picture, model = Picture(pixels, None, None), known_model(batch=3, each=1e-5)
    model.work = lambda _, batch: batch.repeat(2, axis=2).repeat(2, axis=3) * np.float32(0.5)
    scheduler = Scheduler(slots=2, cores=1, max_waiting=10, picture_bytes=1)
    shared, alone = TiledRestoration(picture, contract), TiledRestoration(picture, contract)
    for index in range(len(alone.tiles)):
        alone.put(index, model.work(0, alone.cut(index))[0])

    async def main() -> None:
        wanted = demand(model, len(shared.tiles), side=32)
        with scheduler.admit(wanted, scheduler.clock() + FAR) as admission:
            await admission.restore(shared)

    asyncio.run(main())
    assert np.array_equal(shared.result().pixels, alone.result().pixels)
    scheduler.close(wait_s=10)

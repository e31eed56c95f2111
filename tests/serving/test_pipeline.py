from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle import Bundle
from runtime.errors import ImageError
from runtime.restorer import Restorer
from runtime.target import Target
from runtime.tiles import plan_tiles
from serving.errors import ClientGoneError, DeadlineExceededError, ResultTooLargeError
from serving.library import LoadedModel
from serving.pipeline import Pipeline, Result, Ticket
from serving.settings import Settings

SIDE = 600


@dataclass
class WatchedTicket(Ticket):
    """A ticket that remembers who asked it, and tells when the first tile begins."""

    checks: int = 0
    threads: set[str] = field(default_factory=set)
    started: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        name = threading.current_thread().name
        if name.startswith("inference"):
            self.checks += 1
            self.threads.add(name)
            if self.checks > 1:  # the first check is made before the first tile
                self.started.set()
        super().check()


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory, make_bundle: Callable[..., Bundle]) -> LoadedModel:
    """A network so finely tiled that a picture of SIDE takes many thousand tiles."""
    bundle = make_bundle(tmp_path_factory.mktemp("slow") / "b", "slow", "derain", tile=8)
    return LoadedModel(Restorer.load(bundle, Target.parse("cpu-onnxruntime-fp32-1t")), 0.0)


@pytest.fixture(scope="module")
def large(pack: Callable[..., bytes]) -> bytes:
    return pack(np.zeros((SIDE, SIDE, 3), dtype=np.uint8))


@pytest.fixture
def tiles(slow: LoadedModel) -> int:
    return len(plan_tiles(SIDE, SIDE, slow.restorer.bundle.manifest.size))


def test_a_result_tells_its_sizes_and_stages(slow: LoadedModel, png: bytes) -> None:
    async def run() -> tuple[Result, Ticket]:
        pipeline, ticket = Pipeline(Settings()), Ticket(60)
        return await pipeline.run(png, slow, "png", ticket), ticket

    result, ticket = asyncio.run(run())
    assert (result.input_pixels, result.output_pixels) == (37 * 53, 37 * 53)
    assert set(ticket.seconds) == {"queue", "decode", "inference", "encode"}


def test_a_deadline_ends_the_work_before_its_last_tile(slow: LoadedModel, large: bytes, tiles: int) -> None:
    ticket = WatchedTicket(timeout_s=0.2)
    pipeline = Pipeline(Settings())
    with pytest.raises(DeadlineExceededError, match=r"within 0\.2 s"):
        asyncio.run(pipeline.run(large, slow, "png", ticket))
    pipeline._slots.shutdown(wait=True)
    assert ticket.checks < tiles


def test_a_cancelled_request_frees_its_thread_at_the_next_tile(slow: LoadedModel, large: bytes, tiles: int) -> None:
    ticket = WatchedTicket(timeout_s=60)
    pipeline = Pipeline(Settings())

    async def leave_early() -> None:
        task = asyncio.create_task(pipeline.run(large, slow, "png", ticket))
        await asyncio.to_thread(ticket.started.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave_early())
    pipeline._slots.shutdown(wait=True)
    assert 0 < ticket.checks < tiles


def test_without_an_end_every_tile_is_checked(slow: LoadedModel, pack: Callable[..., bytes]) -> None:
    """The two tests above can fail: work that nobody ends asks once for itself and once for every tile."""
    ticket = WatchedTicket(timeout_s=60)
    asyncio.run(Pipeline(Settings()).run(pack(np.zeros((40, 40, 3), dtype=np.uint8)), slow, "png", ticket))
    assert ticket.checks == 1 + len(plan_tiles(40, 40, slow.restorer.bundle.manifest.size))


@pytest.mark.parametrize("slots", [1, 2])
def test_running_inferences_never_exceed_the_slots_even_when_all_run_late(
    slow: LoadedModel, large: bytes, slots: int
) -> None:
    tickets = [WatchedTicket(timeout_s=0.3) for _ in range(6)]
    pipeline = Pipeline(Settings(slots=slots))

    async def run() -> list[Result | BaseException]:
        work = (pipeline.run(large, slow, "png", ticket) for ticket in tickets)
        return await asyncio.gather(*work, return_exceptions=True)

    assert all(isinstance(result, DeadlineExceededError) for result in asyncio.run(run()))
    pipeline._slots.shutdown(wait=True)
    assert 1 <= len(set().union(*(ticket.threads for ticket in tickets))) <= slots


def test_a_revoked_ticket_raises_its_reason() -> None:
    ticket = Ticket(60)
    ticket.check()
    ticket.revoke(ClientGoneError("gone"))
    with pytest.raises(ClientGoneError, match="gone"):
        ticket.check()


def test_limits_are_held(slow: LoadedModel, png: bytes, tmp_path: Path, make_bundle: Callable[..., Bundle]) -> None:
    with pytest.raises(ImageError) as refused:
        asyncio.run(Pipeline(Settings(max_pixels=100)).run(png, slow, "png", Ticket(60)))
    assert (refused.value.status, refused.value.code) == (413, "too_many_pixels")
    bundle = make_bundle(tmp_path / "b", "sr", "super-resolution", scale=2)
    model = LoadedModel(Restorer.load(bundle, "cpu-onnxruntime-fp32-1t"), 0.0)
    with pytest.raises(ResultTooLargeError, match="at most 1960 pixels"):
        asyncio.run(Pipeline(Settings(max_output_pixels=1960 * 4)).run(png, model, "png", Ticket(60)))
    fits = asyncio.run(Pipeline(Settings(max_output_pixels=1961 * 4)).run(png, model, "png", Ticket(60)))
    assert fits.output_pixels == 1961 * 4

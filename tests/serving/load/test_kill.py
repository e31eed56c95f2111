"""One of two workers is killed under load: the other one's callers do not notice, its own get a plain end."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.servers import Server
from tests.serving.load.traffic import BROKEN, Connection, Constant, open_on_all_workers, owner, total, workers
from tests.serving.load.watching import say

CALLERS = 16
BEFORE_S = AFTER_S = 1.0
RECOVERY_LIMIT_S = 120.0


@dataclass
class Caller:
    """Sends one picture over one connection again and again, until that ends or it is told to stop."""

    connection: Connection
    picture: Constant
    answered: int = 0
    ended: str = ""
    wrong: list[str] = field(default_factory=list)
    stop: bool = False

    async def run(self) -> None:
        data = self.picture.file()
        while not self.stop:
            try:
                answer = await self.connection.post("/v1/derain", data)
            except BROKEN as error:
                self.ended = type(error).__name__
                return
            if answer.status == 200 and self.picture.is_in(answer.body):
                self.answered += 1
            else:
                self.wrong.append(f"{answer.status}: {answer.body[:200]!r}")


@pytest.fixture(scope="module")
def two_workers(
    bundle_roots: tuple[Path, Path],
    start_server: Callable[..., AbstractContextManager[Server]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("kill")
    with start_server(folder, bundle_roots, workers=2, MILLISIGHT_WORKERS="2") as running:
        yield running


def answered(server: Server) -> float:
    with server.client() as client:
        return total(client.get("/metrics").text, "restore_requests_total", code="200") or 0.0


async def both_answer(server: Server, killed: int) -> float:
    """Seconds until two living workers have answered on connections of their own."""
    start = time.monotonic()
    while time.monotonic() - start < RECOVERY_LIMIT_S:
        alive = {process.pid for process in workers(server)} - {killed}
        if len(alive) == 2:
            picture, seen = Constant.of(3), set[int]()
            for connection in [await Connection.open(server) for _ in range(8)]:
                answer = await connection.post("/v1/derain", picture.file())
                assert answer.status == 200, answer.body
                assert picture.is_in(answer.body)
                pid = owner(server, connection)
                seen |= set() if pid is None else {pid}
                connection.close()
            if seen >= alive:
                return time.monotonic() - start
        await asyncio.sleep(0.1)
    raise AssertionError(f"{RECOVERY_LIMIT_S:g} s after the kill there are not two workers that answer.")


@pytest.mark.slow
def test_a_killed_worker_harms_only_its_own_requests(two_workers: Server) -> None:
    server = two_workers

    async def main() -> None:
        by_worker = await open_on_all_workers(server, CALLERS)
        # Another picture size for each, so that an answer to somebody else would be seen.
        callers = {
            pid: [Caller(connection, Constant.of(10 * place + number)) for number, connection in enumerate(connections)]
            for place, (pid, connections) in enumerate(by_worker.items())
        }
        everybody = [caller for group in callers.values() for caller in group]
        running = [asyncio.create_task(caller.run()) for caller in everybody]
        await asyncio.sleep(BEFORE_S)
        counted = await asyncio.to_thread(answered, server)
        victim, survivor = by_worker
        os.kill(victim, signal.SIGKILL)
        recovering = asyncio.create_task(both_answer(server, victim))
        await asyncio.sleep(AFTER_S)
        seconds = await recovering
        for caller in everybody:
            caller.stop = True
        await asyncio.gather(*running)

        assert [caller.wrong for caller in everybody if caller.wrong] == []
        assert all(caller.answered for caller in everybody)
        # The kill must have been felt, or nothing above says anything.
        assert all(caller.ended for caller in callers[victim])
        assert [caller.ended for caller in callers[survivor] if caller.ended] == []
        ends = sorted({caller.ended for caller in callers[victim]})
        say(f"recovered after {seconds:.1f} s; callers of the killed worker saw {', '.join(ends)}")

        after = await asyncio.to_thread(answered, server)
        sent_well = sum(caller.answered for caller in everybody)
        # Counters outlive the worker: nothing that was answered is missing.
        assert after >= counted
        assert after >= sent_well

    asyncio.run(main())
    _nothing_is_in_flight(server)


def _nothing_is_in_flight(server: Server) -> None:
    """The gauges of the dead worker are gone: zero at rest, never less."""
    limit = time.monotonic() + 30
    while True:
        with server.client() as client:
            text = client.get("/metrics").text
        value = total(text, "restore_requests_in_flight")
        assert value is not None
        assert value >= 0
        if value == 0:
            return
        assert time.monotonic() < limit, f"{value} requests are in flight for ever"
        time.sleep(0.1)

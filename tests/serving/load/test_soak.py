"""Everything at once for a long time: memory does not grow, descriptors and files do not stay.

`SOAK_SECONDS=1800` is what the service is held to; the default of a minute finds a gross leak and a broken test.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random

import httpx
import numpy as np
import pytest

from tests.servers import Server, picture_file
from tests.serving.load.traffic import BROKEN, Connection, Constant, request_head, workers
from tests.serving.load.watching import Series, files_below, say, slope_per_minute

SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))
LONG_S = 600.0
"""From here on the slope of memory says something; before, caches and arenas are still filling."""
SLOPE_LIMIT = 1.0 if SECONDS >= LONG_S else 60.0
"""MB a minute."""
REST_LIMIT_S = 60.0
DESCRIPTORS_KEPT = 6
"""More than at the start, of all workers: connections of metrics files and stores that open late."""

ROUTES = {
    "/v1/derain": 1,
    "/v1/denoise?model=denoise-same": 1,
    "/v1/super-resolution?scale=2": 2,
    "/v1/super-resolution?scale=4": 4,
}
BUSY = (429, 503)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS + 300)]


class Traffic:
    """Callers of many kinds; each notes what it saw, and what it should never have seen."""

    def __init__(self, server: Server, seed: int) -> None:
        self.server = server
        self.seen = Counter[str]()
        self.wrong: list[str] = []
        self.over = False
        self._random = Random(seed)
        self._jobs = True

    async def run(self, seconds: float) -> None:
        """All kinds for some seconds, then the last answers."""
        kinds: list[Callable[[], Awaitable[None]]] = [
            *[self.good] * 3, self.broken, self.leaves, self.leaves_half_sent, self.slow, self.reads, self.jobs,
        ]  # fmt: skip
        self.over = False
        loops = [asyncio.create_task(self._again(kind)) for kind in kinds]
        await asyncio.sleep(seconds)
        self.over = True
        await asyncio.gather(*loops)

    async def _again(self, kind: Callable[[], Awaitable[None]]) -> None:
        while not self.over:
            try:
                await kind()
            except BROKEN as error:
                # No kind of caller here expects its connection to end.
                self.wrong.append(f"{kind.__name__}: {error!r}")
            await asyncio.sleep(0)

    def _note(self, kind: str, status: int, allowed: tuple[int, ...], body: bytes = b"") -> None:
        self.seen[f"{kind} {status}"] += 1
        if status not in (*allowed, *BUSY):
            self.wrong.append(f"{kind}: {status} {body[:200]!r}")

    async def good(self) -> None:
        """One picture of one colour over a new connection or several."""
        connection = await Connection.open(self.server)
        for _ in range(self._random.randint(1, 10)):
            route = self._random.choice(list(ROUTES))
            picture = Constant((9, 8, 7), self._random.randint(1, 300), self._random.randint(1, 300))
            kind = self._random.choice(["image/png", "image/webp", "image/jpeg"])
            answer = await connection.post(route, picture.file(), {"Accept": kind})
            self._note("good", answer.status, (200,), answer.body)
            exact = answer.status == 200 and kind != "image/jpeg"
            if exact and not picture.is_in(answer.body, ROUTES[route]):
                self.wrong.append(f"good: another picture for {route}")
            if answer.headers.get("connection") == "close":
                break
        connection.close()

    async def broken(self) -> None:
        """A file that is cut, changed, or no picture."""
        data = bytearray(Constant.of(self._random.randrange(64)).file())
        match self._random.randrange(3):
            case 0:
                del data[self._random.randrange(len(data)) :]
            case 1:
                data[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)
            case _:
                data = bytearray(self._random.randbytes(1000))
        connection = await Connection.open(self.server)
        answer = await connection.post("/v1/derain", bytes(data))
        self._note("broken", answer.status, (200, 400, 413, 415, 422), answer.body)
        connection.close()

    async def leaves(self) -> None:
        """Gone before the answer is there."""
        connection = await Connection.open(self.server)
        data = picture_file(np.full((400, 400, 3), self._random.randrange(256), dtype=np.uint8))
        connection.send("/v1/super-resolution?scale=4", data)
        await connection.writer.drain()
        await asyncio.sleep(self._random.random() * 0.2)
        connection.close()
        self.seen["leaves"] += 1

    async def leaves_half_sent(self) -> None:
        connection = await Connection.open(self.server)
        data = Constant.of(5).file()
        connection.writer.write(request_head("/v1/derain", len(data)) + data[: len(data) // 2])
        await connection.writer.drain()
        await asyncio.sleep(self._random.random() * 0.5)
        connection.close()
        self.seen["leaves half sent"] += 1

    async def slow(self) -> None:
        """A body in drops: it comes to its end in time, or it does not."""
        connection = await Connection.open(self.server)
        data = Constant.of(6).file()
        drops = self._random.choice([5, 40])
        size = -(-len(data) // drops)
        connection.writer.write(request_head("/v1/derain", len(data)))
        receiving = asyncio.create_task(connection.receive())
        for start in range(0, len(data), size):
            if receiving.done():
                # Refused: who goes on sending then meets a closed connection, sooner or later.
                break
            connection.writer.write(data[start : start + size])
            await asyncio.sleep(0.1)
        answer = await receiving
        self._note("slow", answer.status, (200, 408), answer.body)
        connection.close()

    def _client(self) -> httpx.AsyncClient:
        # A connection a request: the server ends those that are idle, and on a busy machine a caller may be late.
        headers = {"Connection": "close"}
        return httpx.AsyncClient(base_url=self.server.url, timeout=60, trust_env=False, headers=headers)

    async def reads(self) -> None:
        """What monitoring asks for."""
        async with self._client() as client:
            for path in ("/metrics", "/v1/models", "/docs.json", "/nothing"):
                self._note("reads", (await client.get(path)).status_code, (200, 404))
        await asyncio.sleep(0.5)

    async def jobs(self) -> None:
        """Three files, their end awaited or not, fetched, deleted; nothing where there are no jobs."""
        if not self._jobs:
            await asyncio.sleep(0.5)
            return
        files = [("image", (f"{n}.png", Constant.of(n).file(), "image/png")) for n in range(3)]
        async with self._client() as client:
            answer = await client.post("/v1/jobs?task=derain", files=files)
            if answer.status_code == 404:
                self._jobs = False
                return
            self._note("job", answer.status_code, (202,), answer.content)
            if answer.status_code != 202:
                return
            job = f"/v1/jobs/{answer.json()['id']}"
            if self._random.random() < 0.7:
                state = {"status": "queued"}
                while state["status"] not in ("done", "cancelled"):
                    await asyncio.sleep(0.1)
                    state = (await client.get(job)).json()
                zipped = await client.get(job + "/result")
                self._note("job result", zipped.status_code, (200,), zipped.content)
            deleted = await client.delete(job)
            self._note("job deleted", deleted.status_code, (200,), deleted.content)


async def at_rest(
    server: Server, folders: tuple[Path, ...], descriptors: int | None, files: set[str]
) -> tuple[int, set[str]]:
    """Open descriptors of all workers, and files that are new; as soon as they are what they were, or at the limit."""
    end = time.monotonic() + REST_LIMIT_S
    while True:
        open_now = sum(process.num_fds() for process in workers(server))
        left = files_below(*folders) - files
        settled = descriptors is not None and open_now <= descriptors + DESCRIPTORS_KEPT and not left
        if settled or time.monotonic() > end:
            return open_now, left
        await asyncio.sleep(0.5)


def test_nothing_grows(
    bundle_roots: tuple[Path, Path],
    start_server: Callable[..., AbstractContextManager[Server]],
    tmp_path: Path,
) -> None:
    temporary, state = tmp_path / "tmp", tmp_path / "state"
    temporary.mkdir()
    state.mkdir()
    settings = {
        "TMPDIR": str(temporary),
        "MILLISIGHT_STATE": str(state),
        "MILLISIGHT_READ_TIMEOUT": "2",
        "MILLISIGHT_WORKERS": "2",
    }
    series = Series()

    async def watch(server: Server, traffic: Traffic) -> None:
        start = time.monotonic()
        await asyncio.sleep(0)
        while not traffic.over:
            series.add(time.monotonic() - start, workers(server))
            await asyncio.sleep(1.0)

    async def main(server: Server) -> None:
        # A first round of everything, so that whatever is opened once is open.
        first = Traffic(server, seed=1)
        await first.run(min(10.0, SECONDS / 4))
        # Idle connections are closed after a few seconds.
        await asyncio.sleep(8.0)
        descriptors = sum(process.num_fds() for process in workers(server))
        files = files_below(temporary, state)
        pids = {process.pid for process in workers(server)}

        traffic = Traffic(server, seed=2)
        watching = asyncio.create_task(watch(server, traffic))
        await traffic.run(SECONDS)
        await watching
        open_now, left = await at_rest(server, (temporary, state), descriptors, files)

        slope = slope_per_minute(series.seconds, series.megabytes)
        say(f"{SECONDS:g} s: {dict(sorted(traffic.seen.items()))}")
        say(f"memory {series.megabytes[0]:.0f} -> {series.megabytes[-1]:.0f} MB, slope {slope:.2f} MB a minute")
        say(f"descriptors {descriptors} -> {open_now}, files left {sorted(left)}")
        assert (first.wrong + traffic.wrong)[:20] == []
        assert {process.pid for process in workers(server)} == pids, "a worker has ended and was started again"
        assert traffic.seen["good 200"] > 0
        assert left == set()
        assert open_now <= descriptors + DESCRIPTORS_KEPT
        assert slope < SLOPE_LIMIT

    with start_server(tmp_path, bundle_roots, workers=2, **settings) as server:
        asyncio.run(main(server))

"""Everybody gets their own picture, however many there are, and small ones do not wait for a large one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from tests.servers import Server, picture_file
from tests.serving.load.traffic import Answer, Connection, Constant, open_on_all_workers
from tests.serving.load.watching import say

CALLERS = 64
ROUNDS = 4
THUMBNAILS = 3


@pytest.fixture(scope="module", params=[1, pytest.param(2, marks=pytest.mark.slow)])
def server(
    request: pytest.FixtureRequest,
    bundle_roots: tuple[Path, Path],
    start_server: Callable[..., AbstractContextManager[Server]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("isolation")
    with start_server(folder, bundle_roots, workers=request.param, MILLISIGHT_WORKERS=str(request.param)) as running:
        yield running


def test_nobody_gets_another_ones_picture(server: Server) -> None:
    async def caller(number: int) -> list[str]:
        picture, wrong = Constant.of(number), []
        data, connection = picture.file(), await Connection.open(server)
        for _ in range(ROUNDS):
            for route, scale in (("/v1/derain", 1), ("/v1/super-resolution?scale=2", 2)):
                answer = await connection.post(route, data, {"X-Request-Id": f"caller-{number}"})
                if answer.status != 200:
                    wrong.append(f"{number} {route}: {answer.status} {answer.body!r}")
                elif not picture.is_in(answer.body, scale):
                    wrong.append(f"{number} {route}: another picture")
                elif answer.headers["x-request-id"] != f"caller-{number}":
                    wrong.append(f"{number} {route}: the answer to {answer.headers['x-request-id']}")
        connection.close()
        return wrong

    async def main() -> list[str]:
        found = await asyncio.gather(*(caller(number) for number in range(CALLERS)))
        return [line for lines in found for line in lines]

    assert asyncio.run(main()) == []


@pytest.mark.parametrize("megapixels", [6, pytest.param(24, marks=pytest.mark.slow)])
def test_thumbnails_are_answered_while_a_large_picture_is_being_restored(server: Server, megapixels: int) -> None:
    """By order of completion: sent once the large one's tiles had begun to run, answered before they had ended."""
    thumbnail = Constant.of(1)
    large = np.zeros((2000, megapixels * 500, 3), dtype=np.uint8)
    large[::100] = 200
    data = picture_file(large, compress_level=1)

    async def main() -> tuple[Answer, float, list[tuple[float, float]]]:
        # All at one worker: at another they would not meet.
        first, *small = max((await open_on_all_workers(server, 8)).values(), key=len)
        big = asyncio.create_task(first.post("/v1/derain", data))
        times: list[tuple[float, float]] = []

        async def ask(connection: Connection) -> None:
            file = thumbnail.file()
            while not big.done():
                sent = time.monotonic()
                answer = await connection.post("/v1/derain", file)
                assert answer.status == 200, answer.body
                assert thumbnail.is_in(answer.body)
                times.append((sent, time.monotonic()))

        asking = asyncio.gather(*map(ask, small))
        answer = await big
        ended = time.monotonic()
        await asking
        for connection in small:
            connection.close()
        return answer, ended, times

    answer, ended, times = asyncio.run(main())
    assert answer.status == 200, answer.body
    stages = answer.stages()
    inference_end = ended - stages["encode"] / 1000
    inference_start = inference_end - stages["inference"] / 1000
    margin = 0.1 * stages["inference"] / 1000
    during = [pair for pair in times if inference_start + margin < pair[0] and pair[1] < inference_end - margin]
    say(f"{len(during)} thumbnails within {stages['inference']:.0f} ms of a {megapixels} megapixel picture")
    assert len(during) >= THUMBNAILS

"""Bundles are changed, unloaded and loaded while pictures keep coming: no request fails."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from runtime.bundle import Bundle
from serving.guard.keys import new_key, write_keys
from tests.servers import Server, picture_file
from tests.serving.load.traffic import BROKEN, Connection

CALLERS = 6
COLOR = 200
GAINS = {"first": 1.0, "second": 0.5, "third": 0.25}
"""Of the networks, by which an answer says which one made it."""


@dataclass(frozen=True)
class Place:
    server: Server
    bundles: Path
    admin: Mapping[str, str]
    caller: Mapping[str, str]

    async def order(self, what: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.server.url, timeout=120, trust_env=False) as client:
            return await client.post(f"/v1/models/{what}", headers=dict(self.admin))


@pytest.fixture(scope="module")
def place(
    make_bundle: Callable[..., Bundle],
    start_server: Callable[..., AbstractContextManager[Server]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("swap")
    bundles, keys = folder / "bundles", folder / "keys.json"
    make_bundle(bundles / "one", "denoise-one", "denoise", gain=GAINS["first"])
    make_bundle(bundles / "two", "denoise-two", "denoise", gain=GAINS["second"])
    admin, of_admin = new_key("admin", "admin")
    caller, of_caller = new_key("caller")
    write_keys(keys, (of_admin, of_caller))
    settings = {"MILLISIGHT_API_KEYS": str(keys), "MILLISIGHT_WORKERS": "2"}
    with start_server(folder, (bundles,), workers=2, **settings) as running:
        yield Place(running, bundles, {"Authorization": f"Bearer {admin}"}, {"Authorization": f"Bearer {caller}"})


@dataclass
class Seen:
    """What all callers got, in the order in which it came."""

    networks: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


@asynccontextmanager
async def callers(place: Place) -> Any:
    """Pictures keep coming for as long as the block lasts."""
    seen, over = Seen(), asyncio.Event()
    data = picture_file(np.full((70, 90, 3), COLOR, dtype=np.uint8))

    async def call() -> None:
        connection = await Connection.open(place.server)
        while not over.is_set():
            try:
                answer = await connection.post("/v1/denoise", data, place.caller)
            except BROKEN as error:
                seen.failed.append(repr(error))
                connection = await Connection.open(place.server)
                continue
            network = network_of(answer.body) if answer.status == 200 else None
            if network is None:
                seen.failed.append(f"{answer.status} {answer.body[:300]!r}")
            else:
                seen.networks.append(network)
                seen.models.append(answer.headers["x-model"])
        connection.close()

    tasks = [asyncio.create_task(call()) for _ in range(CALLERS)]
    await asyncio.sleep(0.5)
    try:
        yield seen
        await asyncio.sleep(0.5)
    finally:
        over.set()
        await asyncio.gather(*tasks)


def network_of(data: bytes) -> str | None:
    """Which network made this answer; None if none did, or two did a part each."""
    with Image.open(io.BytesIO(data)) as picture:
        values = np.asarray(picture.convert("RGB")).astype(float)
    found = [name for name, gain in GAINS.items() if (np.abs(values - gain * COLOR) <= 1).all()]
    return found[0] if found else None


def test_an_answer_of_two_networks_would_be_seen() -> None:
    pixels = np.full((70, 90, 3), COLOR, dtype=np.uint8)
    assert network_of(picture_file(pixels)) == "first"
    pixels[:10] //= 2
    assert network_of(picture_file(pixels)) is None


@pytest.mark.slow
def test_an_unloaded_bundle_is_missed_by_nobody(place: Place) -> None:
    async def main() -> None:
        async with callers(place) as seen:
            before = set(seen.models)
            [default] = before
            assert (await place.order(f"{default}/unload")).status_code == 200
            count = len(seen.models)
            await asyncio.sleep(0.5)
            # Those that were on their way may still come; afterwards it is the other one's turn alone.
            assert set(seen.models[count + CALLERS :]) == {"denoise-one", "denoise-two"} - before
            assert (await place.order(f"{default}/load")).status_code == 200
        assert seen.failed == []
        assert seen.models[-1] == default

    asyncio.run(main())


def test_a_changed_bundle_takes_over_between_two_requests(place: Place, make_bundle: Callable[..., Bundle]) -> None:
    async def main() -> None:
        async with callers(place) as seen:
            default = seen.models[-1]
            old = seen.networks[-1]
            folder = {"denoise-one": "one", "denoise-two": "two"}[default]
            make_bundle(place.bundles / folder, default, "denoise", gain=GAINS["third"])
            answer = await place.order("reload")
            assert answer.status_code == 200, answer.text
            count = len(seen.networks)
            await asyncio.sleep(0.5)
            assert set(seen.networks[count + CALLERS :]) == {"third"}
        assert seen.failed == []
        assert set(seen.networks) <= {old, "third"}

    asyncio.run(main())


@pytest.mark.slow
def test_a_damaged_bundle_leaves_the_old_one_in_place(place: Place) -> None:
    async def main() -> None:
        async with callers(place) as seen:
            default, network = seen.models[-1], seen.networks[-1]
            folder = {"denoise-one": "one", "denoise-two": "two"}[default]
            file = place.bundles / folder / "model.onnx"
            good = file.read_bytes()
            file.write_bytes(good[:-1] + b"\xff")
            await place.order("reload")
            await asyncio.sleep(0.5)
            file.write_bytes(good)
            assert (await place.order("reload")).status_code == 200
        assert seen.failed == []
        assert (set(seen.models), seen.networks[-1]) == ({default}, network)

    asyncio.run(main())

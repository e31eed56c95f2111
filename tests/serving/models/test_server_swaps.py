"""Bundles are swapped under a running server of two workers while clients go on asking."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from serving.guard.keys import new_key, write_keys
from tests.servers import Server, known_network, picture_file, running_server, write_known_bundle

pytestmark = pytest.mark.slow

GRAY = 200
PICTURE = picture_file(np.full((40, 56, 3), GRAY, dtype=np.uint8))


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("served") / "zoo"
    write_known_bundle(root / "a", "first", "denoise", gain=0.5)
    write_known_bundle(root / "b", "rain", "derain")
    return root


@pytest.fixture(scope="module")
def key(zoo: Path) -> str:
    key, entry = new_key("boss", "admin")
    write_keys(zoo.parent / "keys.json", [entry])
    return key


@pytest.fixture(scope="module")
def server(zoo: Path, key: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:  # noqa: ARG001 - its file
    folder, keys = tmp_path_factory.mktemp("server"), str(zoo.parent / "keys.json")
    with running_server(folder, (zoo,), workers=2, MILLISIGHT_API_KEYS=keys) as running:
        yield running


def ask(client: httpx.Client) -> float:
    """The gain of the version that answered."""
    answer = client.post("/v1/denoise", content=PICTURE, headers={"Content-Type": "image/png"})
    assert answer.status_code == 200, answer.text
    pixels = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert np.ptp(pixels[4:-4, 4:-4]) == 0
    return round(int(pixels[20, 20, 0]) / GRAY, 3)


def order(client: httpx.Client, path: str) -> dict[str, Any]:
    answer = client.post(f"/v1/models/{path}")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    assert len(told["workers"]) == 2
    assert {worker["state"] for worker in told["workers"]} == {"done"}
    return told


def until_both_are_there(admin: httpx.Client) -> None:
    """The server says that it is ready as soon as one of its workers is."""
    limit = time.monotonic() + 60
    while len(admin.post("/v1/models/reload").json()["workers"]) < 2:
        assert time.monotonic() < limit
        time.sleep(0.2)


def test_no_request_fails_while_bundles_come_and_go(server: Server, zoo: Path, key: str) -> None:
    gains, versions, ended = list[float](), [0.5, 0.75, 0.25], threading.Event()

    def client() -> httpx.Client:
        return httpx.Client(base_url=server.url, headers={"X-API-Key": key}, timeout=30, trust_env=False)

    def go_on_asking() -> None:
        with client() as own:
            while not ended.is_set():
                gains.append(ask(own))

    with client() as admin, ThreadPoolExecutor(4) as pool:
        until_both_are_there(admin)
        asking = [pool.submit(go_on_asking) for _ in range(4)]
        try:
            for gain in versions[1:]:
                write_known_bundle(zoo / "a", "first", "denoise", gain=gain)
                told = order(admin, "reload")
                assert [worker["swapped"] for worker in told["workers"]] == [["first"]] * 2
                # Once the order is carried out, both workers answer with the new version.
                assert {ask(admin) for _ in range(8)} == {gain}
            write_known_bundle(zoo / "a", "first", "denoise", model=known_network(1, 0.9)[:-100])
            told = order(admin, "reload")
            assert [worker["refused"][0]["name"] for worker in told["workers"]] == ["first"] * 2
            assert {ask(admin) for _ in range(8)} == {versions[-1]}
            order(admin, "rain/unload")
            assert admin.post("/v1/derain", content=PICTURE, headers={"Content-Type": "image/png"}).status_code == 404
            order(admin, "rain/load")
            cards = admin.get("/v1/models").json()
            assert [card["name"] for card in cards["models"]] == ["first", "rain"]
        finally:
            ended.set()
        for future in asking:
            future.result()
    assert set(gains) == set(versions)

"""The memory limit of the pod against what the server takes under load, with the settings of the manifest."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from tests.deploy.kubernetes.checks import mebibytes
from tests.deploy.kubernetes.manifests import REPOSITORY, overlay, pod_of
from tests.servers import Server, running_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# How much more than it was seen to take a pod may ask for. The load below is hard, not the hardest that there is.
WASTE = 3.0


def photograph(width: int, height: int) -> bytes:
    """A JPEG that looks enough like a photograph to be neither tiny nor huge."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 5, (height, width)).astype(np.float32)
    base = 128 + 60 * np.sin(columns / 97) + 40 * np.cos(rows / 53) + noise
    pixels = np.stack([base, base[::-1], base[:, ::-1]], axis=-1).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def highest(server: Server) -> int:
    """The most that each of the server's processes ever held, added up: more than all held at a time."""
    first = psutil.Process(server.process.pid)
    processes = [first, *first.children(recursive=True)]
    return sum(_highest(process.pid) for process in processes)


def _highest(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} does not say what it held")


def load(server: Server, requests: list[tuple[str, bytes]]) -> list[int]:
    """Sends all requests at the same time and returns their statuses."""
    statuses: list[int] = []

    def send(path: str, body: bytes) -> None:
        headers = {"Content-Type": "image/jpeg", "X-Deadline-Ms": "3000000"}
        with httpx.Client(base_url=server.url, timeout=900, trust_env=False) as client:
            statuses.append(client.post(path, content=body, headers=headers).status_code)

    threads = [threading.Thread(target=send, args=request) for request in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


@pytest.fixture
def as_many_cores() -> Iterator[None]:
    """No more cores than the pod has: with more the server would decode and encode more pictures at a time."""
    before = os.sched_getaffinity(0)
    wanted = int(pod_of(overlay("cpu")).container["resources"]["limits"]["cpu"])
    os.sched_setaffinity(0, sorted(before)[:wanted])
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.usefixtures("as_many_cores")
def test_the_limit_holds_under_load_and_is_not_wasteful(tmp_path: Path) -> None:
    pod = pod_of(overlay("cpu"))
    limit = mebibytes(pod.container["resources"]["limits"]["memory"]) * 2**20
    variables = dict(pod.variables)
    places = {"MILLISIGHT_BUNDLES": str(REPOSITORY / "zoo"), "MILLISIGHT_STATE": str(tmp_path / "state")}
    del variables["MILLISIGHT_WORKERS"]  # the helper's own argument
    large, doubled, small = photograph(6000, 4000), photograph(3200, 2400), photograph(320, 240)
    with running_server(tmp_path, (), **variables | places) as server:
        ready = highest(server)
        # The largest pictures that are taken, in the format that costs most to write; others, and thumbnails between.
        requests = [
            *[("/v1/denoise?format=webp", large)] * 2,
            ("/v1/derain", large),
            *[("/v1/super-resolution?scale=2&format=webp", doubled)] * 2,
            *[("/v1/derain", small), ("/v1/super-resolution?scale=4", small)] * 3,
        ]
        assert load(server, requests) == [200] * len(requests)
        measured = highest(server)
    sys.stdout.write(f"ready {ready >> 20} MiB, under load {measured >> 20} MiB, limit {limit >> 20} MiB\n")
    assert ready < measured <= limit <= WASTE * measured

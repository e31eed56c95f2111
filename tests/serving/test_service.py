"""Starting and stopping the real server; several workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MILLISIGHT_SLOT", "2", "Unknown setting MILLISIGHT_SLOT"),
        ("MILLISIGHT_SLOTS", "two", "MILLISIGHT_SLOTS='two'"),
        ("MILLISIGHT_BUNDLES", "/nowhere", "/nowhere"),
    ],
)
def test_a_server_that_cannot_work_says_so_and_ends(tmp_path: Path, name: str, value: str, message: str) -> None:
    environment = os.environ | {"BENTOML_HOME": str(tmp_path), "BENTOML_DO_NOT_TRACK": "True", name: value}
    command = [sys.executable, "-m", "bentoml", "serve", "serving.service:RestorationService", "--port", "0"]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "The service cannot start." in done.stderr
    assert message in done.stderr


def metric(client: httpx.Client, line: str) -> float:
    for entry in client.get("/metrics").text.splitlines():
        if entry.startswith(line + " "):
            return float(entry.rpartition(" ")[2])
    return 0.0


@pytest.mark.slow
def test_two_workers_count_together_and_outlive_the_death_of_one(
    tmp_path: Path, bundle_roots: tuple[Path, Path], start_server: Callable[..., Any], png: bytes
) -> None:
    requests = 'restore_requests_total{code="200",model="derain-same",task="derain"}'
    with start_server(tmp_path, bundle_roots, workers=2) as server:

        def ask(_: int) -> int:
            # Every request on a connection of its own, so that both workers get some.
            return httpx.post(f"{server.url}/v1/derain", files={"image": png}, trust_env=False).status_code

        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(ask, range(40))) == {200}
        log = server.log.read_text()
        assert all(f"RestorationService:{worker}] " in log for worker in (1, 2))
        by_worker = [
            sum(f":{worker}]" in line and "'/v1/derain' 200" in line for line in log.splitlines()) for worker in (1, 2)
        ]
        assert sum(by_worker) == 40
        assert min(by_worker) > 0
        # The sum is the same whichever worker is asked.
        for _ in range(6):
            with server.client() as fresh:
                assert metric(fresh, requests) == 40
                assert metric(fresh, "restore_requests_in_flight") == 0

        workers = [child for child in psutil.Process(server.process.pid).children() if "worker" in str(child.cmdline())]
        assert len(workers) == 2
        workers[0].send_signal(signal.SIGKILL)
        workers[0].wait(10)
        with server.client() as fresh:
            assert ask(0) == 200
            assert metric(fresh, requests) == 41


@pytest.mark.slow
def test_a_request_under_way_is_finished_before_the_server_ends(
    tmp_path: Path, start_server: Callable[..., Any], make_bundle: Callable[..., Any], pack: Callable[..., bytes]
) -> None:
    import numpy as np

    make_bundle(tmp_path / "b" / "x", "slow", "derain", tile=8)
    body = pack(np.zeros((400, 400, 3), dtype=np.uint8))
    with start_server(tmp_path, (tmp_path / "b",)) as server, ThreadPoolExecutor(1) as pool, server.client() as client:
        answer = pool.submit(client.post, "/v1/derain", files={"image": body})
        with server.client() as other:
            while metric(other, "restore_requests_in_flight") < 1:
                time.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)
        assert answer.result().status_code == 200
        assert server.process.wait(20) == 0

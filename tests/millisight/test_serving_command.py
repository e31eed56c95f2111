"""`millisight serve` as a user runs it: what the command line says wins over variables, and reaches the workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from runtime.host import usable_cores
from tests.servers import free_port, write_known_bundle


@pytest.mark.slow
def test_the_options_reach_the_workers_and_the_variables_stay_where_nothing_is_given(tmp_path: Path) -> None:
    bundle = write_known_bundle(tmp_path / "bundle", "mine", "derain")
    port = free_port()
    environment = os.environ | {
        "BENTOML_HOME": str(tmp_path / "home"),
        "MILLISIGHT_TARGET": "cpu-onnxruntime-fp32",
        "MILLISIGHT_SLOTS": "1",
    }
    command = [sys.executable, "-m", "millisight.cli", "serve", str(bundle.folder), "--port", str(port)]
    command += ["--workers", "2", "--slots", "3"]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        (model,) = _models(f"http://127.0.0.1:{port}", server, tmp_path / "log")
        assert (model["name"], model["slots"]) == ("mine", 3)
        assert model["target"] == f"cpu-onnxruntime-fp32-{max(1, usable_cores() // 6)}t"
        workers = [child for child in psutil.Process(server.pid).children() if "worker" in str(child.cmdline())]
        assert len(workers) == 2
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def _models(url: str, server: subprocess.Popen[bytes], log: Path) -> list[dict[str, object]]:
    limit = time.monotonic() + 60
    while time.monotonic() < limit and server.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", trust_env=False).status_code == 200:
                models: list[dict[str, object]] = httpx.get(f"{url}/v1/models", trust_env=False).json()["models"]
                return models
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(log.read_text(errors="replace"))

"""Prometheus itself, on a free port: empty, with known points in it, or scraping what a test names."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.servers import free_port

START_LIMIT_S = 30.0


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skips where a Debian program is missing; .ci/run installs them."""
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed here: {', '.join(missing)}")


@dataclass(frozen=True)
class Program:
    url: str
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def running(command: list[str], url: str, ready: str, log: Path) -> Iterator[Program]:
    """A server program, from when it says that it is ready to the end of the test."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=log.parent)
    try:
        limit = time.monotonic() + START_LIMIT_S
        while not _answers(url + ready):
            if process.poll() is not None or time.monotonic() > limit:
                raise AssertionError(f"{command[0]} is not ready:\n{log.read_text(errors='replace')}")
            time.sleep(0.05)
        yield Program(url, process, log)
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        sys.stdout.write(log.read_text(errors="replace")[-4000:])


@contextmanager
def running_prometheus(folder: Path, config: str = "", metrics: str = "") -> Iterator[Program]:
    """A Prometheus.

    Args:
        folder: For its data, its log and its configuration.
        config: The text of its configuration.
        metrics: Points that it has from the beginning, as OpenMetrics with times.
    """
    file, data = folder / "prometheus.yml", folder / "data"
    file.write_text(config)
    if metrics:
        points = folder / "points.om"
        points.write_text(metrics)
        command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(points), str(data)]
        subprocess.run(command, check=True, capture_output=True)
    port = free_port()
    command = ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={data}", "--log.level=warn"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=10y"]
    with running(command, f"http://127.0.0.1:{port}", "/-/ready", folder / "prometheus.log") as program:
        yield program


def open_metrics(kind: str, name: str, series: Mapping[str, Mapping[float, float]]) -> str:
    """One family with its points: labels as text to times to values."""
    lines = [f"# TYPE {name} {kind}"]
    for labels, points in series.items():
        lines += [f"{name}{{{labels}}} {value} {moment}" for moment, value in sorted(points.items())]
    return "\n".join(lines) + "\n"


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False

"""Everybody who does the work: the bare loop and three services, each a process (or a few) of its own."""

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.serving.load import HOST, LoadPlan
from benchmarks.serving.processes import stop_tree, tree_cpu_seconds
from benchmarks.serving.works import Work

Name = Literal["bare loop", "millisight", "FastAPI", "LitServe"]
BARE: Name = "bare loop"
OURS: Name = "millisight"
RIVALS: tuple[Name, ...] = ("FastAPI", "LitServe")
START_LIMIT_S = 120.0
ROOT = Path(__file__).parents[2]


class StartError(RuntimeError):
    """A contestant does not start; the message has the end of its log."""


@dataclass(frozen=True)
class Place:
    """What all contestants share: bundles by route, target, and a folder for logs."""

    bundles: Mapping[str, Path]
    target: str
    folder: Path


class BareLoop:
    """Decode, restore, encode, in a process that does nothing else."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def loop(self, work: Work, times: int) -> dict[str, Any]:
        """`seconds` of each time, `cpu_s` of all, `sha256` of the answer."""
        return self._ask({"work": work.as_json(), "times": times})

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@dataclass(frozen=True)
class Service:
    """A server on the loopback address."""

    name: Name
    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """Processor seconds of its processes so far."""
        return tree_cpu_seconds(self.pid)

    def plan(self, work: Work, headers: Mapping[str, str] | None = None, **plan: Any) -> LoadPlan:
        """What `load` has carried out."""
        kind = f"image/{work.format}"
        content = {"Content-Type": kind, "Accept": kind, **(headers or {})}
        return LoadPlan(self.port, work.route, work.body, content, **plan)

    def load(self, work: Work, headers: Mapping[str, str] | None = None, **plan: Any) -> dict[str, Any]:
        """Have the load generator carry out a plan in its own process.

        Args:
            work: What to send.
            headers: Beside those that say what is sent and wanted.
            plan: Further fields of `LoadPlan`.
        """
        line = self.plan(work, headers, **plan).as_json()
        before = self.cpu_seconds()
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.serving.load"],
            cwd=ROOT,
            input=line + "\n",
            capture_output=True,
            text=True,
            check=True,
        )
        result: dict[str, Any] = json.loads(done.stdout)
        return result | {"server_cpu_s": self.cpu_seconds() - before}

    def get(self, path: str) -> str:
        """The body of a page."""
        with urllib.request.urlopen(f"http://{HOST}:{self.port}{path}", timeout=5) as answer:
            return str(answer.read().decode())


@contextlib.contextmanager
def bare_loop(place: Place) -> Iterator[BareLoop]:
    """Start the bare loop, stop it at the end."""
    command = [sys.executable, "-m", "benchmarks.serving.bare"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        bare = BareLoop(process)
        bare._ask({"bundles": _texts(place.bundles), "target": place.target})
        yield bare
        assert process.stdin is not None
        process.stdin.close()


@contextlib.contextmanager
def service(name: Name, place: Place) -> Iterator[Service]:
    """Start one of the services and wait until it is ready; stop it at the end.

    Raises:
        StartError: It is not installed, ends, or is not ready in time.
    """
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    command, environment, ready = _start(name, place, port)
    log = place.folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _wait(process, f"http://{HOST}:{port}{ready}", log)
        yield Service(name, port, process.pid)
    finally:
        stop_tree(process)


def _start(name: Name, place: Place, port: int) -> tuple[list[str], dict[str, str], str]:
    """Command, environment and the page that answers 200 once it is ready."""
    if name == OURS:
        # As a user starts it; one worker, one slot, the target named, and everything else at its default.
        environment = {
            "BENTOML_HOME": str(place.folder / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "True",
            "MILLISIGHT_BUNDLES": os.pathsep.join(map(str, place.bundles.values())),
            "MILLISIGHT_TARGET": place.target,
        }
        command = [sys.executable, "-m", "bentoml", "serve", "serving.service:RestorationService"]
        return [*command, "--host", HOST, "--port", str(port)], environment, "/readyz"
    if name == "LitServe" and importlib.util.find_spec("litserve") is None:
        raise StartError("LitServe is not installed: pip install --no-deps litserve pyzmq psutil")
    module, ready = {"FastAPI": ("fastapi_service", "/ready"), "LitServe": ("litserve_service", "/health")}[name]
    settings = {"bundles": _texts(place.bundles), "target": place.target, "port": port}
    return [sys.executable, "-m", f"benchmarks.serving.{module}", json.dumps(settings)], {}, ready


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    end = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end and process.poll() is None:
        # Errors of urllib are OSErrors.
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=2) as answer:
            if answer.status == 200:
                return
        time.sleep(0.1)
    raise StartError(f"{address} does not answer. The end of the log:\n{log.read_text(errors='replace')[-1500:]}")


def _texts(bundles: Mapping[str, Path]) -> dict[str, str]:
    return {route: str(folder) for route, folder in bundles.items()}

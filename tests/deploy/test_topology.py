"""What the compose file starts, started without containers: the same programs, flags, files and health checks.

Only names of hosts, ports and places of files are others.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.deploy.composing import COMPOSE, DEPLOY, PASSWORD, read
from tests.monitoring.programs import needs, running
from tests.servers import free_port, running_server, write_known_bundles
from training.telemetry import RunFacts
from training.telemetry.run_metrics import RunMetrics
from training.telemetry.sinks import Pushgateway

pytestmark = [pytest.mark.slow, needs("prometheus", "prometheus-pushgateway")]
SERVICES: dict[str, Any] = read(COMPOSE.read_text(), PASSWORD | {"LOAD_SECONDS": "4", "LOAD_RATE": "3"})["services"]


@dataclass(frozen=True)
class Topology:
    """Where everything is: `localhost:port` of each name and port of the compose file."""

    folder: Path
    places: dict[str, str]

    def here(self, text: str) -> str:
        """The text with names of the compose file's network replaced."""
        for name, place in self.places.items():
            text = text.replace(name, place)
        return text

    def ask(self, path: str) -> Any:
        """Prometheus' answer."""
        return httpx.get(f"http://{self.places['prometheus:9090']}{path}", trust_env=False).raise_for_status().json()

    def targets(self) -> dict[str, str]:
        """Health of each target, by job."""
        found = self.ask("/api/v1/targets?state=active")["data"]["activeTargets"]
        return {target["labels"]["job"]: target["health"] for target in found}

    def value(self, query: str) -> float:
        found = self.ask(f"/api/v1/query?query={query}")["data"]["result"]
        return float(found[0]["value"][1]) if found else 0.0

    def healthy(self, name: str) -> bool:
        """What the health check of a container would say. Its program is in the image; what it asks is asked here."""
        command = [self.beside(word, name) for word in SERVICES[name]["healthcheck"]["test"]]
        if command[1] == "python":
            return subprocess.run([sys.executable, *command[2:]], capture_output=True, check=False).returncode == 0
        try:
            return httpx.get(command[-1], trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def beside(self, word: str, name: str) -> str:
        """A container reaches itself at 127.0.0.1, at the port of its own program."""
        own = next((key for key in self.places if key.startswith(f"{name}:")), "")
        return word.replace(f"127.0.0.1:{own.partition(':')[2]}", self.places.get(own, ""))


@contextmanager
def topology(folder: Path, *, broken: bool = False) -> Iterator[Topology]:
    """All of it but Grafana.

    Args:
        folder: For everything that is written.
        broken: Whether Prometheus is told a wrong port of the service.
    """
    roots = write_known_bundles(folder / "bundles")
    with ExitStack() as stack:
        # The target is that of the small known bundles; everything else is as in the compose file.
        settings = SERVICES["millisight"]["environment"] | {"MILLISIGHT_TARGET": "cpu-onnxruntime-fp32-1t"}
        settings |= {"MILLISIGHT_STATE": str(folder / "state")}
        settings = {name: str(value) for name, value in settings.items()}
        server = stack.enter_context(running_server(folder, roots, **settings))
        pushed, asked = (f"127.0.0.1:{free_port()}" for _ in range(2))
        service = f"127.0.0.1:{free_port()}" if broken else server.url.removeprefix("http://")
        there = Topology(folder, {"millisight:3000": service, "pushgateway:9091": pushed, "prometheus:9090": asked})

        command = ["prometheus-pushgateway", *SERVICES["pushgateway"].get("command", [])]
        command += [f"--web.listen-address={pushed}", "--persistence.file="]
        stack.enter_context(running(command, f"http://{pushed}", "/-/ready", folder / "pushgateway.log"))

        # What is mounted at /etc/prometheus, with the places of this machine.
        shutil.copytree(DEPLOY / "prometheus", folder / "prometheus")
        for file in [folder / "prometheus" / "prometheus.yml", *(folder / "prometheus" / "targets").glob("*.yml")]:
            file.write_text(there.here(file.read_text()))
        flags = [
            word.replace("/etc/prometheus", str(folder / "prometheus")) for word in SERVICES["prometheus"]["command"]
        ]
        flags = [re.sub(r"=/prometheus$", f"={folder / 'data'}", word) for word in flags]
        command = ["prometheus", *flags, f"--web.listen-address={asked}"]
        stack.enter_context(running(command, f"http://{asked}", "/-/ready", folder / "prometheus.log"))
        yield there


def until(holds: Callable[[], bool], what: Callable[[], object], seconds: float = 60.0) -> None:
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit, what()
        time.sleep(0.25)


def test_everything_is_scraped_and_says_that_it_is_healthy(tmp_path: Path) -> None:
    with topology(tmp_path) as there:
        until(lambda: there.targets() == {"millisight": "up", "millisight-runs": "up"}, there.targets)
        assert there.healthy("millisight")
        assert there.healthy("prometheus")

        # A run pushes to where the compose file opens a port for it.
        facts = RunFacts("one", "denoise", "autoderain", "cpu-onnxruntime-fp32-1t", "smoke", "one/report.json")
        told = RunMetrics(facts, [Pushgateway(f"http://{there.places['pushgateway:9091']}", "one")], every=0.0)
        with told.running(), told.stage("search"):
            pass

        program, *words = [there.here(str(word)) for word in SERVICES["load"]["command"]]
        done = subprocess.run(
            [Path(sys.executable).with_name(program), *words],
            env=os.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert re.search(r"goodput [\d.]+ a second", done.stdout)

        until(lambda: there.value("sum(restore_requests_total)") > 0, lambda: done.stdout)
        until(lambda: there.value('millisight_run_finished{run="one"}') == 1, there.targets)
        flags = there.ask("/api/v1/status/flags")["data"]
        assert flags["storage.tsdb.retention.time"] in ("35d", "5w")
        rules = there.ask("/api/v1/rules")["data"]["groups"]
        assert {rule["health"] for group in rules for rule in group["rules"]} <= {"ok", "unknown"}
        assert len(rules) > 1


def test_a_service_that_is_elsewhere_is_down(tmp_path: Path) -> None:
    with topology(tmp_path, broken=True) as there:
        until(lambda: there.targets() == {"millisight": "down", "millisight-runs": "up"}, there.targets)
        assert not there.healthy("millisight")

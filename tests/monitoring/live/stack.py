"""The real service, a run's metrics behind a real node exporter, and a real Prometheus with the committed rules."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from monitoring.prometheus import PrometheusClient, Rule
from monitoring.scaling import scaled_rules
from tests.monitoring.programs import Program, running, running_prometheus
from tests.servers import REPOSITORY, Server, free_port, running_server
from training.telemetry import NetworkSeconds, Progress, RunFacts
from training.telemetry.run_metrics import RunMetrics
from training.telemetry.sinks import Textfile

PROMETHEUS = REPOSITORY / "deploy" / "prometheus"
EXPORTER = "prometheus-node-exporter"
FACTS = RunFacts(
    run="denoise-live-0", task="denoise", method="autoderain", target="cpu-onnxruntime-fp32-1t", preset="smoke",
    report="denoise-live-0/report.json",
)  # fmt: skip


@dataclass(frozen=True)
class Live:
    """All of it, running."""

    server: Server
    prometheus: PrometheusClient
    program: Program

    def alert(self, name: str) -> list[Rule]:
        """The rules of an alert as they are now."""
        return [rule for rule in self.prometheus.rules() if rule.name == name]

    def state(self, name: str) -> str:
        """The worst state of an alert: inactive, pending or firing."""
        states = {rule.state for rule in self.alert(name)}
        return next(state for state in ("firing", "pending", "inactive") if state in states)


@contextmanager
def live(folder: Path, bundles: Path, *, factor: float = 1.0, with_run: bool = True, **settings: str) -> Iterator[Live]:
    """Starts everything.

    Args:
        folder: For logs, data and configuration.
        bundles: What is served.
        factor: Durations of the rules are multiplied by it; 1: the rules as they are committed, to the byte.
        with_run: Whether a run goes on meanwhile.
        settings: MILLISIGHT_ variables of the service.
    """
    with ExitStack() as stack:
        settings = {"MILLISIGHT_STATE": str(folder / "state")} | settings
        server = stack.enter_context(running_server(folder, (bundles,), **settings))
        runs = stack.enter_context(_run(folder)) if with_run else ""
        config = _config(folder, server.url.removeprefix("http://"), runs, factor)
        program = stack.enter_context(running_prometheus(folder, config))
        client = stack.enter_context(PrometheusClient(program.url))
        # Prometheus looks for targets every five seconds; what happens before the first scrape is in no rate.
        until(lambda: {target.health for target in client.targets()} == {"up"}, 20, "everything is scraped")
        yield Live(server, client, program)


def until(holds: Callable[[], bool], seconds: float, what: str, every: float = 0.25) -> None:
    """Waits for something.

    Raises:
        AssertionError: It did not come in time.
    """
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit, f"not within {seconds} s: {what}"
        time.sleep(every)


@contextmanager
def _run(folder: Path) -> Iterator[str]:
    """A run that goes on for ever and has had every stage; host and port of the node exporter that shows it."""
    metrics = folder / "textfiles"
    metrics.mkdir()
    over = threading.Event()
    thread = threading.Thread(target=_going_on, args=(metrics, over))
    thread.start()
    port = free_port()
    command = [EXPORTER, "--collector.disable-defaults", "--collector.textfile"]
    command += [f"--collector.textfile.directory={metrics}", f"--web.listen-address=127.0.0.1:{port}"]
    try:
        with running(command, f"http://127.0.0.1:{port}", "/metrics", folder / "exporter.log"):
            yield f"127.0.0.1:{port}"
    finally:
        over.set()
        thread.join()


def _going_on(metrics: Path, over: threading.Event) -> None:
    told = RunMetrics(FACTS, [Textfile(metrics, FACTS.run)], every=0.0)
    with told.running():
        with told.stage("measure", steps=4):
            pass
        with told.stage("search"):
            seen = Progress(
                9, 10, loss=0.1, learning_rate=1e-3, validation_db=27.5, expected_seconds=0.012, budget_seconds=0.01,
                price=0.3, entropies={"encoder0.0.conv1": 0.69, "encoder0.0.width": 0.1},
            )  # fmt: skip
            told.report(lambda: seen, force=True)
        with told.stage("derive", steps=1):
            told.network(lambda: NetworkSeconds("10ms", allowed=0.01, predicted=0.009, measured=0.0095))
        with told.stage("train"):
            for step in range(1, 100_000):
                progress = Progress(step, 100_000, loss=1 / step, learning_rate=1e-3, validation_db=28.0)
                told.report(lambda progress=progress: progress, force=True)  # type: ignore[misc]
                if over.wait(0.5):
                    return


def _config(folder: Path, service: str, runs: str, factor: float) -> str:
    """The committed configuration with these targets, a scrape and an evaluation a second."""
    (folder / "rules").mkdir()
    for file in (PROMETHEUS / "rules").glob("*.yml"):
        text = file.read_text()
        (folder / "rules" / file.name).write_text(text if factor == 1 else scaled_rules(text, factor))
    config: dict[str, Any] = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    for job in config["scrape_configs"]:
        job.pop("scrape_interval", None)
        if job["job_name"] == "millisight":
            job["static_configs"] = [{"targets": [service]}]
        else:
            job.pop("file_sd_configs")
            job["static_configs"] = [{"targets": [runs] if runs else []}]
    return yaml.safe_dump(config)

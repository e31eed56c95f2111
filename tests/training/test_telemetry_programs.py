"""The metrics of a run in the programs that they are for: Pushgateway, node_exporter, promtool."""

import http.server
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

import training.telemetry.sinks
from tests.servers import free_port
from tests.training.exported import FACTS, Exported, Kept
from training.telemetry import NetworkSeconds, Progress, RunFacts, Stage, families
from training.telemetry.run_metrics import RunMetrics
from training.telemetry.sinks import Pushgateway, Sink, Textfile

GATEWAY, EXPORTER = "prometheus-pushgateway", "prometheus-node-exporter"


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program} (a package of Debian's)")


@contextmanager
def running(port: int, folder: Path, *command: str) -> Iterator[str]:
    """One of the programs, until it answers; its address."""
    url = f"http://127.0.0.1:{port}"
    with (folder / f"{command[0]}.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        limit = time.monotonic() + 30
        while True:
            assert process.poll() is None
            assert time.monotonic() < limit
            try:
                httpx.get(f"{url}/metrics", trust_env=False)
            except httpx.TransportError:
                time.sleep(0.02)
            else:
                break
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


def gateway(port: int, folder: Path) -> AbstractContextManager[str]:
    return running(port, folder, GATEWAY, "--persistence.file=")


def scraped(url: str) -> Exported:
    answer = httpx.get(f"{url}/metrics", trust_env=False).raise_for_status()
    return Exported.of(answer.text)


def telemetry(*sinks: Sink, facts: RunFacts = FACTS) -> RunMetrics:
    return RunMetrics(facts, sinks, every=0.0, clock=lambda: 0.0)


def tell_everything(told: RunMetrics) -> None:
    """A run in which every family has something to say."""
    with told.running():
        with told.stage("search"):
            told.report(
                lambda: Progress(
                    3, 10, loss=0.1, learning_rate=1e-3, expected_seconds=0.012, budget_seconds=0.01, price=0.3,
                    entropies={"encoder0.0.conv1": 0.69, "encoder0.0.width": 0.1},
                )
            )  # fmt: skip
        with told.stage("derive", steps=1):
            told.network(lambda: NetworkSeconds("10ms", allowed=0.01, predicted=0.009, measured=0.0095))
        with told.stage("export", steps=1):
            told.report(lambda: Progress(1, 1, validation_db=31.5))


def ours(found: Exported) -> dict[str, set[frozenset[str]]]:
    return {name: found.labels(name) for name in found.kinds if name.startswith("millisight_")}


@needs(GATEWAY)
def test_a_gateway_holds_a_run_as_a_group_that_is_replaced_when_it_is_resumed(tmp_path: Path) -> None:
    with gateway(port := free_port(), tmp_path) as url:
        tell_everything(telemetry(Pushgateway(url, FACTS.run)))
        other = replace(FACTS, run="another")
        tell_everything(telemetry(Pushgateway(url, "another"), facts=other))
        found = scraped(url)
        # The gateway adds the labels of the group, and an empty instance.
        expected = {f.name: {frozenset({*f.labels, "job", "instance"})} for f in families()}
        assert ours(found) == expected
        assert set(found.values("millisight_run_finished", "job")) == {"millisight-runs"}
        assert found.values("millisight_run_finished", "run") == {FACTS.run: 1.0, "another": 1.0}
        resumed = telemetry(Pushgateway(f"http://localhost:{port}/", FACTS.run))
        with resumed.running(), resumed.stage("train"):
            resumed.report(lambda: Progress(7, 9))
            found = scraped(url)
    assert found.values("millisight_run_finished", "run") == {FACTS.run: 0.0, "another": 1.0}
    assert set(found.values("millisight_search_price", "run")) == {"another"}
    assert found.values("millisight_run_steps", "stage")["train"] == 9.0
    assert all(outlet.failures == 0 for outlet in resumed.outlets)


@needs(GATEWAY)
def test_a_gateway_that_comes_late_and_goes_early_ends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    told = telemetry(Pushgateway(f"http://127.0.0.1:{port}", FACTS.run))
    (outlet,) = told.outlets
    with told.running(), told.stage("train"):
        told.report(lambda: Progress(1, 9))
        assert outlet.failures == 3
        with gateway(port, tmp_path) as url:
            told.report(lambda: Progress(2, 9))
            assert scraped(url).values("millisight_run_steps_done", "stage") == {"train": 2.0}
        told.report(lambda: Progress(3, 9))
    assert (outlet.sent, outlet.failures) == (1, 6)
    said = capsys.readouterr().err
    assert said.count("failed (URLError") == 1
    assert "Connection refused" in said
    assert "failed 6 of 7 times; the final values did not get through" in said


class Refusing(http.server.BaseHTTPRequestHandler):
    """Another program that listens there."""

    def log_message(self, *_: object) -> None:
        pass


def test_something_else_that_listens_there_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        tell_everything(telemetry(Pushgateway(f"http://127.0.0.1:{server.server_port}", FACTS.run)))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert "failed (HTTPError: HTTP Error 501: Unsupported method ('PUT'))" in capsys.readouterr().err


def test_something_that_never_answers_ends_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.telemetry.sinks, "PUSH_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        tell_everything(telemetry(Pushgateway(f"http://127.0.0.1:{silent.getsockname()[1]}", FACTS.run)))
    assert "timed out" in capsys.readouterr().err


@needs(EXPORTER)
def test_node_exporter_shows_the_file(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics"
    metrics.mkdir()
    command = (
        EXPORTER, "--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={metrics}",
    )  # fmt: skip
    with running(free_port(), tmp_path, *command) as url:
        tell_everything(telemetry(Textfile(metrics, FACTS.run)))
        other = telemetry(Textfile(metrics, "another"), facts=replace(FACTS, run="another"))
        stage: Stage = "measure"
        with other.running(), other.stage(stage):
            # A file that is being written does not end in .prom, and is left alone.
            (metrics / "millisight-third.prom.writing").write_text("half of a li")
            found = scraped(url)
        assert ours(found) == {f.name: {frozenset(f.labels)} for f in families()}
        assert found.values("millisight_run_finished", "run") == {FACTS.run: 1.0, "another": 0.0}
        assert found.value("node_textfile_scrape_error") == 0.0
        # The planted fault: what half a file would do.
        (metrics / "millisight-third.prom").write_text("half of a li")
        assert scraped(url).value("node_textfile_scrape_error") == 1.0


@needs("promtool")
def test_promtool_finds_nothing_to_say() -> None:
    place = Kept()
    tell_everything(telemetry(place))
    text = place.texts[-1]
    assert ours(place.last) == {f.name: {frozenset(f.labels)} for f in families()}

    def check(content: str) -> subprocess.CompletedProcess[str]:
        command = ["promtool", "check", "metrics"]
        return subprocess.run(command, input=content, capture_output=True, text=True, timeout=60, check=False)

    clean = check(text)
    assert (clean.returncode, clean.stdout, clean.stderr) == (0, "", "")
    # The planted fault: a name that says another unit.
    wrong = check(text.replace("millisight_search_price", "millisight_search_price_milliseconds"))
    assert wrong.returncode != 0
    assert "use base unit" in wrong.stderr + wrong.stdout

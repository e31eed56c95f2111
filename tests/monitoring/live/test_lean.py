"""The shortest way through everything: the service, `millisight load`, Prometheus with the rules, and a snapshot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from millisight.cli import app
from monitoring.dashboards import BOARDS
from monitoring.panels import read_dashboard
from monitoring.variables import Window
from tests.monitoring.live.proofs import panel_faults
from tests.monitoring.live.stack import Live, live, until
from tests.monitoring.live.subjects import write_subjects
from tests.monitoring.programs import needs
from tests.servers import REPOSITORY

pytestmark = needs("prometheus")
DASHBOARDS = REPOSITORY / "deploy" / "grafana" / "dashboards"
# The first panels of a dashboard that need nothing but a few pictures.
FULL = (
    "Requests",
    "Rate by task",
    "Duration by task",
    "Mean time by stage",
    "Slots busy",
    "Models loaded",
    "Megapixels",
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    bundles = write_subjects(tmp_path_factory.mktemp("bundles"))
    with live(tmp_path_factory.mktemp("live"), bundles, factor=1 / 60, with_run=False) as running:
        yield running


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_what_is_sent_is_seen(stack: Live, tmp_path: Path) -> None:
    load = ("--rate", 15, "--seconds", 3, "--sizes", "128x128,160x120", "--bad-share", 0.2, "--json")
    summary = json.loads(run("load", stack.server.url, *load))
    assert summary["restored"] > 10
    until(lambda: bool(stack.prometheus.instant("model_target:restore_drift:ratio10m")), 20, "the promise is recorded")

    # Not one rule and not one query is refused.
    until(lambda: all(rule.health != "unknown" for rule in stack.prometheus.rules()), 20, "every rule was evaluated")
    assert {f"{rule.name}: {rule.error}" for rule in stack.prometheus.rules() if rule.health != "ok"} == set()
    (now,) = stack.prometheus.instant("time()")
    window = Window(now.last - 15, now.last, scrape_s=1)
    faults = list[str]()
    for board in BOARDS:
        faults += panel_faults(
            read_dashboard(DASHBOARDS / f"{board.slug}.json"), board.needs(), ["gpu"], stack.prometheus, window
        )
    assert [fault for fault in faults if "refused" in fault] == []
    assert [fault for fault in faults if any(f"overview '{title}'" in fault for title in FULL)] == []

    page = tmp_path / "promise.png"
    options = ("--dashboard", DASHBOARDS / "latency-promise.json", "--since", "30s", "--scrape-interval", "1s")
    said = run("monitor", "snapshot", "--prometheus", stack.prometheus.url, *options, "--sharpness", 1, "-o", page)
    assert "Latency promise" in said
    assert np.asarray(Image.open(page).convert("L")).std() > 10

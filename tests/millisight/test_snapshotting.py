"""`millisight monitor snapshot` as a user runs it, against a real Prometheus with known points."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from millisight.cli import app
from millisight.snapshotting import FOLDER, NAMES
from monitoring.panels import DashboardError, read_dashboard
from monitoring.prometheus import PrometheusUnreachableError
from monitoring.variables import VariableError
from tests.monitoring import made_up
from tests.monitoring.programs import Program, needs, running_prometheus
from tests.servers import REPOSITORY, free_port


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), "", made_up.metrics()) as program:
        yield program


@pytest.fixture
def dashboard(tmp_path: Path) -> Path:
    return made_up.write_dashboard(tmp_path / "made-up.json")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["monitor", "snapshot", *map(str, arguments)])


@needs("prometheus", "promtool")
class TestSnapshot:
    def test_a_dashboard_is_drawn(self, prometheus: Program, dashboard: Path, tmp_path: Path) -> None:
        options = ("--dashboard", dashboard, "--until", made_up.END, "--since", "20m", "--variable", "model=a.1")
        result = run("--prometheus", prometheus.url, *options, "-o", tmp_path / "page.png", "--width", 600)
        assert result.exit_code == 0, result.output
        assert "page.png  (Made up: 8 panels, 1 with nothing to show" in result.stdout
        assert Image.open(tmp_path / "page.png").width == 1200

    def test_rows_of_it(self, prometheus: Program, dashboard: Path, tmp_path: Path) -> None:
        options = ("--dashboard", dashboard, "--until", made_up.END, "--row", "Models", "--sharpness", 1)
        result = run("--prometheus", prometheus.url, *options, "-o", tmp_path / "page.png")
        assert "Made up: 3 panels" in result.stdout

    def test_what_is_not_there_is_said(self, prometheus: Program, dashboard: Path, tmp_path: Path) -> None:
        end = ("--until", made_up.END, "-o", tmp_path / "page.png", "--prometheus", prometheus.url)
        for options, error in (
            (("--dashboard", dashboard, "--variable", "moon=full"), VariableError),
            (("--dashboard", dashboard, "--variable", "model=none"), VariableError),
            (("--dashboard", dashboard, "--row", "Moon"), DashboardError),
            (("--dashboard", tmp_path / "absent.json"), DashboardError),
        ):
            result = run(*options, *end)
            assert isinstance(result.exception, error), result.output
        assert not (tmp_path / "page.png").exists()


@pytest.mark.parametrize("wrong", [("--since", "soon"), ("--since", "0m"), ("--variable", "model"), ("--width", "1")])
def test_wrong_use(dashboard: Path, tmp_path: Path, wrong: tuple[str, str]) -> None:
    assert run("--dashboard", dashboard, "-o", tmp_path / "page.png", *wrong).exit_code == 2


def test_nobody_there_is_said(dashboard: Path, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    result = run("--dashboard", dashboard, "-o", tmp_path / "page.png", "--prometheus", url)
    assert isinstance(result.exception, PrometheusUnreachableError)


def test_every_name_is_a_committed_dashboard() -> None:
    for name in NAMES:
        assert read_dashboard(REPOSITORY / FOLDER / f"{name}.json").panels
    assert len(NAMES) == len(list((REPOSITORY / FOLDER).glob("*.json")))

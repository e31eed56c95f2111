"""`millisight load` as a user runs it, against the real service."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from click.testing import Result
from typer.testing import CliRunner

from millisight.cli import app
from monitoring.load import LoadError
from tests.servers import Server, free_port, running_server, write_known_bundles

SIZES = ("--sizes", "64x48,96x64", "--formats", "png,jpeg")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with running_server(folder, write_known_bundles(tmp_path_factory.mktemp("bundles"))) as running:
        yield running


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["load", *arguments])


@pytest.mark.slow
def test_a_load_ends_with_what_came_of_it(server: Server) -> None:
    mixed = ("--rate", "20", "--seconds", "1", "--bad-share", "0.3", "--deadline-ms", "5000", "--task", "denoise")
    shown = run(server.url, *SIZES, *mixed)
    assert shown.exit_code == 0, shown.output
    lines = {line.split("  ")[0].strip(): line for line in shown.stdout.splitlines()}
    assert {"answer", "200", "200 denoise"} <= lines.keys()
    assert any(name.startswith("4") for name in lines)
    assert "within 5000 ms; goodput" in shown.stdout
    assert "derain" not in shown.stdout


@pytest.mark.slow
def test_machines_get_json_and_callers_wait_for_their_answers(server: Server) -> None:
    result = run(server.url, *SIZES, "--callers", "2", "--requests", "7", "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert (summary["offered"], summary["restored"], summary["in_time"]) == (7, 7, 7)
    assert summary["by_code"]["200"]["count"] == 7
    assert sum(times["count"] for times in summary["by_task"].values()) == 7


@pytest.mark.parametrize(
    "wrong",
    [
        ("--rate", "1", "--callers", "1"),
        ("--task", "upscale"),
        ("--formats", "gif"),
        ("--formats", ","),
        ("--sizes", "64"),
        ("--sizes", "0x64"),
        ("--bad-share", "2"),
    ],
)
def test_wrong_use(wrong: tuple[str, ...]) -> None:
    assert run(f"http://127.0.0.1:{free_port()}", *wrong).exit_code == 2


def test_nobody_there_is_said() -> None:
    result = run(f"http://127.0.0.1:{free_port()}")
    assert result.exit_code == 1
    assert isinstance(result.exception, LoadError)

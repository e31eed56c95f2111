"""The dashboards' files: in step with the code, and always in the same form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from millisight.cli import app
from monitoring.dashboards import BOARDS, StaleError, check_dashboards, json_of, write_dashboards

COMMITTED = Path(__file__).parents[3] / "deploy" / "grafana" / "dashboards"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_dashboards(tmp_path)
    return tmp_path


def test_the_committed_files_are_what_the_code_says() -> None:
    check_dashboards(COMMITTED)


def test_written_files_pass_and_are_not_written_again(folder: Path) -> None:
    check_dashboards(folder)
    assert {path.name for path in folder.iterdir()} == {f"{board.slug}.json" for board in BOARDS}
    assert write_dashboards(folder) == ()


def test_the_form_is_canonical(folder: Path) -> None:
    for path in folder.iterdir():
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
        assert text == json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def test_a_file_that_was_edited_is_named(folder: Path) -> None:
    path = folder / "overview.json"
    path.write_text(path.read_text().replace("Rate by task", "Rate of tasks"))
    with pytest.raises(StaleError, match=r"overview\.json differs"):
        check_dashboards(folder)


def test_a_file_that_lacks_and_one_too_many_are_named(folder: Path) -> None:
    (folder / "slo.json").rename(folder / "old.json")
    with pytest.raises(StaleError, match=r"slo\.json is not there; .*old\.json is of no dashboard") as caught:
        check_dashboards(folder)
    assert f"millisight monitor dashboards --out {folder}" in str(caught.value)


def test_a_board_always_gives_the_same_text() -> None:
    for board in BOARDS:
        assert json_of(board) == json_of(board)


def test_identities_are_unique_and_fit_grafana() -> None:
    uids = [board.uid for board in BOARDS]
    assert uids == ["millisight-overview", "millisight-promise", "millisight-training", "millisight-slo"]
    assert all(8 <= len(uid) <= 40 for uid in uids)


def test_the_command_writes_then_checks_then_names_what_differs(tmp_path: Path) -> None:
    out = tmp_path / "dashboards"

    def run(*options: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["monitor", "dashboards", "--out", str(out), *options])
        return result.exit_code, f"{result.output}{result.exception or ''}"

    assert run()[0] == 0
    assert run("--check")[0] == 0
    (out / "slo.json").write_text("{}\n")
    code, text = run("--check")
    assert code == 1
    assert "slo.json differs" in text
    assert (out / "slo.json").read_text() == "{}\n", "a check writes nothing"

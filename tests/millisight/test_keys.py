"""`millisight keys` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from millisight.keys import KeyNameError, app
from serving.guard.keys import KeyFileError, KeyRing

RUNNER = CliRunner()


def run(*arguments: object) -> str:
    result = RUNNER.invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return str(result.stdout)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_a_key_is_shown_once_works_and_can_be_revoked(file: Path) -> None:
    key = run("create", "ann", "--role", "admin", "--rate", 30, "--burst", 5, "--file", file).strip()
    other = run("create", "bob", "--file", file).strip()
    entry = KeyRing(file).find(key)
    assert entry is not None
    assert (entry.name, entry.role, entry.rate_per_minute, entry.burst) == ("ann", "admin", 30, 5)

    listed = run("list", "--json", "--file", file)
    assert [(row["name"], row["role"]) for row in json.loads(listed)] == [("ann", "admin"), ("bob", "restore")]
    shown = run("list", "--file", file)
    assert "ann" in shown
    for text in (listed, shown, file.read_text()):
        assert key not in text
    assert entry.sha256 not in listed + shown

    assert run("revoke", "ann", "--file", file) == "ann revoked\n"
    assert KeyRing(file).find(key) is None
    assert KeyRing(file).find(other) is not None


def test_what_cannot_be_done_is_said(file: Path) -> None:
    assert run("list", "--json", "--file", file).strip() == "[]"
    run("create", "ann", "--file", file)
    before = file.read_bytes()
    for arguments, error in (
        (("create", "ann"), KeyNameError),
        (("create", "a/b"), KeyFileError),
        (("create", "bob", "--rate", "-1"), KeyFileError),
        (("revoke", "bob"), KeyNameError),
    ):
        with pytest.raises(error):
            run(*arguments, "--file", file)
    assert RUNNER.invoke(app, ["create", "bob", "--role", "root", "--file", str(file)]).exit_code == 2
    assert RUNNER.invoke(app, ["list"], env={"MILLISIGHT_API_KEYS": None}).exit_code == 2
    assert file.read_bytes() == before
    assert "ann" in RUNNER.invoke(app, ["list"], env={"MILLISIGHT_API_KEYS": str(file)}).stdout


def test_a_damaged_file_is_left_alone(file: Path) -> None:
    file.write_text("[{}]")
    with pytest.raises(KeyFileError):
        run("create", "ann", "--file", file)
    assert file.read_text() == "[{}]"

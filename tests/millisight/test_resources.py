"""`millisight resources` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from millisight.cli import app
from millisight.resources import SettingsFileError, read_settings
from serving.errors import SettingsError
from tests.servers import write_known_bundle

pytest.importorskip("openvino")
RUNNER = CliRunner()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_known_bundle(tmp_path / "bundle", "tiny", "denoise").folder


def run(*arguments: object) -> str:
    result = RUNNER.invoke(app, ["resources", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def test_people_see_every_part_and_machines_the_same_numbers(bundle: Path) -> None:
    shown = run(bundle, "--threads", 2)
    told = json.loads(run(bundle, "--threads", 2, "--json"))
    assert told["cores"] == 2
    for part in told["memory"]["parts"]:
        assert part["name"] in shown
        assert part["why"] in shown
    assert told["memory"]["bytes"] == sum(part["bytes"] for part in told["memory"]["parts"])
    assert told["quantities"]["memory"] in shown
    assert int(told["quantities"]["memory"].removesuffix("Mi")) * 2**20 >= told["memory"]["bytes"]


def test_kustomize_gets_a_patch_of_either_kind(bundle: Path) -> None:
    wanted = json.loads(run(bundle, "--threads", 2, "--json"))["quantities"]
    deployment = yaml.safe_load(run(bundle, "--threads", 2, "--kustomize"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container == {"name": "millisight", "resources": {"requests": wanted, "limits": wanted}}
    (step,) = yaml.safe_load(run(bundle, "--threads", 2, "--kustomize", "--kind", "inference-service"))
    assert step["value"] == {"requests": wanted, "limits": wanted}


def test_later_settings_win_and_options_win_over_all(bundle: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.env", tmp_path / "second.env"
    first.write_text("# of the pod\n\nMILLISIGHT_THREADS=2\nMILLISIGHT_SLOTS=3\n")
    second.write_text("MILLISIGHT_THREADS=4\n")
    files = ["--settings", first, "--settings", second]
    assert json.loads(run(bundle, *files, "--json"))["cores"] == 12
    assert json.loads(run(bundle, *files, "--slots", 1, "--json"))["cores"] == 4


def test_this_shell_says_nothing_of_the_pod(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLISIGHT_SLOTS", "7")
    assert json.loads(run(bundle, "--threads", 2, "--json"))["cores"] == 2


def test_what_is_no_setting_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_text("THREADS=2\n")
    with pytest.raises(SettingsFileError, match=r"Line 1 .* is 'THREADS=2'"):
        read_settings([file])
    file.write_text("MILLISIGHT_THREAD=2\n")
    with pytest.raises(SettingsError, match="Unknown setting MILLISIGHT_THREAD"):
        read_settings([file])
    with pytest.raises(SettingsFileError, match="cannot be read"):
        read_settings([tmp_path / "missing.env"])

"""`millisight draw` as a user runs it."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from models import get_space


def draw(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "millisight.cli", "draw", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    space = get_space("unet")
    config = space.parse_config({"channels": (16,), "blocks": 1})
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "genotype.json").write_text(space.genotype(config, space.reference_picks(config)).to_json())
    return folder


def test_a_file_and_a_run_give_the_same_picture(run_folder: Path) -> None:
    root = run_folder.parent
    assert draw("run/genotype.json", "--out", "pictures/one.svg", cwd=root).returncode == 0
    done = draw("run", cwd=root)
    assert done.returncode == 0, done.stderr
    assert "network.svg" in done.stdout
    picture = (root / "network.svg").read_text()
    assert picture == (root / "pictures" / "one.svg").read_text()
    assert ElementTree.fromstring(picture).tag.endswith("svg")


def test_what_is_no_genotype_is_one_line_not_a_traceback(run_folder: Path) -> None:
    (run_folder / "genotype.json").write_text('{"space": "unet"}')
    done = draw("run", cwd=run_folder.parent)
    assert done.returncode == 1
    assert "not a genotype" in done.stderr
    assert "Traceback" not in done.stderr
    assert draw("missing.json", cwd=run_folder.parent).returncode == 2

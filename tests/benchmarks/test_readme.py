"""The README says what is there: numbers from result files, commands that exist, links that lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.readme import README, fill
from millisight.cli import app
from runtime import Picture, read_image, write_image

ROOT = README.parent
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# What follows these is a command; what follows others is an argument.
GROUPS = {"latency", "monitor", "keys", "store"}


def test_the_numbers_are_those_of_the_result_files() -> None:
    text = README.read_text()
    assert fill(text) == text, "run python -m benchmarks.readme"
    # The planted fault: one digit changed by hand is noticed.
    changed = re.sub(r"(\| denoise \|.*?)(\d)\.(\d)", lambda m: f"{m[1]}{(int(m[2]) + 1) % 10}.{m[3]}", text, count=1)
    assert changed != text
    assert fill(changed) == text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not link.startswith("http"):
            assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^ {4}make ([a-z-]+)|`make ([a-z-]+)", page.read_text(), re.MULTILINE):
        name = target[0] or target[1]
        assert re.search(rf"^{name}:", makefile, re.MULTILINE), name


def test_commands_exist() -> None:
    code = re.compile(r"(?:^ {4}|`)(?:\.venv/bin/)?millisight ([a-z]+)(?: ([a-z]+)\b)?", re.MULTILINE)
    said = {found for page in PAGES for found in code.findall(page.read_text())}
    assert {"restore", "serve", "latency"} <= {command for command, _ in said}
    for command, sub in sorted(said):
        names = [command, sub] if command in GROUPS and sub else [command]
        assert CliRunner().invoke(app, [*names, "--help"]).exit_code == 0, names
    assert CliRunner().invoke(app, ["nonsense", "--help"]).exit_code == 2


def test_the_python_example_runs(tmp_path: Path) -> None:
    text = README.read_text()
    code = "\n".join(line.strip() for line in re.findall(r"^ {4}(?:from runtime|restorer =|write_image).*", text, re.M))
    assert code.count("\n") == 2
    write_image(tmp_path / "noisy.png", Picture.from_float(np.full((3, 40, 30), 0.4, dtype=np.float32)))
    (tmp_path / "zoo").symlink_to(ROOT / "zoo")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert read_image(tmp_path / "clean.png").rgb.shape == (3, 40, 30)

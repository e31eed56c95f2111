"""The README says what is there: numbers from result files, commands that exist, links that lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.readme import README, fill

ROOT = README.parent
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


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
    said = {tuple(m) for page in PAGES for m in re.findall(r"millisight (latency )?([a-z]+)\b", page.read_text())}
    commands = {(a.strip(), b) for a, b in said if b in _known() or a}
    assert ("", "restore") in commands
    assert ("latency", "measure") in commands
    for group, name in commands:
        if (group, name) == ("", "latency"):
            continue
        shown = _help(*([group] if group else []), name)
        assert shown.returncode == 0, (group, name, shown.stderr)
    assert _help("nonsense").returncode == 2


def _known() -> set[str]:
    return set(re.findall(r"^│ ([a-z]+) ", _help().stdout, re.MULTILINE))


def _help(*names: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "millisight.cli", *names, "--help"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

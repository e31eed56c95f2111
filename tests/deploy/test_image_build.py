"""`make image` with engines that are small scripts, so that every way it can go is gone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
# What the script and make need of a machine, without whatever engines it has.
TOOLS = ("sh", "bash", "make", "tail", "sed", "dirname", "awk", "cat")
ANSWERS = "#!/bin/sh\necho \"$0 $*\" >>'{log}'\n"
SILENT_ENGINE = "#!/bin/sh\necho 'Client: 28' \necho 'Cannot connect to the daemon. Is it running?' >&2\nexit 1\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of programs, to be the whole PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        if found is None:
            pytest.skip(f"{tool} is not installed")
        (folder / tool).symlink_to(found)
    return folder


def put(place: Path, name: str, text: str) -> None:
    (place / name).write_text(text.format(log=place / "log"))
    (place / name).chmod(0o755)


def make(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # As a user's shell: what the surrounding make set is not there.
    return subprocess.run(
        [str(place / "make"), "--no-print-directory", *words],
        cwd=REPOSITORY, env={"PATH": str(place)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def calls(place: Path) -> list[list[str]]:
    return [line.split()[1:] for line in (place / "log").read_text().splitlines()]


def test_without_an_engine_it_says_what_it_looked_for(place: Path) -> None:
    done = make(place, "image")
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert said == [
        "Nothing was built. Looked for: docker (not installed), podman (not installed), buildah (not installed). "
        "Install one of them, or start its service, and try again; docs/serving.md says how to run without a container."
    ]
    assert subprocess.run(["deploy/image/build.sh", "cpu", "x"], cwd=REPOSITORY, env={"PATH": str(place)},
                          capture_output=True, check=False).returncode == 1  # fmt: skip


def test_a_client_without_its_service_is_named_and_the_next_one_builds(place: Path) -> None:
    put(place, "docker", SILENT_ENGINE)
    put(place, "podman", ANSWERS)
    done = make(place, "image")
    assert done.returncode == 0
    assert done.stderr == ("docker is installed but does not work here: Cannot connect to the daemon. Is it running?\n")
    assert done.stdout == "podman builds the target cpu as millisight:latest.\n"
    asked, built = calls(place)
    assert asked == ["info"]
    assert built[:5] == ["build", "--target", "cpu", "--tag", "millisight:latest"]
    assert built[-1] == "."
    # Else the health check is dropped.
    assert "--format docker" in " ".join(built)


def test_docker_is_asked_for_its_service_and_then_builds(place: Path) -> None:
    put(place, "docker", ANSWERS)
    put(place, "podman", ANSWERS)
    assert make(place, "image-gpu", "IMAGE_OPTIONS=--network host").returncode == 0
    asked, built = calls(place)
    assert asked == ["version"]
    assert built[:5] == ["build", "--target", "gpu", "--tag", "millisight:gpu"]
    assert "--format" not in built
    assert built[-3:] == ["--network", "host", "."]
    assert [word for word in built if word.startswith("org.opencontainers.image.version=")] != []


def test_the_engine_can_be_chosen(place: Path) -> None:
    put(place, "docker", ANSWERS)
    put(place, "buildah", ANSWERS)
    assert make(place, "image", "TARGET=bundles", "IMAGE=mine:1", "ENGINE=buildah").returncode == 0
    _, built = calls(place)
    assert built[:5] == ["build", "--target", "bundles", "--tag", "mine:1"]
    missing = make(place, "image", "ENGINE=podman")
    assert missing.returncode != 0
    assert "Looked for: podman (not installed)." in missing.stderr


def test_a_target_that_is_none_is_refused(place: Path) -> None:
    put(place, "docker", ANSWERS)
    done = make(place, "image", "TARGET=tpu")
    assert done.returncode != 0
    assert "There is no target 'tpu'. Choose one of cpu, gpu, bundles." in done.stderr
    assert not (place / "log").exists()


def test_an_engine_that_fails_ends_it(place: Path) -> None:
    put(place, "docker", "#!/bin/sh\n[ \"$1\" = version ] || {{ echo 'no space left' >&2; exit 7; }}\n")
    done = make(place, "image")
    assert done.returncode != 0
    assert "no space left" in done.stderr
    assert "Nothing was built" not in done.stderr

"""The list of an image's contents, over a small tree made by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "image" / "contents.py"
SITE = Path("opt/venv/lib/python3.11/site-packages")


def package(root: Path, name: str, size: int) -> None:
    """An installed distribution with one module."""
    site = root / SITE
    (site / f"{name}-1.0.dist-info").mkdir(parents=True)
    (site / f"{name}.py").write_bytes(b"#" * size)
    (site / f"{name}-1.0.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (site / f"{name}-1.0.dist-info" / "RECORD").write_text(f"{name}.py,,\n{name}-1.0.dist-info/METADATA,,\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What an image looks like that is as it shall be."""
    package(tmp_path, "small", 1_000_000)
    package(tmp_path, "large", 3_000_000)
    for file in ("usr/bin/ls", "app/zoo/denoise/manifest.json", "root/.profile", "etc/pip.conf"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"" if file == "etc/pip.conf" else b"x" * 1000)
    # What a runtime mounts is no part of the image.
    (tmp_path / "run" / "secrets").mkdir(parents=True)
    (tmp_path / "run" / "secrets" / "pip.conf").write_text("[global]")
    return tmp_path


def listed(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_lists_folders_and_packages_with_their_sizes(root: Path) -> None:
    done = listed(root)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split() for line in lines if "1.0" in line.split()[-1:]] == [
        ["3.0", "MB", "large", "1.0"],
        ["1.0", "MB", "small", "1.0"],
    ]
    sizes = {line.split()[2]: line.split()[0] for line in lines if " MB  /" in line}
    assert sizes["/opt/venv"] == "4.0"
    assert {"/app/zoo", "/usr", "/root"} <= set(sizes)
    assert lines[-2:] == ["must not be there", "  nothing found"]


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("usr/bin/x86_64-linux-gnu-gcc-12", "a compiler or its tools: /usr/bin/x86_64-linux-gnu-gcc-12"),
        ("opt/venv/bin/make", "a compiler or its tools"),
        ("root/.cache/pip/http/a", "left over from the build: /root/.cache/pip/http/a"),
        ("tmp/left", "left over from the build: /tmp/left"),
        ("root/.netrc", "perhaps a secret: /root/.netrc"),
        ("etc/pip.conf", "perhaps a secret: /etc/pip.conf"),
        ("root/.docker/config.json", "perhaps a secret: /root/.docker/config.json"),
    ],
)
def test_a_planted_file_is_named(root: Path, file: str, said: str) -> None:
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text("x")
    done = listed(root)
    assert done.returncode == 1
    assert said in done.stdout


def test_torch_and_files_for_everybody_to_write_are_named(root: Path) -> None:
    package(root, "torch", 10)
    (root / "usr" / "bin" / "ls").chmod(0o777)
    done = listed(root)
    assert done.returncode == 1
    assert "a package that serving does not need: torch 1.0" in done.stdout
    assert "the user 10001 may change /usr/bin/ls" in done.stdout


@pytest.mark.skipif(os.getuid() == 0, reason="no folder is closed to root")
def test_a_list_with_holes_is_no_list(root: Path) -> None:
    (root / "root").chmod(0)
    done = listed(root)
    (root / "root").chmod(0o700)
    assert done.returncode == 1
    assert "cannot be looked into" in done.stderr


def test_wrong_use_is_two(tmp_path: Path) -> None:
    assert listed(tmp_path / "missing").returncode == 2

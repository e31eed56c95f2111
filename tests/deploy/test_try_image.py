"""The image, built and run: `deploy/image/try.sh` needs root and two Debian programs, but no engine and no registry."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.recipe import REPOSITORY
from tests.monitoring.programs import needs

IMAGE = REPOSITORY / "deploy" / "image"


def test_what_is_not_caged_is_noticed(tmp_path: Path) -> None:
    """The same questions, asked on this machine: whoever runs this is root, or has a folder to write."""
    config = {"Env": [f"PATH={os.environ['PATH']}"], "WorkingDir": str(tmp_path), "Entrypoint": None, "Cmd": ["false"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    command = [sys.executable, str(IMAGE / "ask.py"), str(tmp_path / "config.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("It does not hold: ")


def test_wrong_use_is_two() -> None:
    assert subprocess.run([IMAGE / "try.sh"], capture_output=True, check=False).returncode == 2
    assert subprocess.run([IMAGE / "build.sh", "cpu"], capture_output=True, check=False).returncode == 2


@pytest.mark.slow
@pytest.mark.timeout(3000)
@needs("buildah", "debootstrap", "unshare", "ip")
@pytest.mark.skipif(os.getuid() != 0, reason="chroot and namespaces need root")
def test_the_image_builds_and_serves_in_its_cage(tmp_path: Path) -> None:
    folder = tmp_path / "image"
    try:
        done = subprocess.run([IMAGE / "try.sh", folder], capture_output=True, text=True, check=False)
    finally:
        # Several gigabytes, and pytest keeps its folders.
        shutil.rmtree(folder, ignore_errors=True)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.partition("must not be there\n")[2].splitlines()
    assert said[0] == "  nothing found"
    assert said[1].startswith("uid 10001, no capability")
    bundles = [path.parent for path in (REPOSITORY / "zoo").rglob("manifest.json")]
    assert len([line for line in said if "dB to what the bundle shows" in line]) == len(bundles)
    assert said[-1] == "SIGTERM ended it with 0"
    # Measured on a stand-in for the base: Debian with its Python, without what only its package manager needs.
    together = re.search(r"([\d.]+) MB  together", done.stdout)
    assert together is not None
    assert float(together[1]) < 1000

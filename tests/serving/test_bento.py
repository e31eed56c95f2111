"""`bentoml build` from the project's root, and the Bento that comes out of it, serving."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parents[2]


def test_the_bento_asks_for_what_the_project_asks_for_serving() -> None:
    """One exception: the progress bars and the command line stay at home."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {*project["dependencies"], *extras["serve"], *extras["cpu"], *extras["openvino"]}
    left_out = {entry for entry in wanted if entry.startswith(("tqdm", "typer"))}
    packages = yaml.safe_load((ROOT / "bentofile.yaml").read_text())["python"]["packages"]
    assert set(packages) == wanted - left_out
    assert len(left_out) == 2


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a `bentoml` home in which the project was built."""
    folder = tmp_path_factory.mktemp("bento")
    environment = os.environ | {"BENTOML_HOME": str(folder / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
    command = [sys.executable, "-m", "bentoml", "build", "--version", "1", "."]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_it_holds_the_service_and_the_zoo_and_nothing_else(home: Path) -> None:
    source = home / "bentoml" / "bentos" / "millisight" / "1" / "src"
    assert {path.name for path in source.iterdir()} == {"LICENSE", "bentofile.yaml", "runtime", "serving", "zoo"}
    there = {path.relative_to(source): path.read_bytes() for path in (source / "zoo").rglob("*") if path.is_file()}
    here = {path.relative_to(ROOT): path.read_bytes() for path in (ROOT / "zoo").rglob("*") if path.is_file()}
    assert there == here
    # Its own code, not that of an installation, and no torch.
    code = "import sys; sys.modules['torch'] = None; import serving.service, runtime; print(runtime.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(source / "runtime" / "__init__.py"), done.stderr


@pytest.mark.slow
def test_it_answers_from_wherever_it_is_started(home: Path, tmp_path: Path, start_server: Callable[..., Any]) -> None:
    # An empty folder: neither runs/ nor zoo/ is there, so what answers came with the Bento.
    with (
        start_server(home, (), service="millisight:1", cwd=tmp_path, MILLISIGHT_TARGET="auto") as server,
        server.client() as client,
    ):
        models = client.get("/v1/models").json()["models"]
        assert len(models) == len(list((ROOT / "zoo").glob("*/manifest.json")))
        assert all(model["target_reason"] for model in models)
        sample = ROOT / "zoo" / "denoise" / "sample-degraded.png"
        answer = client.post("/v1/denoise", content=sample.read_bytes(), headers={"Content-Type": "image/png"})
        assert answer.status_code == 200, answer.text
        restored = np.asarray(Image.open(io.BytesIO(answer.content))).astype(float)
        shown = np.asarray(Image.open(sample.with_name("sample-restored.png"))).astype(float)
        middle = np.s_[48:144, 48:144]
        assert np.abs(restored[middle] - shown[middle]).mean() < 3
        # The planted fault: the picture that was sent is not what is shown.
        sent = np.asarray(Image.open(sample)).astype(float)
        assert np.abs(sent[middle] - shown[middle]).mean() > 6

"""The client is for machines that have httpx and pydantic: it must not bring anything else of ours along."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
BLOCKED = """
import sys

WITHOUT = {"numpy", "PIL", "torch", "bentoml", "starlette", "onnxruntime", "openvino", "tqdm", "typer",
           "runtime", "models", "tasks", "training", "export", "search", "serving"}

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in WITHOUT:
            raise ModuleNotFoundError(f"{name} is not installed here")

sys.meta_path.insert(0, Without())
from millisight.client import Client, RefusedError, RetryPolicy
Client("http://127.0.0.1:1").close()
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_importing_the_client_needs_httpx_and_pydantic_alone() -> None:
    done = run(BLOCKED)
    assert done.returncode == 0, done.stderr


def test_a_client_that_imported_another_room_would_be_seen() -> None:
    done = run(BLOCKED + "import runtime.errors\n")
    assert "runtime is not installed here" in done.stderr
    assert run(BLOCKED + "import numpy\n").returncode != 0

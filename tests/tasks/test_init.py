from __future__ import annotations

import subprocess
import sys

import tasks
from runtime.errors import MillisightError


def test_public_names_exist_and_are_sorted() -> None:
    assert all(hasattr(tasks, name) for name in tasks.__all__)
    assert len(set(tasks.__all__)) == len(tasks.__all__)
    assert issubclass(tasks.TaskError, MillisightError)


def test_importing_needs_neither_torch_nor_scikit_image() -> None:
    code = "import sys, tasks; print([name for name in ('torch', 'skimage', 'onnxruntime') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

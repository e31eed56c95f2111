import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.cuda import cuda_status
from runtime.errors import TargetError
from runtime.requirements import REQUIREMENTS, Missing, import_cuda_bindings, import_tensorrt

ROOT = Path(__file__).parents[2]


def test_a_missing_thing_is_a_sentence_with_what_to_do() -> None:
    error = Missing("The bolt is gone", "Buy a bolt").error()
    assert isinstance(error, TargetError)
    assert str(error) == "The bolt is gone. Buy a bolt."


def _missing_with(folder: Path, backend: str) -> str:
    """What a fresh process finds missing for a backend when the modules of a folder come first."""
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r})\n"
        "from runtime.requirements import REQUIREMENTS\n"
        f"missing = REQUIREMENTS[{backend!r}]()\n"
        "print(missing and f'{missing.what} | {missing.remedy}')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("raise ImportError('libnvinfer.so.11: cannot open shared object file')", "libnvinfer.so.11"),
        ("raise OSError('libnvinfer.so.11')", "libnvinfer.so.11"),
        ("", "tensorrt is damaged: it has no Builder"),
    ],
)
def test_a_tensorrt_that_does_not_load_is_a_value(tmp_path: Path, content: str, what: str) -> None:
    (tmp_path / "tensorrt.py").write_text(content)
    missing = _missing_with(tmp_path, "cuda-tensorrt")
    assert what in missing
    assert "pip install '.[tensorrt]'" in missing


def test_tensorrt_is_not_touched_without_a_driver(tmp_path: Path) -> None:
    """Its objects end a process that has no driver; a module whose objects do so as well is only imported."""
    if cuda_status().available:
        pytest.skip("this machine has a driver")
    ends = "import os\nclass Builder:\n    def __init__(self, *_):\n        os._exit(11)\nRuntime = ILogger = Builder\n"
    (tmp_path / "tensorrt.py").write_text(ends)
    bindings = tmp_path / "cuda" / "bindings"
    bindings.mkdir(parents=True)
    (bindings / "runtime.py").write_text("def cudaMalloc(size): raise AssertionError\n")
    open_it = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import tensorrt\n"
        "from runtime import Target, TargetError, open_engine\n"
        "try: open_engine(b'', Target.parse('cuda-tensorrt-fp16'))\n"
        "except TargetError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", open_it], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert cuda_status().missing in done.stdout
    assert "tensorrt cannot be imported" not in done.stdout
    # planted fault: an object made all the same does end the process
    made = subprocess.run(
        [sys.executable, "-c", open_it.replace("import tensorrt\n", "import tensorrt; tensorrt.Runtime()\n")],
        cwd=ROOT,
        check=False,
    )
    assert made.returncode == 11


def test_everything_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    if cuda_status().available:
        pytest.skip("this machine has a driver")
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('no such wheel')")
    missing = _missing_with(tmp_path, "cuda-onnxruntime")
    assert cuda_status().missing in missing
    assert "no such wheel" in missing
    assert "pip install '.[gpu]'" in missing
    assert cuda_status().remedy in missing


def test_an_onnxruntime_for_processors_is_not_enough(tmp_path: Path) -> None:
    source = "class InferenceSession: pass\ndef get_available_providers(): return ['CPUExecutionProvider']\n"
    (tmp_path / "onnxruntime.py").write_text(source)
    assert "was built without CUDA" in _missing_with(tmp_path, "cuda-onnxruntime")
    assert _missing_with(tmp_path, "cpu-onnxruntime") == "None"
    # a wheel that lists the provider is at least not accused of that
    (tmp_path / "onnxruntime.py").write_text(source.replace("CPUExec", "CUDAExec"))
    if not cuda_status().available:
        assert "without CUDA" not in _missing_with(tmp_path, "cuda-onnxruntime")


@pytest.mark.parametrize(
    ("package", "find"), [("tensorrt", import_tensorrt), ("cuda", import_cuda_bindings)], ids=["tensorrt", "cuda"]
)
def test_importing_what_is_not_installed_is_an_error_with_a_remedy(package: str, find: Callable[[], object]) -> None:
    if importlib.util.find_spec(package) is not None:
        pytest.skip(f"{package} is installed here")
    with pytest.raises(TargetError, match=rf"package {package}.* cannot be imported .* pip install '\.\[tensorrt\]'"):
        find()


def test_this_machine_answers_for_every_backend() -> None:
    for backend, find in REQUIREMENTS.items():
        missing = find()
        assert missing is None or (missing.what and missing.remedy), backend
    assert REQUIREMENTS["cpu-onnxruntime"]() is None

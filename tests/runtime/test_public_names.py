import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import runtime

ROOT = Path(__file__).parents[2]
MODULES = sorted(f"runtime.{info.name}" for info in pkgutil.iter_modules(runtime.__path__))


def test_public_names_exist_once_and_in_order() -> None:
    assert runtime.__all__ == sorted(set(runtime.__all__))
    for name in runtime.__all__:
        assert getattr(runtime, name) is not None


def test_the_names_others_rely_on_are_there() -> None:
    assert {"Bundle", "MillisightError", "Restorer", "Target", "decode_image", "encode_image"} <= set(runtime.__all__)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_is_public(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    for public in module.__all__:
        assert hasattr(module, public)


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_importing_loads_neither_torch_nor_an_engine() -> None:
    modules = ", ".join(MODULES)
    code = f"import sys, {modules}; print([n for n in ('torch', 'onnxruntime', 'onnx') if n in sys.modules])"
    result = _python(code)
    assert result.stdout.strip() == "[]", result.stderr
    # planted fault: the same check sees a module that was loaded
    assert "onnxruntime" in _python(code.replace("; print", "; runtime.list_targets(); print")).stdout


def test_everything_works_where_torch_cannot_be_imported() -> None:
    result = _python("import sys; sys.modules['torch'] = None; import runtime; print(runtime.list_targets())")
    assert "available=True" in result.stdout, result.stderr


def test_importing_does_not_change_pillow() -> None:
    code = (
        "from PIL import Image, ImageFile; "
        "before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES); "
        "import runtime; "
        "print(before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES))"
    )
    assert _python(code).stdout.strip() == "True"

import subprocess
import sys
from pathlib import Path

import pytest

from runtime.errors import TargetError
from runtime.requirements.openvino import import_openvino, intel_gpu_name, missing_for_intel_gpu, missing_for_openvino

ROOT = Path(__file__).parents[3]


def _run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A fresh process in which the modules of a folder come first."""
    first = f"import sys; sys.path.insert(0, {str(folder)!r})\n"
    return subprocess.run([sys.executable, "-c", first + code], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("raise ImportError('libtbb.so.12: cannot open shared object file')", "libtbb.so.12"),
        ("raise OSError('libopenvino.so')", "libopenvino.so"),
        ("", "openvino is damaged: it has no Core"),
    ],
)
def test_an_openvino_that_does_not_load_is_a_value_and_opening_it_an_error(
    tmp_path: Path, content: str, what: str
) -> None:
    (tmp_path / "openvino.py").write_text(content)
    code = (
        "from runtime import Target, TargetError, open_engine\n"
        "for slug in ('cpu-openvino-fp32-1t', 'intelgpu-openvino-fp16'):\n"
        "    target = Target.parse(slug)\n"
        "    missing = target.missing()\n"
        "    print(missing.what, missing.remedy)\n"
        "    try: open_engine(b'', target)\n"
        "    except TargetError as error: print(error)\n"
    )
    done = _run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert all(what in line and "pip install '.[openvino]'" in line for line in lines)


# In the place of the package that reports: it only says that it was asked to.
_REPORTER = """
class Telemetry:
    def __init__(self, *_, **__): pass
    def send_event(self, *values, **_): print("reported", *values)
"""


def _plant_reporter(folder: Path) -> None:
    for package, content in (("openvino_telemetry", _REPORTER), ("openvino_telemetry/backend", "")):
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text(content)
    (folder / "openvino_telemetry" / "backend" / "backend_ga4.py").write_text("")


@pytest.mark.parametrize(
    "use",
    [
        "from runtime import Target; assert Target.parse('cpu-openvino-fp32').missing() is None",
        "from runtime import list_targets; list_targets()",
        "from runtime.requirements.openvino import import_openvino; import_openvino().Core()",
        "from runtime.requirements.openvino import mute_telemetry; mute_telemetry(); import openvino",
    ],
    ids=["missing", "list", "import", "muted"],
)
def test_using_openvino_reports_nothing(tmp_path: Path, use: str) -> None:
    pytest.importorskip("openvino")
    _plant_reporter(tmp_path)
    done = _run(use, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "reported" not in done.stdout


def test_openvino_left_to_itself_would_report(tmp_path: Path) -> None:
    """The planted fault; should it ever stop to, `mute_telemetry` may go."""
    pytest.importorskip("openvino")
    _plant_reporter(tmp_path)
    assert "reported ov import" in _run("import openvino", tmp_path).stdout


def test_this_machine_has_an_intel_gpu_or_says_what_is_missing() -> None:
    pytest.importorskip("openvino")
    assert missing_for_openvino() is None
    assert import_openvino().Core().available_devices
    missing = missing_for_intel_gpu()
    if missing is None:
        assert intel_gpu_name()
        return
    assert "OpenVINO finds no Intel GPU here, only CPU" in missing.what
    with pytest.raises(TargetError, match=r"finds no Intel GPU here.*compute runtime"):
        intel_gpu_name()

"""The rules of the house: what may import what, what is public, how long a file may be."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.zoo import zoo_configs
from search.config import Plan

ROOT = Path(__file__).parent.parent
ROOMS = ("runtime", "models", "tasks", "training", "export", "search", "serving", "monitoring", "millisight")
LONGEST = 400

PACKAGES = sorted(
    ".".join(path.parent.relative_to(ROOT).parts) for room in ROOMS for path in (ROOT / room).rglob("__init__.py")
)


def test_the_rooms_import_only_what_they_may() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


BLOCKED = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "safetensors"):
            raise AssertionError(f"{name} was imported")

sys.meta_path.insert(0, NoTorch())
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
assert "torch" not in sys.modules
"""


def run_without_torch(*modules: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCKED, *modules]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def modules_of(room: str) -> list[str]:
    paths = (ROOT / room).rglob("*.py")
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths)
    return sorted(name.removesuffix(".__init__") for name in names if not name.endswith("__main__"))


def test_serving_runtime_and_tasks_do_without_torch() -> None:
    result = run_without_torch(*modules_of("runtime"), *modules_of("tasks"), *modules_of("serving"))
    assert result.returncode == 0, result.stderr[-3000:]


def test_a_room_that_needs_torch_would_be_seen() -> None:
    result = run_without_torch("models")
    assert result.returncode != 0
    assert "torch was imported" in result.stderr


@pytest.mark.parametrize("name", PACKAGES)
def test_public_names_exist_and_are_sorted_out(name: str) -> None:
    package = importlib.import_module(name)
    assert package.__doc__
    public = list(getattr(package, "__all__", []))
    assert len(set(public)) == len(public)
    missing = [entry for entry in public if not hasattr(package, entry)]
    assert not missing


def test_every_room_is_typed_and_says_what_it_offers() -> None:
    for room in ROOMS:
        assert (ROOT / room / "py.typed").is_file(), room


def test_no_file_is_too_long_to_read() -> None:
    folders = (*ROOMS, "benchmarks", "tests")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


@pytest.mark.parametrize("name", sorted(zoo_configs("DATA")))
def test_every_bundle_of_the_zoo_has_a_valid_plan(name: str) -> None:
    config = zoo_configs("DATA")[name]
    plan = Plan(config)
    expected = plan.task.name if plan.task.scale == 1 else f"{plan.task.name}-x{plan.task.scale}"
    assert expected == name
    assert config.budget_ms is not None
    assert config.data_note
    assert plan.space.candidates(plan.space_config)

import pytest

from models import get_space
from search import METHODS, SearchError, get_method, get_preset, presets
from search.config import Plan, RunConfig
from search.relaxation import relaxations
from tasks import TASKS

TARGET = "cpu-onnxruntime-fp32-1t"


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_method_names_what_exists(method: object) -> None:
    entry = next(found for found in METHODS if found is method)
    assert get_method(entry.name) is entry
    assert entry.relaxation.name in relaxations()
    assert get_space(entry.space).name == entry.space
    assert set(entry.tasks) <= {task.name for task in TASKS}
    assert entry.summary
    assert entry.reference


def test_names_are_unique() -> None:
    assert len({method.name for method in METHODS}) == len(METHODS)


def test_an_unknown_method_lists_what_is_known() -> None:
    with pytest.raises(SearchError, match="unknown method 'enas'; known: autoderain, darts"):
        get_method("enas")


@pytest.mark.parametrize("preset", sorted(presets()))
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.name}-x{task.scale}")
def test_every_method_and_preset_makes_a_plan_for_every_task(preset: str, method: object, task: object) -> None:
    entry = next(found for found in METHODS if found is method)
    chosen = next(found for found in TASKS if found is task)
    scale = chosen.scale if chosen.scale > 1 else None
    plan = Plan(RunConfig(task=chosen.name, scale=scale, method=entry.name, preset=preset, target=TARGET))
    assert plan.space_config.scale == chosen.scale
    assert plan.preset.name == preset
    assert plan.preset.summary


def test_an_unknown_preset_lists_what_is_known() -> None:
    with pytest.raises(SearchError, match="unknown preset 'huge'; known: smoke, default, thorough"):
        get_preset("huge")

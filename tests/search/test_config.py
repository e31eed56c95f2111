import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from models import ModelError
from runtime import MillisightError, TargetError
from runtime.target import TARGETS
from search import RunConfig, RunError, SearchError, run_config
from search.config import Plan, open_run

TARGET = "cpu-onnxruntime-fp32-1t"


def config(**values: Any) -> RunConfig:
    return RunConfig.model_validate({"task": "denoise", "target": TARGET, "preset": "smoke", **values})


@pytest.mark.parametrize(
    "wrong",
    [
        {"budget": 20},
        {"budget_ms": 0},
        {"budget_ms": -1.0},
        {"budget_ms": math.inf},
        {"budget_ms": math.nan},
        {"budget_ms": ()},
        {"budget_ms": (5.0, 5.0)},
        {"budget_ms": (5.0, -5.0)},
        {"height": 8},
        {"width": 0},
        {"seed": -1},
        {"method": 3},
        {"complexity": "size"},
        {"relaxations": {"depth": "softmax"}},
    ],
)
def test_unknown_keys_and_values_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        config(**wrong)


@pytest.mark.parametrize("part", ["search", "train"])
def test_unknown_overrides_are_refused(part: str) -> None:
    with pytest.raises(ValidationError, match="stepps"):
        Plan(config(**{part: {"stepps": 3}}))


def test_overrides_and_seed_reach_the_stages() -> None:
    plan = Plan(config(seed=7, search={"steps": 3}, train={"steps": 5, "seed": 9}))
    assert (plan.preset.search.steps, plan.preset.search.seed) == (3, 7)
    assert (plan.preset.train.steps, plan.preset.train.seed) == (5, 9)
    assert Plan(config()).preset.search.steps != 3


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({"task": "dehaze"}, MillisightError, "unknown task 'dehaze'"),
        ({"task": "super-resolution"}, MillisightError, "needs a scale: 2, 4"),
        ({"scale": 2}, MillisightError, "denoise has no scale 2"),
        ({"scale": 1}, RunError, "scale 1 is no scale; leave it out"),
        ({"complexity": "none", "search": {"price_max": 2.0}}, RunError, "price_max have no effect with complexity"),
        ({"method": "enas"}, SearchError, "unknown method"),
        ({"preset": "huge"}, SearchError, "unknown preset 'huge'; method autoderain has smoke"),
        ({"relaxations": {"width": "hard"}}, SearchError, "unknown relaxation hard; known: softmax"),
        ({"relaxations": {"exit": "softmax"}}, SearchError, "has no choices of kind exit; it has operation, width"),
        ({"method": "hinas", "relaxations": {"route": "proximal"}}, SearchError, "kind route cannot"),
        ({"target": "cuda-tensorrt-int4"}, TargetError, "Targets that exist"),
    ],
)
def test_unknown_names_are_refused(values: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Plan(config(**values))


@pytest.mark.parametrize("kind", TARGETS)
def test_every_target_can_be_searched_for_but_those_in_int8(kind: str) -> None:
    """Tables are measured on random weights, which nothing can be calibrated on."""
    if not kind.endswith("-int8"):
        assert Plan(config(target=kind)).target.kind == kind
        return
    other = kind.replace("int8", "fp32")
    with pytest.raises(RunError, match=rf"search on {kind} is not possible: .* search on {other}, then `millisight ex"):
        Plan(config(target=kind))


def test_ids_differ_when_anything_differs_and_are_readable() -> None:
    others = [
        config(), config(seed=1), config(budget_ms=3.0), config(width=256), config(train={"steps": 9}),
        config(complexity="flops"), config(relaxations={"width": "gumbel"}), config(teacher="runs/x/bundle"),
        config(elsewhere=True),
    ]  # fmt: skip
    assert len({other.id for other in others}) == len(others)
    assert config().id == config().id
    assert config().id.startswith("denoise-autoderain-smoke-")
    assert RunConfig(task="super-resolution", scale=4, target=TARGET).id.startswith("super-resolution-x4-")


def test_ids_are_pinned() -> None:
    """The id names the folder of a run: one that changes silently orphans an interrupted run."""
    assert config().id == "denoise-autoderain-smoke-9be15c6e"


def test_what_is_here_is_written_as_before_and_what_is_elsewhere_says_so() -> None:
    here, elsewhere = config(), config(elsewhere=True)
    assert "elsewhere" not in here.model_dump(mode="json")
    assert elsewhere.model_dump(mode="json") == {**here.model_dump(mode="json"), "elsewhere": True}
    assert RunConfig.model_validate_json(elsewhere.model_dump_json()) == elsewhere


def test_a_folder_belongs_to_one_config(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    open_run(config(), folder)
    open_run(config(), folder)
    with pytest.raises(RunError, match="holds a run with another budget_ms, seed; choose another folder, or delete it"):
        open_run(config(seed=1, budget_ms=9.0), folder)


def test_a_family_is_a_run_of_its_own_and_a_family_of_one_is_not() -> None:
    assert config(budget_ms=(5.0,)) == config(budget_ms=5.0) == config(budget_ms=5)
    assert config(budget_ms=[20.0, 5.0]) == config(budget_ms=(5.0, 20.0))
    assert len({config(budget_ms=ms).id for ms in (None, 5.0, 20.0, (5.0, 20.0))}) == 4
    assert [config(budget_ms=ms).budgets_ms for ms in (None, 5.0, (20.0, 5.0))] == [(), (5.0,), (5.0, 20.0)]


def test_what_a_user_said_wrong_is_named() -> None:
    assert run_config(task="denoise", target=TARGET) == RunConfig(task="denoise", target=TARGET)
    with pytest.raises(RunError, match=r"height: .* greater than or equal to 16, got 8"):
        run_config(task="denoise", target=TARGET, height=8)


def test_a_size_that_networks_take_only_padded_is_refused_with_the_next_one() -> None:
    Plan(config(height=64, width=32)).require_size()
    with pytest.raises(RunError, match=r"size 65x50: .* multiples of (\d+) pixels, .* be one for 68x52; ask for that"):
        Plan(config(height=50, width=65)).require_size()
    Plan(config(height=50, width=65, method="hinas")).require_size()  # these networks take any size


def test_height_comes_first_inside() -> None:
    assert Plan(config(height=32, width=64)).size == (32, 64)


def test_sizes_that_do_not_fit_the_space_are_refused() -> None:
    plan = Plan(config())
    with pytest.raises(ModelError, match="channels"):
        plan.space.parse_config({"channels": (7,)})


def test_relaxations_of_a_run_replace_those_of_the_method() -> None:
    plan = Plan(config(relaxations={"width": "softmax"}))
    assert {kind: entry.name for kind, entry in plan.relaxations.items()} == {
        "operation": "proximal",
        "width": "softmax",
    }


def test_the_task_gives_way_to_the_preset_and_what_is_searched_to_the_search() -> None:
    """HiNAS in preset paper: sizes of the task, then of the preset; half the channels in the supernet alone."""
    plan = Plan(config(method="hinas", preset="paper", task="super-resolution", scale=4))
    derived, searched = plan.space_config.model_dump(), plan.searched_config.model_dump()
    assert (derived["scale"], derived["layers"], derived["channels"], searched["channels"]) == (4, 2, 16, 8)
    assert {name for name in derived if derived[name] != searched[name]} == {"channels"}
    small = Plan(config(method="hinas", preset="smoke", task="super-resolution", scale=4))
    assert small.space_config.model_dump()["layers"] == 1
    assert small.searched_config == small.space_config


def test_a_run_reads_back_the_same(tmp_path: Path) -> None:
    wanted = config(
        relaxations={"width": "gumbel"}, complexity="paper", teacher="x", search={"steps": 4}, budget_ms=(5.0, 10.0)
    )  # fmt: skip
    open_run(wanted, tmp_path)
    assert RunConfig.model_validate_json((tmp_path / "config.json").read_text()) == wanted

"""Puts counted sizes and settings into docs/methods.md: `python -m benchmarks.methods_page`. A test holds it to them.

Sizes are those of `millisight methods --json`; settings are read from each method's recipes.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.blocks import fill_blocks
from benchmarks.results import Row, markdown
from search import METHODS, Method, Preset, method_facts, paper_task
from search.settings import SearchConfig
from tasks import Task, get_task
from training.losses import LossTerm
from training.optimizers import OptimizerConfig
from training.schedule import ScheduleConfig

PAGE = Path(__file__).parent.parent / "docs" / "methods.md"
SHOWN = ("quick", "default", "paper")
FURTHER: Mapping[str, tuple[tuple[str, Task], ...]] = {
    # Recipes that depend on the task.
    "hinas": (("paper", get_task("super-resolution", 4)),),
    "clearer": (("paper", get_task("derain")),),
}


def fill(text: str) -> str:
    """The page with every marked block made anew.

    Raises:
        ValueError: The page lacks a block.
    """
    blocks: dict[str, Callable[[], str]] = {"sizes": _sizes}
    blocks |= {f"settings-{method.name}": partial(_settings, method) for method in METHODS}
    return fill_blocks(text, blocks.items(), PAGE)


def _sizes() -> str:
    rows: list[Row] = []
    for method in METHODS:
        facts = method_facts(method)
        choices = ", ".join(f"{count} x {kind} of {most}" for kind, (count, most) in facts.choices.items())
        rows.append(
            {
                "method": method.name,
                "task": facts.task,
                "choices": choices,
                "networks": f"{facts.networks:,}" if facts.networks < 10**9 else f"{facts.networks:.2e}",
                "supernet": f"{facts.supernet_parameters:,}",
                "derived networks": f"{facts.smallest:,} to {facts.largest:,}",
            }
        )
    return f"{markdown(rows)}\n\n(parameters; published sizes, preset `paper`; `millisight methods --json`)"


def _settings(method: Method) -> str:
    """One column per preset."""
    task = paper_task(method)
    columns = [(name, task) for name in SHOWN]
    columns += FURTHER.get(method.name, ())
    described = {
        f"{name}, {_task(t)}" if name == "paper" else name: _described(method, method.preset(name, t))
        for name, t in columns
    }
    rows: list[Row] = []
    for line in next(iter(described.values())):
        cells = {"": line, **{column: values[line] for column, values in described.items()}}
        if any(values[line] not in ("", "-") for values in described.values()):
            rows.append(cells)
    return markdown(rows)


def _described(method: Method, preset: Preset) -> dict[str, str]:
    search, train = preset.search, preset.train
    return {
        "sizes that differ from the space's own": _pairs(preset.space_config) or "none",
        "sizes of the supernet alone": _pairs(preset.searched_space) or "-",
        "relaxed otherwise": ", ".join(f"{kind}: {name}" for kind, name in preset.relaxations.items()) or "-",
        "search: steps": f"{search.warmup:,} of weights alone, {search.steps:,} of both",
        "search: batch": f"{search.batch} of {search.patch} px" + (", all severities of each" * search.versions),
        "search: loss": _loss(search.loss),
        "search: weights": _optimiser(search.weights, search.schedule) + _clipped(search.clip_norm, None),
        "search: choices": _optimiser(search.choices),
        "search: further": _further(method, search) or "-",
        "training: steps": f"{train.steps:,}",
        "training: batch": f"{train.batch} of {train.patch} px" + (", all severities of each" * preset.train_versions),
        "training: loss": _loss(train.loss),
        "training: weights": _optimiser(train, train) + _clipped(train.clip_norm, train.clip_value),
        "training: average": f"decay {train.ema_decay:g}" if train.ema_decay else "none",
    }


def _task(task: Task) -> str:
    return task.name + (f" x{task.scale}" if task.scale > 1 else "")


def _pairs(values: Mapping[str, Any]) -> str:
    def text(value: object) -> str:
        return "/".join(str(v) for v in value) if isinstance(value, list | tuple) else str(value)

    return ", ".join(f"{name} {text(value)}" for name, value in values.items())


def _loss(terms: Sequence[LossTerm]) -> str:
    return " + ".join(
        (f"{term.weight:.3g} " if term.weight != 1 else "")
        + term.name
        + (f" (from {term.start:.3g} of the run)" if term.start else "")
        for term in terms
    )


def _optimiser(optimiser: OptimizerConfig, schedule: ScheduleConfig | None = None) -> str:
    parts = [f"{optimiser.optimizer} {optimiser.lr:g}"]
    parts += [f"decay {optimiser.weight_decay:g}"] if optimiser.weight_decay else []
    if schedule is not None:
        match schedule.schedule:
            case "milestones":
                parts.append("halved at " + ", ".join(f"{mark:g}" for mark in schedule.milestones))
            case "poly":
                parts.append(f"poly {schedule.poly_power:g}")
            case name:
                parts.append(name + (f" to {schedule.floor:g} of it" if schedule.floor else ""))
    return ", ".join(parts)


def _clipped(norm: float | None, value: float | None) -> str:
    return (f", norm clipped at {norm:g}" if norm else "") + (f", values clipped at {value:g}" if value else "")


def _further(method: Method, search: SearchConfig) -> str:
    one_path = "proximal" in method.relaxations.values()
    parts = {
        f"explores with probability {search.explore:g}": one_path and search.explore,
        f"entropy {search.entropy:.3g}": search.entropy,
        f"order {search.order:g} ({search.order_form})": search.order,
        f"sandwich of {search.sandwich + 2} widths": search.sandwich,
        "choices in eval mode": search.architecture_in_eval,
    }
    return ", ".join(text for text, on in parts.items() if on)


if __name__ == "__main__":
    PAGE.write_text(fill(PAGE.read_text()))

"""What a search method is: a space, how its choices are relaxed, what it adds, and its recipes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from models import ChoiceKind, Space, SpaceConfig, Supernet, get_space
from search.complexity import Complexity
from search.errors import SearchError
from search.presets import Preset
from search.relaxation import Relaxation, relaxations
from tasks import TASKS, Task

PROBED: tuple[ChoiceKind, ...] = ("operation", "width")
"""Kinds of choices whose candidates can be run one at a time inside the backward pass."""


@dataclass(frozen=True)
class Searched:
    """What a paper's own complexity term may need to know.

    Attributes:
        space: The space.
        config: Of the network that will be derived.
        supernet: What is searched.
    """

    space: Space[Any]
    config: SpaceConfig
    supernet: Supernet


@dataclass(frozen=True)
class Method:
    """One search system.

    Attributes:
        name: What `--method` takes.
        summary: One line for people.
        reference: The paper.
        reconstruction: What of it is our reconstruction; empty if nothing is.
        space: Name of its space.
        paper_tasks: Tasks that the paper treats. Every space does every task; these come first.
        relaxations: Kind of choice -> name of a relaxation.
        initial_weights: The derived network starts from the supernet's weights or from scratch.
        paper_complexity: Makes the paper's own complexity term.
        recipes: Task -> presets, each under its name.
    """

    name: str
    summary: str
    reference: str
    reconstruction: str
    space: str
    paper_tasks: tuple[str, ...]
    relaxations: Mapping[ChoiceKind, str]
    initial_weights: Literal["inherited", "scratch"]
    paper_complexity: Callable[[Searched], Complexity]
    recipes: Callable[[Task], tuple[Preset, ...]]

    @property
    def tasks(self) -> tuple[str, ...]:
        """All tasks that it can search for, the paper's first."""
        return tuple(dict.fromkeys((*self.paper_tasks, *(task.name for task in TASKS))))

    def preset(self, name: str, task: Task) -> Preset:
        """A preset for a task.

        Raises:
            SearchError: The method has none of this name.
        """
        known = {preset.name: preset for preset in self.recipes(task)}
        if name not in known:
            raise SearchError(f"unknown preset {name!r}; method {self.name} has {', '.join(known)}")
        return known[name]

    def space_configs(self, preset: Preset, task: Task) -> tuple[SpaceConfig, SpaceConfig]:
        """The config that is priced, derived and trained, and the one that is searched.

        A preset may override what the task fixes.

        Raises:
            GenotypeError: The preset's sizes do not fit the space.
        """
        space = get_space(self.space)
        values = {**space.task_config(task.scale), **preset.space_config}
        return space.parse_config(values), space.parse_config({**values, **preset.searched_space})

    def relaxation_of(self, overrides: Mapping[ChoiceKind, str]) -> dict[ChoiceKind, Relaxation]:
        """Kind of choice -> relaxation object, with some kinds relaxed otherwise.

        Raises:
            SearchError: A relaxation is unknown, the method has no choices of a kind, or they cannot be relaxed so.
        """
        known = relaxations()
        foreign = sorted(set(overrides) - set(self.relaxations))
        if foreign:
            raise SearchError(
                f"method {self.name} has no choices of kind {', '.join(foreign)}; it has {', '.join(self.relaxations)}"
            )
        chosen = {**self.relaxations, **overrides}
        unknown = sorted(set(chosen.values()) - set(known))
        if unknown:
            raise SearchError(f"unknown relaxation {', '.join(unknown)}; known: {', '.join(known)}")
        for kind, name in chosen.items():
            if known[name].probes and kind not in PROBED:
                able = ", ".join(other for other, relaxation in known.items() if not relaxation.probes)
                raise SearchError(
                    f"relaxation {name} probes candidates that did not run, which choices of kind {kind} cannot; "
                    f"choose one of {able}"
                )
        return {kind: known[name] for kind, name in chosen.items()}

"""What a run is asked to do, and the folder that holds it."""

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
)

from models import ChoiceKind, Space, content_hash, get_space
from runtime import Target
from search.budget import check_budgets, round_up
from search.complexity import ComplexityName
from search.errors import BudgetError, RunError
from search.files import write_json
from search.methods import Method, get_method
from search.presets import Preset
from search.relaxation import Relaxation
from tasks.task import Task, get_task


class RunConfig(BaseModel):
    """One run, from latency table to bundle.

    Attributes:
        task: Name of the task.
        scale: 2 or 4 for super-resolution, None otherwise.
        method: Name of the search method.
        target: Full slug, threads included.
        budget_ms: Milliseconds for one `height` x `width` input; several ask for a family, one network each, from one
            search (kept in rising order; a family of one is the same run as its number). None picks a third of the way
            from the fastest to the slowest network of the space.
        height: Of the budget's input, and of the tiles that the bundle is served with.
        width: Likewise.
        preset: Name of one of the method's presets.
        complexity: What the search pays for slow networks; derivation keeps the budget in any case.
        data: Folders of images (see `tasks.sources.load_data`); None for the embedded ones.
        data_note: What the model card says about `data`.
        seed: Of everything random.
        device: Where torch runs: auto, cpu or cuda.
        teacher: Folder of a bundle whose output is the target of the search and the training instead of the clean
            picture (distillation).
        search: Overrides of the preset's search settings.
        train: Overrides of the preset's training settings.
        relaxations: Kinds of choices to relax otherwise than the preset and the method do.
        elsewhere: The target is on another device, which the latency table was carried home from: nothing is timed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str
    scale: int | None = None
    method: str = "autoderain"
    target: str
    budget_ms: float | tuple[float, ...] | None = None
    height: int = Field(default=512, ge=16)
    width: int = Field(default=512, ge=16)
    preset: str = "default"
    complexity: ComplexityName = "latency"
    data: str | None = None
    data_note: str = ""
    seed: int = Field(default=0, ge=0)
    device: str = "auto"
    teacher: str | None = None
    search: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)
    relaxations: dict[ChoiceKind, str] = Field(default_factory=dict)
    elsewhere: bool = False

    @field_validator("budget_ms")
    @classmethod
    def _checked_budgets(cls, value: float | tuple[float, ...] | None) -> float | tuple[float, ...] | None:
        if value is None:
            return None
        try:
            found = check_budgets(value if isinstance(value, tuple) else (value,))
        except BudgetError as error:
            raise ValueError(str(error)) from error
        return found if len(found) > 1 else found[0]

    @model_serializer(mode="wrap")
    def _as_before(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Said only where it is so: the ids and files of runs from before there was a choice stay what they are.
        content: dict[str, Any] = plain(self)
        if not self.elsewhere:
            content.pop("elsewhere", None)
        return content

    @property
    def budgets_ms(self) -> tuple[float, ...]:
        """All budgets in rising order; empty if none is given."""
        if self.budget_ms is None:
            return ()
        return self.budget_ms if isinstance(self.budget_ms, tuple) else (self.budget_ms,)

    @property
    def id(self) -> str:
        """Name of the run's folder: readable, and different for different configs."""
        scale = f"-x{self.scale}" if self.scale else ""
        return f"{self.task}{scale}-{self.method}-{self.preset}-{content_hash(self.model_dump(mode='json'))[:8]}"


def run_config(**values: Any) -> RunConfig:
    """A run config from what a user said.

    Raises:
        RunError: A value is not allowed; names the field and what is wrong with it.
    """
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        wrong = (
            f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}, got {entry['input']!r}" for entry in error.errors()
        )
        raise RunError("; ".join(wrong)) from error


class Plan:
    """A run config with every name looked up.

    Raises:
        MillisightError: An unknown name, a setting out of range, or one that would have no effect.
        ModelError: The preset's sizes do not fit the space.
    """

    def __init__(self, config: RunConfig) -> None:
        _refuse_unused(config)
        self.config = config
        self.task: Task = get_task(config.task, config.scale)
        self.method: Method = get_method(config.method)
        self.preset: Preset = _overridden(self.method.preset(config.preset, self.task), config)
        self.target = _searchable(Target.parse(config.target))
        self.relaxations: dict[ChoiceKind, Relaxation] = self.method.relaxation_of(
            {**self.preset.relaxations, **config.relaxations}
        )
        self.space: Space[Any] = get_space(self.method.space)
        self.space_config, self.searched_config = self.method.space_configs(self.preset, self.task)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the budget."""
        return self.config.height, self.config.width

    def require_size(self) -> None:
        """Check that the networks of the space take an input of the budget's size as it is.

        Raises:
            RunError: They would have to be given a padded one, whose milliseconds are others; names the next sizes.
        """
        space, config = self.space, self.space_config
        with torch.device("meta"):
            multiple = space.build(space.genotype(config, space.reference_picks(config))).multiple
        if any(side % multiple for side in self.size):
            height, width = (round_up(side, multiple) for side in self.size)
            raise RunError(
                f"size {self.size[1]}x{self.size[0]}: networks of space {space.name} take multiples of {multiple} "
                f"pixels, so a budget for that size would be one for {width}x{height}; ask for that"
            )


def _searchable(target: Target) -> Target:
    """A target that latency tables can be measured for.

    Raises:
        RunError: It computes in int8: a table times graphs with random weights, before there is anything to calibrate.
    """
    if target.precision != "int8":
        return target
    raise RunError(
        f"a search on {target.kind} is not possible: an int8 network exists only once a trained one is calibrated; "
        f"search on {target.backend}-fp32, then `millisight export` makes the int8 file and gates it"
    )


def _refuse_unused(config: RunConfig) -> None:
    """Whatever a config says must have an effect."""
    if config.scale == 1:
        raise RunError(f"scale 1 is no scale; leave it out (task {config.task})")
    unused = sorted({"price_rate", "price_max"} & config.search.keys())
    if unused and config.complexity in ("paper", "none"):
        raise RunError(
            f"search settings {', '.join(unused)} have no effect with complexity {config.complexity}; leave them out, "
            "or choose latency, parameters or flops"
        )


def _overridden(preset: Preset, config: RunConfig) -> Preset:
    seed = {"seed": config.seed}
    search = type(preset.search).model_validate({**preset.search.model_dump(), **seed, **config.search})
    train = type(preset.train).model_validate({**preset.train.model_dump(), **seed, **config.train})
    return preset.model_copy(update={"search": search, "train": train})


def open_run(config: RunConfig, folder: Path) -> None:
    """Create the run's folder, or check that it belongs to this very config.

    Raises:
        RunError: The folder holds a run with another config.
    """
    path = folder / "config.json"
    wanted = config.model_dump(mode="json")
    if path.is_file():
        found = json.loads(path.read_text())
        different = sorted(key for key in {*wanted, *found} if wanted.get(key) != found.get(key))
        if different:
            raise RunError(
                f"{folder} holds a run with another {', '.join(different)}; choose another folder, or delete it"
            )
        return
    write_json(path, wanted)

"""What a run is asked to do, and the folder that holds it."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from models import Space, SpaceConfig, content_hash, get_space
from runtime import Target
from search.errors import RunError
from search.files import write_json
from search.methods import Method, get_method
from search.presets import Preset, get_preset
from tasks.task import Task, get_task


class RunConfig(BaseModel):
    """One run, from latency table to bundle.

    Attributes:
        task: Name of the task.
        scale: 2 or 4 for super-resolution, None otherwise.
        method: Name of the search method.
        target: Full slug, threads included.
        budget_ms: Milliseconds for one `height` x `width` input; None picks a third of the way from the fastest to the
            slowest network of the space.
        height: Of the budget's input, and of the tiles that the bundle is served with.
        width: Likewise.
        preset: Name of the preset.
        data: Folders of images (see `tasks.sources.load_data`); None for the embedded ones.
        data_note: What the model card says about `data`.
        seed: Of everything random.
        device: Where torch runs: auto, cpu or cuda.
        search: Overrides of the preset's search settings.
        train: Overrides of the preset's training settings.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str
    scale: int | None = None
    method: str = "autoderain"
    target: str
    budget_ms: float | None = Field(default=None, gt=0)
    height: int = Field(default=512, ge=16)
    width: int = Field(default=512, ge=16)
    preset: str = "default"
    data: str | None = None
    data_note: str = ""
    seed: int = Field(default=0, ge=0)
    device: str = "auto"
    search: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)

    @property
    def id(self) -> str:
        """Name of the run's folder: readable, and different for different configs."""
        scale = f"-x{self.scale}" if self.scale else ""
        return f"{self.task}{scale}-{self.method}-{self.preset}-{content_hash(self.model_dump(mode='json'))[:8]}"


class Plan:
    """A run config with every name looked up.

    Raises:
        MillisightError: An unknown name, a method that does not do the task, or a setting out of range.
        ModelError: The preset's sizes do not fit the space.
    """

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.task: Task = get_task(config.task, config.scale)
        self.method: Method = get_method(config.method)
        self.preset: Preset = _overridden(get_preset(config.preset), config)
        self.target = Target.parse(config.target)
        if config.task not in self.method.tasks:
            raise RunError(f"method {config.method} does {', '.join(self.method.tasks)}, not {config.task}")
        self.space: Space[Any] = get_space(self.method.space)
        values = {
            **self.preset.space_config,
            **dict(self.method.space_config),
            **self.space.task_config(self.task.scale),
        }
        self.space_config: SpaceConfig = self.space.parse_config(values)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the budget."""
        return self.config.height, self.config.width


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

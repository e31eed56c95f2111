"""Tiny searches on planted tables, for the tests of the searcher."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models import SpaceConfig, Supernet
from search.complexity import (
    Bounds,
    BudgetPrice,
    Complexity,
    DecoupledFlops,
    NoComplexity,
    ParameterProximal,
    WeightedShares,
)
from search.latency.model import LatencyModel
from search.relaxation import relaxations
from search.searcher import Searcher, SearchResult, Steering
from search.settings import SearchConfig
from tasks import BatchStream, Sample, dead_leaves, get_task
from training import load_checkpoint

MakeModel = Callable[..., LatencyModel]
MakeComplexity = Callable[[LatencyModel, Supernet], Complexity]
CPU = torch.device("cpu")
RELAXATIONS = sorted(relaxations())
SIZE = (32, 32)
KINDS = ("operation", "width", "module", "route", "exit")


class KilledError(Exception):
    """Stands for a killed process."""


@dataclass
class Fragile:
    """Batches that raise at one step."""

    stream: BatchStream
    at: int | None = None
    seen: list[int] = field(default_factory=list)

    @property
    def num_versions(self) -> int:
        return self.stream.num_versions

    def batch_at(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.seen.append(step)
        if step == self.at:
            raise KilledError
        return self.stream.batch_at(step)


def stream(offset: int, versions: bool = False) -> BatchStream:
    samples = tuple(Sample(f"s/{i}", dead_leaves(np.random.default_rng([offset, i]), 48)) for i in range(2))
    return BatchStream(get_task("denoise"), samples, patch=16, batch=1, seed=offset, versions=versions)


def settings(**values: Any) -> SearchConfig:
    return SearchConfig.model_validate(
        {"steps": 8, "warmup": 5, "batch": 1, "patch": 16, "checkpoint_every": 3, **values}
    )


def choices_at(rate: float) -> dict[str, Any]:
    return {"optimizer": "adam", "lr": rate, "betas": (0.5, 0.999)}


def under_budget(ms: float) -> MakeComplexity:
    def make(model: LatencyModel, supernet: Supernet) -> Complexity:
        return BudgetPrice(model.expectation(*SIZE), supernet.choices, ms, rate=0.2, limit=5.0)

    return make


def searcher(
    model: LatencyModel,
    relaxation: str | Mapping[str, str],
    config: SearchConfig,
    complexity: MakeComplexity | None = None,
    space_config: SpaceConfig | None = None,
) -> Searcher:
    torch.manual_seed(0)
    space, known = model.space, relaxations()
    chosen = space_config or model.config
    supernet = space.supernet(chosen)
    kinds: dict[Any, str] = dict.fromkeys(KINDS, relaxation) if isinstance(relaxation, str) else dict(relaxation)
    steering = Steering(
        relaxations={kind: known[name] for kind, name in kinds.items()},
        complexity=(complexity or under_budget(20.0))(model, supernet),
        expected_ms=model.expectation(*SIZE),
        exit_paths=space.exit_order(chosen),
    )
    return Searcher(supernet, steering, config, CPU)


def run(
    model: LatencyModel, relaxation: str | Mapping[str, str], folder: Path, weight_kill: int | None = None,
    raw_kill: int | None = None, config: SearchConfig | None = None, **options: Any,
) -> tuple[SearchResult, Fragile]:  # fmt: skip
    folder.mkdir(exist_ok=True)
    config = config or settings()
    weight_batches = Fragile(stream(1, config.versions), weight_kill)
    subject = searcher(model, relaxation, config, **options)
    files = folder / "supernet.safetensors", folder / "search.jsonl"
    return subject.run(weight_batches, Fragile(stream(2, config.versions), raw_kill), *files), weight_batches


def equal(a: SearchResult, b: SearchResult) -> bool:
    ours, theirs = a.supernet.state_dict(), b.supernet.state_dict()
    same = ours.keys() == theirs.keys() and all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    return same and a.probabilities == b.probabilities


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "search.jsonl").read_text().splitlines()]


def resumes_alike(model: LatencyModel, relaxation: str | Mapping[str, str], folder: Path, **options: Any) -> None:
    """Killed at `weight_kill` or `raw_kill` and taken up again, against one that is never killed."""
    kill = {name: options.pop(name) for name in ("weight_kill", "raw_kill") if name in options}
    straight, _ = run(model, relaxation, folder / "a", **options)
    with pytest.raises(KilledError):
        run(model, relaxation, folder / "b", **kill, **options)
    torch.manual_seed(99)
    resumed, batches = run(model, relaxation, folder / "b", **options)
    every = (options.get("config") or settings()).checkpoint_every
    (killed_at,) = kill.values()
    assert batches.seen[0] == killed_at // every * every  # it goes on at the checkpoint, it does not start over
    assert equal(straight, resumed)
    assert (folder / "a" / "search.jsonl").read_text() == (folder / "b" / "search.jsonl").read_text()
    ours, theirs = (load_checkpoint(folder / name / "supernet.safetensors") for name in "ab")
    assert ours[1] == theirs[1]
    assert all(torch.equal(tensor, theirs[0][name]) for name, tensor in ours[0].items())


def decoupled(model: LatencyModel, supernet: Supernet) -> Complexity:
    kinds = {name: choice.kind for name, choice in supernet.choices.items()}
    return DecoupledFlops(model.expectation(*SIZE), kinds, lambda _: 9.0, Bounds(1.0, 2.0), start=0.01, every=2)


def proximal(_: LatencyModel, supernet: Supernet) -> Complexity:
    counts = {name: tuple(range(1, 1 + len(c.candidates))) for name, c in supernet.choices.items()}
    return ParameterProximal(10.0, supernet.choices, counts)


def shares(_: LatencyModel, supernet: Supernet) -> Complexity:
    costs = {name: tuple(range(len(c.candidates))) for name, c in supernet.choices.items()}
    return WeightedShares(10.0, costs, {name: c.kind for name, c in supernet.choices.items()})


COMPLEXITIES: dict[str, MakeComplexity] = {
    "budget": under_budget(5.0),
    "none": lambda *_: NoComplexity(),
    "shares": shares,
    "proximal": proximal,
    "decoupled": decoupled,
}

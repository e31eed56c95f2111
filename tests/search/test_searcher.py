"""Tiny searches on planted tables: pressure works, killed searches end alike, foreign checkpoints are refused."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import search.searcher
from models import OpKey
from search import Budget, SearchError
from search.latency.model import LatencyModel
from search.relaxation import relaxations
from search.searcher import SearchConfig, Searcher, SearchResult
from tasks import BatchStream, Sample, dead_leaves, get_task
from training import load_checkpoint, save_checkpoint

MakeModel = Callable[..., LatencyModel]
CPU = torch.device("cpu")
RELAXATIONS = sorted(relaxations())
SIZE = (32, 32)


class KilledError(Exception):
    """Stands for a killed process."""


@dataclass
class Fragile:
    """Batches that raise at one step."""

    stream: BatchStream
    at: int | None = None
    seen: list[int] = field(default_factory=list)

    def batch_at(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.seen.append(step)
        if step == self.at:
            raise KilledError
        return self.stream.batch_at(step)


def stream(offset: int) -> BatchStream:
    samples = tuple(Sample(f"s/{i}", dead_leaves(np.random.default_rng([offset, i]), 48)) for i in range(2))
    return BatchStream(get_task("denoise"), samples, patch=16, batch=1, seed=offset)


def settings(**values: Any) -> SearchConfig:
    return SearchConfig.model_validate(
        {"steps": 8, "warmup": 5, "batch": 1, "patch": 16, "checkpoint_every": 3, **values}
    )


@pytest.fixture(scope="module")
def model(make_model: MakeModel) -> LatencyModel:
    """The 3x3 convolution costs ten times the separable one."""

    def row(key: OpKey) -> float:
        return {"conv3x3": 10.0, "separable3x3": 1.0}.get(key.operation, 0.5) * key.out_channels / 16

    return make_model(row_ms=row)


def searcher(model: LatencyModel, relaxation: str, config: SearchConfig, budget_ms: float = 20.0) -> Searcher:
    torch.manual_seed(0)
    supernet = model.space.supernet(model.config)
    budget = Budget(budget_ms, *SIZE)
    return Searcher(supernet, relaxations()[relaxation], model.expectation(*SIZE), budget, config, CPU)


def run(
    model: LatencyModel, relaxation: str, folder: Path, weight_kill: int | None = None, raw_kill: int | None = None,
    config: SearchConfig | None = None, **options: Any,
) -> tuple[SearchResult, Fragile]:  # fmt: skip
    folder.mkdir(exist_ok=True)
    weight_batches = Fragile(stream(1), weight_kill)
    subject = searcher(model, relaxation, config or settings(), **options)
    files = folder / "supernet.safetensors", folder / "search.jsonl"
    return subject.run(weight_batches, Fragile(stream(2), raw_kill), *files), weight_batches


def equal(a: SearchResult, b: SearchResult) -> bool:
    ours, theirs = a.supernet.state_dict(), b.supernet.state_dict()
    same = ours.keys() == theirs.keys() and all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    return same and a.probabilities == b.probabilities


@pytest.mark.parametrize("relaxation", RELAXATIONS)
@pytest.mark.parametrize("kill", [(4, None), (None, 9), (12, None)])
def test_killed_and_resumed_ends_alike(
    model: LatencyModel, relaxation: str, kill: tuple[int | None, int | None], tmp_path: Path
) -> None:
    straight, _ = run(model, relaxation, tmp_path / "a")
    with pytest.raises(KilledError):
        run(model, relaxation, tmp_path / "b", *kill)
    torch.manual_seed(99)
    resumed, batches = run(model, relaxation, tmp_path / "b")
    killed_at = next(step for step in kill if step is not None)
    assert batches.seen[0] == killed_at // 3 * 3  # it goes on at the checkpoint, it does not start over
    assert equal(straight, resumed)
    assert (tmp_path / "a" / "search.jsonl").read_text() == (tmp_path / "b" / "search.jsonl").read_text()
    ours, theirs = (load_checkpoint(tmp_path / name / "supernet.safetensors") for name in "ab")
    assert ours[1] == theirs[1]
    assert all(torch.equal(tensor, theirs[0][name]) for name, tensor in ours[0].items())


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_forgetting_the_price_is_seen(model: LatencyModel, relaxation: str, tmp_path: Path) -> None:
    """The planted fault of the test above: a checkpoint that lost one number."""
    straight, _ = run(model, relaxation, tmp_path / "a", budget_ms=5.0)
    with pytest.raises(KilledError):
        run(model, relaxation, tmp_path / "b", weight_kill=10, budget_ms=5.0)
    path = tmp_path / "b" / "supernet.safetensors"
    tensors, meta = load_checkpoint(path)
    assert meta["price"] > 0
    save_checkpoint(path, tensors, {**meta, "price": 0.0})
    resumed, _ = run(model, relaxation, tmp_path / "b", budget_ms=5.0)
    assert not equal(straight, resumed)


def test_a_finished_search_is_not_run_again(model: LatencyModel, tmp_path: Path) -> None:
    first, _ = run(model, "proximal", tmp_path / "a")
    log = (tmp_path / "a" / "search.jsonl").read_text()
    again, batches = run(model, "proximal", tmp_path / "a")
    assert batches.seen == []
    assert equal(first, again)
    assert (tmp_path / "a" / "search.jsonl").read_text() == log


def test_a_checkpoint_of_another_search_is_refused(model: LatencyModel, tmp_path: Path) -> None:
    run(model, "proximal", tmp_path / "a", config=settings(steps=1, warmup=1))
    others: tuple[dict[str, Any], ...] = (
        {"config": settings(steps=1, warmup=1, seed=5)},
        {"config": settings(steps=2, warmup=1)},
        {"config": settings(steps=1, warmup=1), "budget_ms": 21.0},
    )
    for other in others:
        with pytest.raises(SearchError, match="belongs to a search with other settings or data; choose another folder"):
            run(model, "proximal", tmp_path / "a", **other)
    with pytest.raises(SearchError, match="other settings"):
        run(model, "softmax", tmp_path / "a", config=settings(steps=1, warmup=1))
    same = searcher(model, "proximal", settings(steps=1, warmup=1))
    files = tmp_path / "a" / "supernet.safetensors", tmp_path / "a" / "search.jsonl"
    with pytest.raises(SearchError, match="other settings or data"):
        same.run(stream(1), stream(2), *files, identity="another table")


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_a_tight_budget_ends_cheaper_than_a_loose_one(model: LatencyModel, relaxation: str, tmp_path: Path) -> None:
    config = settings(steps=40, warmup=5, raw_lr=0.05, price_rate=0.2, checkpoint_every=5)

    def search(budget_ms: float, folder: Path) -> tuple[float, list[dict[str, float]]]:
        result, _ = run(model, relaxation, folder, config=config, budget_ms=budget_ms)
        lines = [json.loads(line) for line in (folder / "search.jsonl").read_text().splitlines()]
        argmax = {choice: max(entry, key=lambda name: entry[name]) for choice, entry in result.probabilities.items()}
        return model.predict(argmax, *SIZE).ms, lines

    tight, under_pressure = search(8.0, tmp_path / "tight")
    loose, at_ease = search(1000.0, tmp_path / "loose")
    assert tight < loose
    assert all(line["price"] == 0 for line in at_ease)
    prices = [line["price"] for line in under_pressure]
    assert max(prices) > 0
    expected = [line["expected_ms"] for line in under_pressure if line["expected_ms"] is not None]
    assert expected[-1] <= 8.0 * 1.1  # dual ascent arrives at the budget
    assert expected[-1] < 0.6 * min(line["expected_ms"] for line in at_ease if line["expected_ms"] is not None)


def test_the_price_falls_back_when_the_network_is_under_budget(model: LatencyModel, tmp_path: Path) -> None:
    config = settings(steps=80, warmup=2, raw_lr=0.1, price_rate=0.5, checkpoint_every=4, price_max=2.0)
    run(model, "softmax", tmp_path / "a", config=config, budget_ms=9.0)
    prices = [json.loads(line)["price"] for line in (tmp_path / "a" / "search.jsonl").read_text().splitlines()]
    assert max(prices) <= 2.0
    top = int(np.argmax(prices))
    assert min(prices[top:]) < 0.5 * prices[top]


def test_warm_up_trains_weights_only(model: LatencyModel, tmp_path: Path) -> None:
    fresh = searcher(model, "proximal", settings()).probabilities()
    weights = Fragile(stream(1), 5)
    raw = Fragile(stream(2))
    files = tmp_path / "s.safetensors", tmp_path / "s.jsonl"
    subject = searcher(model, "proximal", settings())
    with pytest.raises(KilledError):
        subject.run(weights, raw, *files)
    assert raw.seen == [5]
    tensors, meta = load_checkpoint(files[0])
    assert (meta["step"], meta["price"]) == (3, 0.0)
    for choice, entry in fresh.items():
        shares = relaxations()["proximal"].probabilities(tensors[f"raw.{choice}"])
        assert dict(zip(entry, shares.tolist(), strict=True)) == entry


def test_the_log_says_what_happened(model: LatencyModel, tmp_path: Path) -> None:
    run(model, "proximal", tmp_path / "a")
    lines = [json.loads(line) for line in (tmp_path / "a" / "search.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6, 9, 12, 13]
    assert [line["expected_ms"] is None for line in lines] == [True, False, False, False, False]
    for line in lines:
        assert set(line) == {"step", "loss", "expected_ms", "price", "entropy"}
        assert np.isfinite(line["loss"])
        assert 0 <= line["entropy"] <= 1 + 1e-6


def test_candidates_that_did_not_run_are_not_moved(model: LatencyModel, tmp_path: Path) -> None:
    """Momentum of earlier steps must not drift a resting candidate."""
    config = settings(steps=1, warmup=12, checkpoint_every=1)
    subject = searcher(model, "proximal", config)
    history: list[dict[str, torch.Tensor]] = []
    chosen: list[dict[str, int]] = []

    class Watching:
        def batch_at(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            history.append({n: p.detach().clone() for n, p in subject.supernet.weight_parameters().items()})
            chosen.append({name: choice.selection.active[0] for name, choice in subject.supernet.choices.items()})
            return stream(1).batch_at(step)

    subject.run(Watching(), stream(2), tmp_path / "s.safetensors", tmp_path / "s.jsonl")
    moved = rested = 0
    for before, after, active in zip(history, history[1:], chosen, strict=False):
        for name in before:
            if ".candidates." not in name:
                continue
            owner, candidate = name.split(".candidates.")
            choice = subject.supernet.network.get_submodule(owner).choice
            picked = choice.candidates[active[choice.choice_id]]
            if candidate.startswith(f"{picked}."):
                moved += not torch.equal(before[name], after[name])
            else:
                assert torch.equal(before[name], after[name]), name
                rested += 1
    assert moved > 50
    assert rested > 50


def test_killed_between_log_and_checkpoint_no_line_is_lost_or_doubled(
    model: LatencyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(model, "proximal", tmp_path / "a")
    saved = 0

    def mortal(*arguments: Any) -> None:
        nonlocal saved
        saved += 1
        if saved > 2:
            raise KilledError
        save_checkpoint(*arguments)

    with monkeypatch.context() as fault:
        fault.setattr(search.searcher, "save_checkpoint", mortal)
        with pytest.raises(KilledError):
            run(model, "proximal", tmp_path / "b")
    run(model, "proximal", tmp_path / "b")
    assert (tmp_path / "a" / "search.jsonl").read_text() == (tmp_path / "b" / "search.jsonl").read_text()

"""Killed searches end alike, foreign checkpoints are refused."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import search.searcher
from models import get_space
from search import SearchError
from search.latency.model import LatencyModel
from search.relaxation import relaxations
from tests.search.tiny import (
    COMPLEXITIES,
    RELAXATIONS,
    KilledError,
    MakeModel,
    choices_at,
    equal,
    resumes_alike,
    run,
    searcher,
    settings,
    stream,
)
from training import load_checkpoint, save_checkpoint


@pytest.mark.parametrize(
    ("relaxation", "kill"),
    [("proximal", {"weight_kill": 4}), ("proximal", {"weight_kill": 12}), ("softmax", {"weight_kill": 4})]
    + [(name, {"raw_kill": 9}) for name in RELAXATIONS],
)
def test_killed_and_resumed_ends_alike(
    model: LatencyModel, relaxation: str, kill: dict[str, int], tmp_path: Path
) -> None:
    resumes_alike(model, relaxation, tmp_path, **kill)


@pytest.mark.parametrize("name", sorted(COMPLEXITIES))
def test_killed_and_resumed_ends_alike_whatever_slow_networks_pay(
    model: LatencyModel, name: str, tmp_path: Path
) -> None:
    resumes_alike(model, "softmax", tmp_path, raw_kill=9, complexity=COMPLEXITIES[name])


def test_every_complexity_term_moves_the_choices_in_its_own_way(model: LatencyModel, tmp_path: Path) -> None:
    ends = {
        name: run(model, "softmax", tmp_path / name, complexity=make)[0].probabilities
        for name, make in COMPLEXITIES.items()
    }
    assert len({json.dumps(found) for found in ends.values()}) == len(ends)


# The method's own relaxations, and probing of what is a single layer; every other one is in the slow test. Batch
# normalisation is in the first three.
OTHER_SPACES: tuple[tuple[str, int, Mapping[str, str]], ...] = (
    ("clearer", 0, {"module": "softmax"}),
    ("manas", 0, {"module": "softmax", "operation": "proximal"}),
    ("hinas", 3, {"operation": "softmax"}),
    ("trilevel", 2, {"operation": "sparsestmax", "exit": "sparsestmax", "width": "gumbel"}),
    ("trilevel", 2, {"operation": "sparsestmax-ssn", "exit": "sparsestmax-ordered", "width": "proximal"}),
)


@pytest.mark.parametrize(("name", "number", "kinds"), OTHER_SPACES)
def test_searches_of_every_space_resume_alike(
    name: str, number: int, kinds: Mapping[str, str], make_model: MakeModel, tmp_path: Path
) -> None:
    planted = make_model(get_space(name).examples[number], of=name)
    config = settings(steps=3, warmup=2, checkpoint_every=2, architecture_in_eval=name in ("clearer", "manas"))
    resumes_alike(planted, kinds, tmp_path, raw_kill=3, config=config)


@pytest.mark.slow
@pytest.mark.parametrize("relaxation", [name for name in RELAXATIONS if not relaxations()[name].probes])
@pytest.mark.parametrize("name", ["clearer", "manas", "hinas", "trilevel"])
def test_searches_of_every_space_resume_alike_under_everything(
    name: str, relaxation: str, make_model: MakeModel, tmp_path: Path
) -> None:
    space = get_space(name)
    for number, values in enumerate(space.examples):
        if values["scale"] == 1:
            folder = tmp_path / str(number)
            folder.mkdir()
            config = settings(steps=4, warmup=2, checkpoint_every=2)
            resumes_alike(make_model(values, of=name), relaxation, folder, raw_kill=3, config=config)


@pytest.mark.parametrize("name", ["budget", "decoupled"])
def test_forgetting_what_the_complexity_term_remembers_is_seen(model: LatencyModel, name: str, tmp_path: Path) -> None:
    """The planted fault of the tests above: a checkpoint that lost one number."""
    straight, _ = run(model, "softmax", tmp_path / "a", complexity=COMPLEXITIES[name])
    with pytest.raises(KilledError):
        run(model, "softmax", tmp_path / "b", weight_kill=10, complexity=COMPLEXITIES[name])
    path = tmp_path / "b" / "supernet.safetensors"
    tensors, meta = load_checkpoint(path)
    lost = {"budget": "price", "decoupled": "weight"}[name]
    assert meta["complexity"][lost] > 0
    save_checkpoint(path, tensors, {**meta, "complexity": {**meta["complexity"], lost: 0.0}})
    resumed, _ = run(model, "softmax", tmp_path / "b", complexity=COMPLEXITIES[name])
    assert not equal(straight, resumed)


def test_forgetting_the_statistics_of_a_normalisation_is_seen(make_model: MakeModel, tmp_path: Path) -> None:
    """The planted fault for spaces with batch normalisation."""
    planted = make_model(get_space("clearer").examples[0], of="clearer")
    config = settings(steps=3, warmup=2, checkpoint_every=2)
    straight, _ = run(planted, "softmax", tmp_path / "a", config=config)
    with pytest.raises(KilledError):
        run(planted, "softmax", tmp_path / "b", weight_kill=3, config=config)
    path = tmp_path / "b" / "supernet.safetensors"
    tensors, meta = load_checkpoint(path)
    name = next(name for name in tensors if name.endswith("running_mean"))
    assert tensors[name].abs().sum() > 0
    save_checkpoint(path, {**tensors, name: torch.zeros_like(tensors[name])}, meta)
    resumed, _ = run(planted, "softmax", tmp_path / "b", config=config)
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
        {"config": settings(steps=1, warmup=1, choices=choices_at(0.01))},
        {"config": settings(steps=1, warmup=1), "complexity": COMPLEXITIES["none"]},
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

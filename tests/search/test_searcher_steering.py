"""Pressure works, and every setting of a search does what it says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models import Supernet, get_space
from search import SearchError
from search.complexity import (
    BudgetPrice,
    Complexity,
)
from search.latency.model import LatencyModel
from tests.search.tiny import (
    COMPLEXITIES,
    RELAXATIONS,
    SIZE,
    Fragile,
    KilledError,
    MakeModel,
    choices_at,
    equal,
    log_of,
    run,
    searcher,
    settings,
    stream,
    under_budget,
)
from training import load_checkpoint
from training.checkpoint import unprefixed


@pytest.fixture(scope="module")
def three(make_model: MakeModel) -> LatencyModel:
    """Three candidates each, dearer and dearer: sparsestmax freezes a choice between two from its first push on."""
    values = {
        "channels": (8,), "blocks": 2, "widths": (1.0,), "attentions": ("identity",),
        "convolutions": ("separable3x3", "conv3x3", "conv5x5"),
    }  # fmt: skip
    return make_model(values, row_ms=lambda key: {"separable3x3": 1.0, "conv3x3": 5.0, "conv5x5": 10.0}[key.operation])


# In order, the first candidate is the most probable from the start, and here it is the cheapest.
@pytest.mark.parametrize("relaxation", [name for name in RELAXATIONS if name != "sparsestmax-ordered"])
def test_a_tight_budget_ends_cheaper_than_a_loose_one(three: LatencyModel, relaxation: str, tmp_path: Path) -> None:
    config = settings(steps=40, warmup=2, choices=choices_at(0.05), checkpoint_every=4)

    def search(budget_ms: float, folder: Path) -> tuple[float, list[dict[str, float]]]:
        result, _ = run(three, relaxation, folder, config=config, complexity=under_budget(budget_ms))
        argmax = {choice: max(entry, key=lambda name: entry[name]) for choice, entry in result.probabilities.items()}
        return three.predict(argmax, *SIZE).ms, log_of(folder)

    tight, under_pressure = search(12.0, tmp_path / "tight")
    loose, at_ease = search(1000.0, tmp_path / "loose")
    assert tight < loose
    assert all(line["price"] == 0 for line in at_ease)
    assert max(line["price"] for line in under_pressure) > 0
    picked = [line["picked_ms"] for line in under_pressure if line["picked_ms"] is not None]
    assert min(picked[-5:]) <= 12.0 * 1.1  # dual ascent arrives at the budget
    assert np.mean(picked[-5:]) < 0.8 * np.mean([line["picked_ms"] for line in at_ease[-5:]])


def test_the_price_falls_back_when_the_network_is_under_budget(model: LatencyModel, tmp_path: Path) -> None:
    def make(model: LatencyModel, supernet: Supernet) -> Complexity:
        return BudgetPrice(model.expectation(*SIZE), supernet.choices, 9.0, rate=0.5, limit=2.0)

    config = settings(steps=40, warmup=2, choices=choices_at(0.15), checkpoint_every=4)
    run(model, "softmax", tmp_path / "a", config=config, complexity=make)
    prices = [line["price"] for line in log_of(tmp_path / "a")]
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
    assert (meta["step"], meta["complexity"]) == (3, {"price": 0.0, "mean_loss": 0.0})
    kept = searcher(model, "proximal", settings(seed=7))
    assert kept.probabilities() != fresh
    kept.supernet.load_state_dict(unprefixed("supernet", tensors))
    assert kept.probabilities() == fresh


def test_the_log_says_what_happened(model: LatencyModel, tmp_path: Path) -> None:
    run(model, "proximal", tmp_path / "a")
    lines = log_of(tmp_path / "a")
    assert [line["step"] for line in lines] == [3, 6, 9, 12, 13]
    assert [line["expected_ms"] is None for line in lines] == [True, False, False, False, False]
    for line in lines:
        assert set(line) == {"step", "loss", "expected_ms", "picked_ms", "price", "mean_loss", "entropy"}
        assert np.isfinite(line["loss"])
        assert 0 <= line["entropy"] <= 1 + 1e-6


def test_without_a_complexity_term_the_log_still_shows_expected_milliseconds(
    model: LatencyModel, tmp_path: Path
) -> None:
    run(model, "softmax", tmp_path / "a", config=settings(steps=2, warmup=1), complexity=COMPLEXITIES["none"])
    (line,) = log_of(tmp_path / "a")
    assert set(line) == {"step", "loss", "expected_ms", "picked_ms", "entropy"}
    assert line["expected_ms"] > 0


def test_candidates_that_did_not_run_are_not_moved(model: LatencyModel, tmp_path: Path) -> None:
    """Momentum of earlier steps must not drift a resting candidate."""
    config = settings(steps=1, warmup=12, checkpoint_every=1)
    subject = searcher(model, "proximal", config)
    history: list[dict[str, torch.Tensor]] = []
    chosen: list[dict[str, int]] = []

    class Watching:
        num_versions = 1

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


class TestKnobs:
    """Each setting has an effect, and is refused where it can have none."""

    def test_sandwich_trains_the_widest_the_narrowest_and_drawn_widths(self, model: LatencyModel) -> None:
        subject = searcher(model, "softmax", settings(sandwich=2))
        passes: list[list[tuple[int, ...]]] = []
        choices = subject.supernet.choices.values()

        def note(*_: Any) -> None:
            passes.append([choice.selection.active for choice in choices if choice.kind == "width"])

        subject.supernet.register_forward_pre_hook(note)
        widths = sum(choice.kind == "width" for choice in choices)
        drawn = set()
        for step in range(6):
            passes.clear()
            subject._weight_step(Fragile(stream(1)), step)
            assert len(passes) == 4
            assert passes[0] == [(1,)] * widths
            assert passes[1] == [(0,)] * widths
            drawn |= {str(entry) for entry in passes[2:]}
        assert len(drawn) == 2**widths  # every combination comes up
        # Operations stay with the relaxation's own selection.
        assert all(c.selection.active == (0, 1) for c in choices if c.kind == "operation")

    def test_sandwich_averages_its_passes(self, model: LatencyModel) -> None:
        """With widths that change nothing (all weights zero) the loss is that of one pass."""
        losses = []
        for sandwich in (0, 1, 3):
            subject = searcher(model, "softmax", settings(sandwich=sandwich))
            for parameter in subject.supernet.weight_parameters().values():
                parameter.data.zero_()
            losses.append(subject._weight_step(Fragile(stream(1)), 0))
        assert losses[1:] == pytest.approx([losses[0]] * 2)

    @pytest.mark.parametrize(
        ("name", "values"),
        [
            ("unet", {"sandwich": 1}),
            ("unet", {"explore": 0.9}),
            ("unet", {"entropy": 0.5}),
            ("trilevel", {"order": 0.5}),
            ("clearer", {"architecture_in_eval": True}),
            ("unet", {"versions": True}),
            ("unet", {"versions": True, "loss": [{"name": "mse"}, {"name": "internal"}]}),
            ("unet", {"clip_norm": 1e-3}),
            ("unet", {"warmup": 3}),
        ],
    )
    def test_a_knob_that_is_turned_ends_elsewhere(
        self, name: str, values: dict[str, Any], make_model: MakeModel, tmp_path: Path
    ) -> None:
        space = get_space(name)
        example = {"unet": None, "trilevel": space.examples[2], "clearer": space.examples[0]}[name]
        planted = make_model(example, of=name)
        relaxation = "proximal" if "explore" in values else "softmax"
        ends = []
        for index, turned in enumerate(({}, values)):
            config = settings(**{"steps": 3, "warmup": 2, "loss": "mse", **turned})
            ends.append(run(planted, relaxation, tmp_path / str(index), config=config)[0])
        assert not equal(*ends)
        same, _ = run(planted, relaxation, tmp_path / "again", config=settings(steps=3, warmup=2, loss="mse"))
        assert equal(ends[0], same)

    def test_versions_reach_the_loss(self, model: LatencyModel) -> None:
        """The planted fault: batches that do not say how many versions they hold."""
        config = settings(versions=True, loss=[{"name": "mse"}, {"name": "internal", "weight": 100.0}])
        subject = searcher(model, "softmax", config)
        subject.select("weights", 0)
        told = stream(1, versions=True)

        class Silent:
            num_versions = 1

            def batch_at(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
                return told.batch_at(step)

        assert told.num_versions > 1
        with torch.no_grad():
            assert float(subject._loss(told, 0)) > 1.5 * float(subject._loss(Silent(), 0))

    def test_entropy_makes_choices_sure(self, make_model: MakeModel, tmp_path: Path) -> None:
        planted = make_model(get_space("clearer").examples[2] | {"scale": 1}, of="clearer")
        surest = []
        for weight in (0.0, 10.0):
            config = settings(steps=15, warmup=0, entropy=weight, choices=choices_at(0.2))
            result, _ = run(planted, "softmax", tmp_path / str(weight), config=config, complexity=COMPLEXITIES["none"])
            surest.append(np.mean([max(entry.values()) for entry in result.probabilities.values()]))
        assert surest[1] > 0.9
        assert surest[1] > surest[0] + 0.02

    def test_order_makes_networks_shorter(self, make_model: MakeModel, tmp_path: Path) -> None:
        planted = make_model(get_space("trilevel").examples[2] | {"cells": 3}, of="trilevel")
        depths = []
        for weight, form in ((0.0, "hinge"), (10.0, "hinge"), (10.0, "telescoping")):
            config = settings(steps=10, warmup=0, order=weight, order_form=form, choices=choices_at(0.1))
            result, _ = run(
                planted, "softmax", tmp_path / f"{weight}{form}", config=config, complexity=COMPLEXITIES["none"]
            )
            depths.append(sum(len(node) * p for node, p in result.probabilities["exit"].items()))
        assert depths[2] < depths[1]  # the hinge is content once nothing rises
        assert depths[2] < depths[0] - 0.1

    def test_in_eval_mode_the_architecture_update_leaves_the_statistics_alone(self, make_model: MakeModel) -> None:
        planted = make_model(get_space("clearer").examples[0], of="clearer")
        for in_eval in (True, False):
            subject = searcher(planted, "softmax", settings(architecture_in_eval=in_eval))
            before = {n: b.clone() for n, b in subject.supernet.named_buffers() if n.endswith("running_mean")}
            subject._architecture_step(Fragile(stream(2)), 5)
            moved = [n for n, b in subject.supernet.named_buffers() if n in before and not torch.equal(b, before[n])]
            assert bool(moved) == (not in_eval)
            subject._weight_step(Fragile(stream(1)), 5)
            assert subject.supernet.training

    @pytest.mark.parametrize(
        ("values", "kind"), [({"sandwich": 1}, "width"), ({"order": 0.1}, "exit")]
    )  # fmt: skip
    def test_what_concerns_choices_that_are_not_there_is_refused(
        self, values: dict[str, Any], kind: str, make_model: MakeModel
    ) -> None:
        planted = make_model({"channels": (8,), "widths": (1.0,)})
        (name,) = values
        with pytest.raises(
            SearchError, match=f"{name}=.* choices of kind '{kind}', and this space has none; set it to 0"
        ):
            searcher(planted, "softmax", settings(**values))

    def test_what_is_searched_may_be_smaller_than_what_is_priced(self, make_model: MakeModel, tmp_path: Path) -> None:
        """HiNAS searches at half the channels: picks mean the same, prices are those of the derived network."""
        space = get_space("hinas")
        values = space.examples[3]
        planted = make_model(values, of="hinas")
        half = space.parse_config(values | {"channels": 2})
        result, _ = run(
            planted, {"operation": "softmax"}, tmp_path / "a", config=settings(steps=1, warmup=1), space_config=half
        )
        assert {c: tuple(entry) for c, entry in result.probabilities.items()} == space.candidates(planted.config)

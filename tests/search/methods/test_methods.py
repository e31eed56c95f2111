"""Every method with every preset for every task, and the published numbers in the paper presets."""

import dataclasses
import math
from typing import Any

import pytest
import torch

from models import ChoiceKind, OpKey, Supernet, get_space, operation_cost
from search import METHODS, Method, SearchError, get_method
from search.complexity import DecoupledFlops, NoComplexity, ParameterProximal, WeightedShares
from search.config import Plan, RunConfig
from search.methods import Searched
from search.presets import PAPER, Preset
from search.relaxation import relaxations
from tasks import TASKS, Task, get_task
from training.schedule import rate_at

TARGET = "cpu-onnxruntime-fp32-1t"
NAMES = ["autoderain", "hinas", "manas", "clearer", "trilevel"]
METHOD = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
TASK = pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.name}-x{task.scale}")


def plan_of(method: str, task: Task, preset: str, **values: Any) -> Plan:
    config = {"task": task.name, "scale": task.scale if task.scale > 1 else None, "target": TARGET}
    return Plan(RunConfig.model_validate({**config, "method": method, "preset": preset, **values}))


def searched_example(name: str, number: int = 0, **values: Any) -> Searched:
    """A method's smallest example, on the meta device: names and shapes."""
    space = get_space(get_method(name).space)
    config = space.parse_config({**space.examples[number], **values})
    return Searched(space, config, Supernet(torch.nn.Identity(), dict(space.choices(config))))  # type: ignore[arg-type]


def test_these_are_all() -> None:
    assert [method.name for method in METHODS] == NAMES


@METHOD
def test_every_method_names_what_exists(method: Method) -> None:
    assert get_method(method.name) is method
    space = get_space(method.space)
    assert set(method.relaxations.values()) <= set(relaxations())
    # Every kind of choice that the space can have is relaxed by something.
    kinds = {c.kind for values in space.examples for c in space.choices(space.parse_config(values)).values()}
    assert kinds == set(method.relaxations)
    assert set(method.paper_tasks) <= {task.name for task in TASKS}
    assert set(method.tasks) == {task.name for task in TASKS}
    assert method.tasks[: len(method.paper_tasks)] == method.paper_tasks
    assert method.summary
    assert method.reference


def test_an_unknown_method_lists_what_is_known() -> None:
    with pytest.raises(SearchError, match=f"unknown method 'enas'; known: {', '.join(NAMES)}"):
        get_method("enas")


@METHOD
def test_an_unknown_preset_lists_what_the_method_has(method: Method) -> None:
    names = ", ".join(preset.name for preset in method.recipes(TASKS[0]))
    with pytest.raises(SearchError, match=f"unknown preset 'huge'; method {method.name} has {names}$"):
        method.preset("huge", TASKS[0])


@METHOD
@TASK
def test_every_method_and_preset_makes_a_plan_for_every_task(method: Method, task: Task) -> None:
    presets = method.recipes(task)
    assert len({preset.name for preset in presets}) == len(presets)
    assert {"smoke", "quick", "default", PAPER} <= {preset.name for preset in presets}
    for preset in presets:
        plan = plan_of(method.name, task, preset.name)
        assert plan.space_config.scale == plan.searched_config.scale == task.scale
        assert plan.preset.name == preset.name
        if preset.name in ("quick", "default", "thorough"):
            continue  # of the same spaces as the other two, only of other sizes
        kinds = {choice.kind for choice in plan.space.choices(plan.space_config).values()}
        assert kinds <= set(plan.relaxations)
        # Picks mean the same in what is searched and in what is derived.
        assert plan.space.candidates(plan.searched_config) == plan.space.candidates(plan.space_config)
        # Settings that ask for choices of a kind find some.
        assert not plan.preset.search.sandwich or "width" in kinds
        assert not plan.preset.search.order or "exit" in kinds


class TestRelaxations:
    def test_a_kind_is_relaxed_otherwise_on_request(self) -> None:
        method = get_method("autoderain")
        found = method.relaxation_of({"width": "gumbel"})
        assert {kind: entry.name for kind, entry in found.items()} == {"operation": "proximal", "width": "gumbel"}
        assert {entry.name for entry in method.relaxation_of({}).values()} == {"proximal"}

    def test_the_request_stands_above_the_preset_and_the_preset_above_the_method(self) -> None:
        enlarging = get_task("super-resolution", 4)

        def names(preset: str, **values: Any) -> dict[ChoiceKind, str]:
            plan = plan_of("trilevel", enlarging, preset, **values)
            return {kind: relaxation.name for kind, relaxation in plan.relaxations.items()}

        assert names("quick") == {"operation": "sparsestmax", "exit": "sparsestmax", "width": "gumbel"}
        published = {"operation": "sparsestmax-ssn", "exit": "sparsestmax-ssn", "width": "gumbel"}
        assert names(PAPER) == published
        assert names(PAPER, relaxations={"exit": "softmax"}) == {**published, "exit": "softmax"}

    def test_an_unknown_relaxation_lists_what_is_known(self) -> None:
        with pytest.raises(SearchError, match="unknown relaxation straight; known: softmax, proximal, gumbel, sparse"):
            get_method("clearer").relaxation_of({"module": "straight"})

    def test_choices_that_a_method_does_not_have_cannot_be_relaxed(self) -> None:
        with pytest.raises(SearchError, match="clearer has no choices of kind width; it has module"):
            get_method("clearer").relaxation_of({"width": "softmax"})

    @pytest.mark.parametrize(("name", "kind"), [("clearer", "module"), ("hinas", "route"), ("trilevel", "exit")])
    def test_what_is_more_than_a_layer_cannot_be_probed(self, name: str, kind: ChoiceKind) -> None:
        with pytest.raises(SearchError, match=f"proximal probes .* kind {kind} cannot; choose one of softmax, gumbel"):
            get_method(name).relaxation_of({kind: "proximal"})


def subset(whole: Any, part: dict[str, Any]) -> None:
    found = whole.model_dump()
    assert {name: found[name] for name in part} == part


ADAM_OF_CHOICES = {"optimizer": "adam", "lr": 3e-4, "betas": (0.5, 0.999), "weight_decay": 1e-3}
SGD_OF_WEIGHTS = {"optimizer": "sgd", "lr": 0.025, "momentum": 0.9, "weight_decay": 3e-4}


def paper(name: str, task: Task) -> Preset:
    preset = get_method(name).preset(PAPER, task)
    # Published networks are the last weights, without a rise of the rate at the beginning.
    subset(preset.train, {"ema_decay": 0.0, "warmup": 0})
    return preset


def rates(preset: Preset, *progress: float) -> list[float]:
    """Learning rates of the search's weights at shares of the search."""
    search, total = preset.search, preset.search.warmup + preset.search.steps
    return [rate_at(search.schedule, search.weights.lr, min(round(t * total), total - 1), total) for t in progress]


def losses(terms: Any) -> dict[str, tuple[float, float]]:
    return {term.name: (term.weight, term.start) for term in terms}


class TestPublishedNumbers:
    """Of the papers and their code; sections are those of the papers' recipes."""

    def test_autoderain_searches_as_nasp(self) -> None:
        preset = paper("autoderain", get_task("derain"))
        subset(preset.search.weights, SGD_OF_WEIGHTS)
        subset(preset.search.choices, ADAM_OF_CHOICES)
        subset(preset.search, {"warmup": 0, "explore": 0.0, "clip_norm": 5.0, "split": 0.5})
        assert rates(preset, 0, 1) == pytest.approx([0.025, 0.001])
        subset(preset.train, {"optimizer": "adam", "lr": 1e-3, "batch": 16})
        assert preset.space_config["widths"] == (1.0,)

    @pytest.mark.parametrize(
        ("task", "sizes", "batch", "trained", "loss", "retrained"),
        [
            (get_task("denoise"), (3, 4, 20, 10), 6, 24, ("mse", 0.5), 0.6),
            (get_task("super-resolution", 4), (2, 3, 16, 8), 24, 16, ("l1", 0.6), 0.6),
        ],
        ids=["denoise", "super-resolution"],
    )
    def test_hinas(
        self, task: Task, sizes: tuple[int, ...], batch: int, trained: int, loss: tuple[str, float], retrained: float
    ) -> None:
        preset = paper("hinas", task)
        config = preset.space_config
        assert (config["layers"], config["nodes"], config["channels"], preset.searched_space["channels"]) == sizes
        subset(preset.search.weights, SGD_OF_WEIGHTS)
        subset(
            preset.search.choices,
            {"optimizer": "adam", "lr": 1e-3, "weight_decay": 1e-3},
        )
        subset(preset.search, {"batch": batch, "patch": 64, "clip_norm": None})
        # The choices start with epoch 21 of 100.
        assert preset.search.warmup / (preset.search.warmup + preset.search.steps) == pytest.approx(0.2)

        def published(epoch: float) -> float:
            envelope = math.pow(1 - epoch / 100, 0.9)
            return 0.001 + 0.024 * (1 + math.cos(math.pi * epoch / 10)) / 2 * envelope

        assert rates(preset, 0, 0.05, 0.1, 0.2, 0.63) == pytest.approx(
            [published(epoch) for epoch in (0, 5, 10, 20, 63)], rel=1e-3
        )
        name, weight = loss
        assert losses(preset.search.loss) == {name: (0.5, 0.0), "log_ssim": (weight / 2, 0.0)}
        assert losses(preset.train.loss) == {name: (0.5, 0.0), "log_ssim": (retrained / 2, 0.0)}
        subset(
            preset.train,
            {
                "steps": 600_000, "batch": trained, "patch": 64, "optimizer": "sgd", "momentum": 0.9, "lr": 0.05,
                "schedule": "poly", "poly_power": 0.9, "weight_decay": 4e-5, "bias_lr_factor": 2.0,
                "bias_weight_decay": False, "clip_value": 5.0, "clip_norm": None,
            },
        )  # fmt: skip

    def test_manas(self) -> None:
        preset = paper("manas", get_task("derain"))
        subset(preset.search.weights, {**SGD_OF_WEIGHTS, "lr": 2e-3})
        subset(preset.search.choices, ADAM_OF_CHOICES)
        assert rates(preset, 0, 1) == pytest.approx([2e-3, 1e-4])
        # 200 epochs of 1000 steps, choices from epoch 11; 16 backgrounds in three rains each.
        subset(
            preset.search,
            {
                "warmup": 10_000, "steps": 190_000, "batch": 16, "patch": 64, "clip_norm": None, "versions": True,
                "architecture_in_eval": True,
            },
        )  # fmt: skip
        subset(
            preset.train,
            {
                "steps": 200 * 500, "batch": 32, "patch": 64, "optimizer": "adam", "lr": 1e-3, "schedule": "cosine",
                "floor": 0.0, "clip_norm": None,
            },
        )  # fmt: skip
        assert preset.train_versions
        # The published external loss is a sum over three rains, ours their mean: everything else is a third.
        third = {"mse": (1.0, 0.0), "ssim": (1.0, 0.0), "internal": (1 / 3, 5 / 200), "tv": (1e-4 / 3, 0.0)}
        assert losses(preset.search.loss) == losses(preset.train.loss) == third
        assert preset.search.entropy == pytest.approx(0.01 / 3)

    @pytest.mark.parametrize(
        ("task", "rate", "steps"), [("denoise", 1e-2, 1000 * 100), ("derain", 2e-3, 2000 * 100)]
    )  # fmt: skip
    def test_clearer(self, task: str, rate: float, steps: int) -> None:
        preset = paper("clearer", get_task(task))
        subset(preset.search.weights, SGD_OF_WEIGHTS)
        subset(preset.search.choices, ADAM_OF_CHOICES)
        assert rates(preset, 0, 1) == pytest.approx([0.025, 0.001])
        # 200 epochs of 50 steps, of which 10 warm up.
        subset(
            preset.search,
            {
                "warmup": 500, "steps": 9500, "batch": 32, "patch": 64, "clip_norm": 5.0, "entropy": 0.01,
                "architecture_in_eval": True,
            },
        )  # fmt: skip
        assert losses(preset.search.loss) == losses(preset.train.loss) == {"mse": (1.0, 0.0)}
        subset(
            preset.train,
            {
                "steps": steps, "batch": 32, "patch": 64, "optimizer": "adam", "lr": rate, "schedule": "cosine",
                "floor": 0.0, "clip_norm": 5.0,
            },
        )  # fmt: skip
        assert preset.space_config == {}

    def test_trilevel(self) -> None:
        preset = paper("trilevel", get_task("super-resolution", 4))
        subset(preset.search.weights, {"optimizer": "adam", "lr": 2e-4, "betas": (0.9, 0.999)})
        subset(preset.search.choices, {**ADAM_OF_CHOICES, "weight_decay": 0.0})
        # As long with weights alone as with both; halved at 25, 50 and 75 of the first 100 epochs.
        assert preset.search.warmup == preset.search.steps
        assert rates(preset, 0, 0.13, 0.26, 0.4) == pytest.approx([2e-4, 1e-4, 5e-5, 2.5e-5])
        subset(preset.search, {"patch": 32, "clip_norm": 5.0, "sandwich": 2, "order_form": "telescoping"})
        assert 2 <= preset.search.batch <= 4
        subset(
            preset.train,
            {
                "steps": 300 * 216, "batch": 16, "patch": 32, "optimizer": "adam", "lr": 2e-4,
                "schedule": "milestones", "milestones": (75 / 300, 150 / 300, 225 / 300),
            },
        )  # fmt: skip
        assert losses(preset.search.loss) == losses(preset.train.loss) == {"l1": (1.0, 0.0)}
        assert preset.space_config == {}


class TestPaperComplexity:
    """The papers' own terms are put on the candidates that they were computed for."""

    def test_clearer_weighs_parallel_more_than_fusion(self) -> None:
        searched = searched_example("clearer")
        term = get_method("clearer").paper_complexity(searched)
        assert isinstance(term, WeightedShares)
        assert term.weight == 0.1
        assert set(term.shares) == set(searched.supernet.choices)
        for name, choice in searched.supernet.choices.items():
            expected = [0.7 if candidate.startswith("parallel") else 0.3 for candidate in choice.candidates]
            assert sorted(expected) == [0.3, 0.7]
            assert term.shares[name].tolist() == pytest.approx(expected)

    def test_manas_weighs_convolution_gates_most(self) -> None:
        searched = searched_example("manas")
        term = get_method("manas").paper_complexity(searched)
        assert isinstance(term, WeightedShares)
        assert term.weight == pytest.approx(0.01 / 3)
        published = {
            "none": 0.0, "skip": 0.0, "separable_gate3x3": 0.5, "dilated_gate3x3": 0.2,
            "spatial_separable3x3": 0.0, "spatial_dilated3x3": 0.0,
            "squeeze_excitation4": 0.1, "squeeze_excitation4_peaks": 0.1, "cbam4": 0.1,
        }  # fmt: skip
        edges = {name: c for name, c in searched.supernet.choices.items() if c.kind == "operation"}
        assert edges
        for name, choice in edges.items():
            assert set(choice.candidates) == set(published)
            assert term.shares[name].tolist() == pytest.approx([published[o] for o in choice.candidates])
        modules = set(searched.supernet.choices) - set(edges)
        assert all(sorted(term.shares[name].tolist()) == pytest.approx([0.3, 0.7]) for name in modules)

    def test_autoderain_counts_parameters(self) -> None:
        searched = searched_example("autoderain", 3)
        term = get_method("autoderain").paper_complexity(searched)
        assert isinstance(term, ParameterProximal)
        name, choice = next((n, c) for n, c in searched.supernet.choices.items() if n.endswith("conv1"))
        counted = [operation_cost(OpKey(o, 16, 16, 1), 32, 32).parameters for o in choice.candidates]
        assert term.parameters[name].tolist() == counted
        gate = next(n for n in searched.supernet.choices if n.endswith("attention"))
        assert term.parameters[gate][0] == 0 < term.parameters[gate][1]

    def test_autoderain_takes_the_mean_over_the_widths_at_which_a_candidate_may_stand(self) -> None:
        searched = searched_example("autoderain", 0, channels=(16,), convolutions=("conv3x3", "conv5x5"))
        term = get_method("autoderain").paper_complexity(searched)
        assert isinstance(term, ParameterProximal)
        mean = sum(operation_cost(OpKey("conv5x5", 16, width, 1), 32, 32).parameters for width in (8, 16)) / 2
        assert term.parameters["bottleneck0.0.conv1"].tolist()[1] == mean

    def test_hinas_has_none(self) -> None:
        assert isinstance(get_method("hinas").paper_complexity(searched_example("hinas")), NoComplexity)

    def test_trilevel_prices_what_would_be_derived(self) -> None:
        searched = searched_example("trilevel")
        term = get_method("trilevel").paper_complexity(searched)
        assert isinstance(term, DecoupledFlops)
        assert dataclasses.astuple(term.bounds) == (100e9, 400e9)
        assert term.state["weight"] == 1e-20
        space, config = searched.space, searched.config
        picks = space.reference_picks(config)
        weights = {
            name: torch.eye(len(names))[names.index(picks.get(name, names[0]))]
            for name, names in space.candidates(config).items()
        }
        # The derived cost is that of the network that ends at the picked exit: unreached parts are not paid.
        assert term.derived_cost(weights) == pytest.approx(float(term.expected(weights)), rel=1e-5)
        deeper = {**weights, "exit": torch.eye(len(weights["exit"]))[-1]}
        assert term.derived_cost(deeper) != term.derived_cost(weights)

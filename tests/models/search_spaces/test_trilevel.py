import itertools
from collections import Counter
from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export import export_onnx
from models import (
    GenotypeError,
    Network,
    OpKey,
    Selection,
    Supernet,
    count_macs,
    inherit_weights,
    num_parameters,
    operation_cost,
)
from models.operations import InnerWidths
from models.search_spaces.trilevel import TrilevelSpace
from models.trilevel_network import Cell, Trilevel, TrilevelConfig
from runtime import Target, open_engine

SPACE = TrilevelSpace()
PAPER = SPACE.parse_config({})
SMALL = {"channels": 16, "cells": 2, "ops": 2, "ups": 1, "width_ratios": (0.5, 1.0)}


def small(**values: Any) -> TrilevelConfig:
    return SPACE.parse_config({**SMALL, **values})


def some_picks(config: TrilevelConfig, node: str, seed: int = 0) -> dict[str, str]:
    """The network that ends at a node, otherwise drawn."""
    rng = np.random.default_rng(seed)
    probabilities = {c: {n: float(rng.random()) for n in names} for c, names in SPACE.candidates(config).items()}
    probabilities["exit"] = {name: float(name == node) for name in config.tree.nodes}
    return SPACE.paper_picks(config, probabilities)


def build(config: TrilevelConfig, node: str, seed: int = 0) -> Trilevel:
    torch.manual_seed(seed)
    network = SPACE.build(SPACE.genotype(config, some_picks(config, node, seed)))
    assert isinstance(network, Trilevel)
    return network


def trunk(supernet: Supernet) -> Trilevel:
    assert isinstance(supernet.network, Trilevel)
    return supernet.network


@torch.no_grad()
def difference(first: nn.Module, second: nn.Module) -> float:
    x = torch.rand(2, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    return float((first(x) - second(x)).abs().max())


class TestPaper:
    """The numbers of the paper's default sizes."""

    def test_widths_are_rounded_to_eight(self) -> None:
        assert PAPER.widths == (24, 32, 40, 56, 64)
        assert PAPER.interfaces == ((64,), *(PAPER.widths,) * 4, (64,))

    def test_supernet_has_35_cells_20_up_slots_and_55_exits(self) -> None:
        with torch.device("meta"):
            supernet = SPACE.supernet(PAPER)
        kinds = Counter(type(move) for move in trunk(supernet).moves.values())
        assert sorted(kinds.values()) == [20, 35]
        assert kinds[Cell] == 35
        sizes = Counter((choice.kind, len(choice.candidates)) for choice in supernet.choices.values())
        assert sizes == {("exit", 55): 1, ("operation", 4): 35 * 5, ("width", 5): 35 * 4}

    def test_number_of_networks_is_exact(self) -> None:
        cell = 4**5 * 5**4
        assert SPACE.num_networks(SPACE.parse_config({"ups": 0})) == sum(cell**depth for depth in range(1, 6))
        # Nodes by the number of their cells: orders of 0..4 further cells with 0, 1 or 2 up-slots.
        nodes = {depth: 1 + depth + depth * (depth + 1) // 2 for depth in range(1, 6)}
        assert SPACE.num_networks(PAPER) == sum(count * cell**depth for depth, count in nodes.items())

    def test_a_hundred_rows_and_the_up_slot(self) -> None:
        keys = {term.key for term in SPACE.cost_terms(PAPER)}
        assert len({key for key in keys if key.operation.startswith("slim_")}) == 100
        assert {key for key in keys if not key.operation.startswith("slim_")} == {OpKey("conv3x3", 64, 64, 1)}

    def test_rows_are_priced_at_rounded_widths(self) -> None:
        assert {key.in_channels for key in {term.key for term in SPACE.cost_terms(PAPER)}} == set(PAPER.widths)

    def test_order_telescopes_to_leaf_minus_root(self) -> None:
        paths = SPACE.exit_order(PAPER)
        assert len(paths) == 15
        assert {len(path) for path in paths} == {7}
        gamma = dict(zip(PAPER.tree.nodes, torch.randn(55, dtype=torch.float64), strict=True))
        steps = sum(gamma[deep] - gamma[near] for path in paths for near, deep in itertools.pairwise(path))
        assert float(steps) == pytest.approx(float(sum(gamma[path[-1]] - gamma["c"] for path in paths)))


def test_a_cell_adds_a_fifth_of_its_operations() -> None:
    cell = build(small(), "c").moves["c"]
    assert isinstance(cell, Cell)
    first, second = cell.ops
    x = torch.rand(1, 16, 6, 5)
    with torch.no_grad():
        assert torch.allclose(cell(x), x + 0.2 * second(first(x)), atol=1e-7)
        assert second(first(x)).abs().max() > 0


def test_residual_factor_is_the_configs() -> None:
    once, twice = (build(small(residual=factor), "c").moves["c"] for factor in (0.2, 0.4))
    twice.load_state_dict(once.state_dict())
    x = torch.rand(1, 16, 6, 5)
    with torch.no_grad():
        assert torch.allclose(2 * (once(x) - x), twice(x) - x, atol=1e-6)


@pytest.mark.parametrize("scale", [1, 2, 4])
class TestHeads:
    """What the last convolution's output becomes; with a silent one only the head is left."""

    @staticmethod
    def silent(scale: int, head: str) -> Network:
        network = build(small(scale=scale, head=head), "cc")
        nn.init.zeros_(network.last.weight)
        return network

    def test_squashed_output_is_grey_and_never_leaves_the_range(self, scale: int) -> None:
        network = self.silent(scale, "tanh")
        x = torch.rand(1, 3, 8, 9)
        with torch.no_grad():
            out = network(x)
            assert torch.equal(out, torch.full((1, 3, 8 * scale, 9 * scale), 0.5))
            last = network.get_submodule("last")
            assert isinstance(last, nn.Conv2d)
            nn.init.normal_(last.weight, std=10.0)
            loud = network(x)
        assert loud.min() < 0.01
        assert loud.max() > 0.99
        assert loud.min() >= 0
        assert loud.max() <= 1

    def test_added_output_is_the_enlarged_input(self, scale: int) -> None:
        x = torch.rand(1, 3, 12, 11)
        with torch.no_grad():
            out = self.silent(scale, "bicubic")(x)
        if scale == 1:
            assert torch.equal(out, x)
            return
        assert out.shape == (1, 3, 12 * scale, 11 * scale)
        # Torch's bicubic has another constant in its kernel: alike, not equal.
        enlarged = F.interpolate(x, scale_factor=scale, mode="bicubic")
        assert (out - enlarged).abs().mean() < 0.05
        assert (out - 0.5).abs().mean() > 0.1

    @pytest.mark.parametrize("head", ["tanh", "bicubic"])
    def test_the_engine_computes_the_same(self, scale: int, head: str) -> None:
        network = build(small(scale=scale, head=head), "cuc").eval()
        engine = open_engine(export_onnx(network, scale=scale), Target("cpu", "onnxruntime", "fp32", 1))
        x = np.random.default_rng(0).random((1, 3, 9, 14), dtype=np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(x)).numpy()
        assert np.abs(engine.run(x) - expected).max() < 1e-5


class TestExits:
    """The supernet as a tree of exits."""

    @pytest.fixture
    def supernet(self) -> Supernet:
        torch.manual_seed(0)
        supernet = SPACE.supernet(small())
        supernet.pick(some_picks(small(), "cc"))
        return supernet

    @staticmethod
    def weigh(supernet: Supernet, **weights: float) -> None:
        choice = supernet.choices["exit"]
        relaxed = torch.tensor([weights.get(node, 0.0) for node in choice.candidates])
        choice.decide(Selection(relaxed, tuple(choice.candidates.index(node) for node in weights)))

    @staticmethod
    def computed(supernet: Supernet) -> list[str]:
        """The moves that a forward pass runs."""
        ran: list[str] = []

        def note(name: str) -> Any:
            return lambda *_: ran.append(name)

        hooks = [move.register_forward_hook(note(name)) for name, move in trunk(supernet).moves.items()]
        with torch.no_grad():
            supernet(torch.rand(1, 3, 6, 6))
        for hook in hooks:
            hook.remove()
        return ran

    def test_feature_maps_are_mixed_before_the_one_tail(self, supernet: Supernet) -> None:
        self.weigh(supernet, cc=0.7, cu=0.3)
        network = trunk(supernet)
        x = torch.rand(1, 3, 6, 6)
        with torch.no_grad():
            root = network.moves["c"](network.first(x))
            mixed = 0.7 * network.moves["cc"](root) + 0.3 * network.moves["cu"](root)
            expected = (torch.tanh(F.pixel_shuffle(network.last(mixed), 4)) + 1) / 2
            assert (supernet(x) - expected).abs().max() < 1e-6

    def test_only_what_leads_to_an_active_exit_is_computed(self, supernet: Supernet) -> None:
        self.weigh(supernet, c=1.0)
        assert self.computed(supernet) == ["c"]
        self.weigh(supernet, c=0.5, cuc=0.5)
        assert self.computed(supernet) == ["c", "cu", "cuc"]
        self.weigh(supernet, c=0.2, cc=0.2, ccu=0.2, cu=0.2, cuc=0.2)
        assert self.computed(supernet) == ["c", "cc", "ccu", "cu", "cuc"]

    def test_exit_weights_get_their_gradient(self, supernet: Supernet) -> None:
        choice = supernet.choices["exit"]
        choice.decide(Selection(torch.softmax(choice.raw, 0), tuple(range(5))))
        supernet(torch.rand(1, 3, 6, 6)).square().mean().backward()
        assert choice.raw.grad is not None
        assert (choice.raw.grad != 0).all()

    def test_hidden_channels_that_do_not_follow_a_width_would_be_seen(self, supernet: Supernet) -> None:
        config = small()
        picks = some_picks(config, "cc") | {
            choice: picked
            for node in ("c", "cc")
            for choice, picked in (
                (f"{node}.width0", "8"),
                (f"{node}.op0", "slim_residual"),
                (f"{node}.op1", "slim_depthwise"),
            )
        }
        supernet.pick(picks)
        network = SPACE.build(SPACE.genotype(config, picks))
        inherit_weights(network, supernet, picks)
        assert difference(supernet, network) < 1e-6
        for module in supernet.modules():
            if isinstance(module, InnerWidths):
                module.follow(None, None)
        assert difference(supernet, network) > 1e-5


class TestDerived:
    """What is left once an exit is picked."""

    @pytest.mark.parametrize(
        ("node", "moves"), [("c", ["c"]), ("ccu", ["c", "cc", "ccu"]), ("cuc", ["c", "cu", "cuc"])]
    )
    def test_only_the_way_to_the_exit_is_built(self, node: str, moves: list[str]) -> None:
        network = build(small(), node)
        assert list(network.moves) == moves
        assert [isinstance(move, Cell) for move in network.moves.values()] == [name[-1] == "c" for name in moves]

    @pytest.mark.parametrize("node", ["c", "ccu", "cu", "cuc"])
    def test_multiply_accumulates_are_those_of_the_terms_and_of_both_ends(self, node: str) -> None:
        config = small(scale=4)
        picks = some_picks(config, node, seed=3)
        network = SPACE.build(SPACE.genotype(config, picks)).to("meta")
        held = [term.key for term in SPACE.cost_terms(config) if term.holds(picks)]
        searched = sum(operation_cost(key, 8, 8).macs for key in held)
        assert count_macs(network, 8, 8) == searched + 64 * 9 * (3 * 16 + 16 * 48)
        assert len(held) == 2 * node.count("c") + node.count("u")

    def test_parameters_by_hand(self) -> None:
        config = small(scale=2, ups=0)
        ops = {"op0": "slim_residual", "width0": "8", "op1": "slim_depthwise"}
        picks = {"exit": "cc", **{f"{node}.{part}": picked for node in ("c", "cc") for part, picked in ops.items()}}
        residual = 9 * 16 * 8 + 9 * 8 * 8 + 16 * 8
        depthwise = 8 * 32 + 9 * 32 + 32 * 16 + 8 * 16
        ends = (9 * 3 * 16 + 16) + (9 * 16 * 12 + 12)
        assert num_parameters(SPACE.build(SPACE.genotype(config, picks))) == ends + 2 * (residual + depthwise)

    def test_paper_picks_take_the_likeliest_exit_and_what_is_on_the_way_there(self) -> None:
        config = small()
        probabilities = {
            choice: {name: float(place == 1) for place, name in enumerate(names)}
            for choice, names in SPACE.candidates(config).items()
        }
        assert config.tree.nodes[1] == "cc"
        expected = {"exit": "cc"}
        for node in ("c", "cc"):
            expected |= {f"{node}.width0": "16", f"{node}.op0": "slim_conv3x3", f"{node}.op1": "slim_conv3x3"}
        assert SPACE.paper_picks(config, probabilities) == expected
        probabilities["exit"] = {**probabilities["exit"], "cu": 2.0}
        assert set(SPACE.paper_picks(config, probabilities)) == {"exit", "c.width0", "c.op0", "c.op1"}

    def test_random_networks_end_at_every_node_alike(self) -> None:
        config = small()
        rng = np.random.default_rng(0)
        drawn = [SPACE.random_picks(config, rng) for _ in range(500)]
        ends = Counter(picks["exit"] for picks in drawn)
        assert set(ends) == set(config.tree.nodes)
        assert min(ends.values()) > 60
        for picks in drawn[:20]:
            assert SPACE.reached(config, picks) == picks


class TestCarriers:
    """Units price whole networks exactly, whatever a row's share of its unit is."""

    @staticmethod
    def unexplained(config: TrilevelConfig, leave_out: Collection[int] = ()) -> float:
        """How much of the key counts of drawn networks is no combination of carriers: 0 if all are priced."""
        carriers = SPACE.carriers(config)
        keys = sorted({key for carrier in carriers for key in carrier.keys})
        kept = [carrier for number, carrier in enumerate(carriers) if number not in leave_out]
        units = np.array([[carrier.keys.count(key) for key in keys] for carrier in kept], dtype=float)
        terms = SPACE.cost_terms(config)
        worst = 0.0
        for seed in range(6):
            picks = SPACE.random_picks(config, np.random.default_rng(seed))
            held = [term.key for term in terms if term.holds(picks)]
            wanted = np.array([held.count(key) for key in keys], dtype=float)
            found, *_ = np.linalg.lstsq(units.T, wanted, rcond=None)
            worst = max(worst, float(np.abs(units.T @ found - wanted).max()))
        return worst

    def test_every_network_is_a_combination_of_units(self) -> None:
        assert self.unexplained(SPACE.parse_config({"cells": 2, "ups": 1})) < 1e-9

    def test_a_missing_unit_would_be_seen(self) -> None:
        config = small(operations=("slim_skip", "slim_conv3x3"))
        assert self.unexplained(config) < 1e-9
        assert self.unexplained(config, leave_out=[0]) > 0.1

    def test_units_of_the_paper(self) -> None:
        carriers = SPACE.carriers(SPACE.parse_config({"cells": 1, "ups": 1}))
        alone = [carrier for carrier in carriers if len(carrier.keys) == 1]
        # 4 operations at 5 widths and the up-slot; 20 changes of width for three operations, 10 there-and-backs of the
        # fourth; 6 rounds from 64 by way of two of the other four widths.
        assert len(alone) == 4 * 5 + 1
        assert len(carriers) == len(alone) + 3 * 20 + 10 + 6
        assert len({carrier.channels for carrier in carriers}) == 5

    def test_there_and_back_alone_would_not_price_a_round(self) -> None:
        config = SPACE.parse_config({"cells": 2, "ups": 1})
        rounds = [number for number, carrier in enumerate(SPACE.carriers(config)) if len(carrier.keys) == 3]
        assert len(rounds) == 6
        assert self.unexplained(config, leave_out=set(rounds)) > 0.1


def test_up_slots_ride_on_the_next_decision() -> None:
    arcs = SPACE.trellis(small())
    paying = [arc for arc in arcs if any(key.operation == "conv3x3" for key in arc.keys)]
    assert {picks for arc in paying for picks in arc.picks if picks[0] == "exit"} == {("exit", "cu"), ("exit", "ccu")}
    assert {arc.target for arc in paying} == {"end", "cuc.0:8", "cuc.0:16"}
    assert all(arc.picks for arc in arcs)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"operations": ("slim_skip", "conv9x9")}, r"unknown operations \['conv9x9'\]; known: .*slim_skip"),
        ({"operations": ("slim_skip", "squeeze_excitation")}, "unknown operations"),
        ({"operations": ()}, "unknown operations"),
        ({"width_ratios": (1.0, 0.5)}, "ascending fractions"),
        ({"width_ratios": (0.5, 1.5)}, "ascending fractions"),
        ({"width_ratios": ()}, "ascending fractions"),
        ({"operations": ("slim_skip",), "width_ratios": (1.0,)}, "nothing to choose"),
        ({"channels": 12}, "multiple of 8"),
        ({"cells": 0}, "greater than or equal to 1"),
        ({"head": "sigmoid"}, "tanh"),
    ],
)
def test_configs_that_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(GenotypeError, match=message):
        small(**values)


def test_widths_alone_can_be_searched() -> None:
    config = small(operations=("slim_conv3x3",), cells=1, ups=0)
    assert SPACE.candidates(config) == {"c.width0": ("8", "16")}
    assert SPACE.num_networks(config) == 2
    assert SPACE.random_picks(config, np.random.default_rng(0)).keys() == {"c.width0"}


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_a_step_of_training_lowers_the_loss(scale: int) -> None:
    network = build(small(scale=scale, head="bicubic"), "cuc")
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    x = torch.rand(2, 3, 8, 8)
    target = F.interpolate(x, scale_factor=scale) ** 1.2

    def loss() -> Tensor:
        return F.l1_loss(network(x), target)

    before = float(loss().detach())
    for _ in range(20):
        optimiser.zero_grad()
        torch.autograd.backward(loss())
        optimiser.step()
    assert float(loss().detach()) < 0.9 * before

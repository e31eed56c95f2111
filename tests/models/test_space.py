"""Whole-registry tests of spaces: one definition gives the supernet and every derived network."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import nn

from models import (
    END,
    START,
    Arc,
    Genotype,
    GenotypeError,
    Network,
    OpKey,
    Selection,
    Space,
    SpaceConfig,
    Supernet,
    get_space,
    inherit_weights,
    make_operation,
    num_parameters,
    spaces,
)
from models.mixed import MixedModule, MixedOperation, WidthMask

RandomPicks = Callable[[Space[Any], SpaceConfig, int], dict[str, str]]


def open_space(name: str, values: dict[str, Any]) -> tuple[Space[Any], SpaceConfig]:
    space = get_space(name)
    return space, space.parse_config(values)


def scrambled_supernet(space: Space[Any], config: SpaceConfig, seed: int = 0) -> Supernet:
    """A supernet with no bias at zero, where a bias that is not inherited could hide."""
    torch.manual_seed(seed)
    supernet = space.supernet(config)
    with torch.no_grad():
        for name, parameter in supernet.weight_parameters().items():
            if name.endswith("bias"):
                parameter.uniform_(-0.2, 0.2)
            elif parameter.ndim == 4 and parameter.numel() > 1 and float(parameter.std()) < 0.01:
                # Papers that start next to zero would hide every difference.
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")
        for module in supernet.modules():
            if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
                assert module.running_var is not None
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 1.5)
    return supernet.eval()


def derived(space: Space[Any], config: SpaceConfig, picks: Mapping[str, str], supernet: Supernet) -> Network:
    network = space.build(space.genotype(config, picks))
    inherit_weights(network, supernet, picks)
    return network


def outputs(supernet: Supernet, network: Network) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(5)
    x = torch.rand(2, 3, 3 * network.multiple, 2 * network.multiple)
    network.eval()
    with torch.no_grad():
        return supernet(x), network(x)


def difference(supernet: Supernet, network: Network) -> float:
    ours, theirs = outputs(supernet, network)
    return float((ours - theirs).abs().max())


@pytest.mark.parametrize("name", sorted(spaces()))
def test_every_space_has_small_examples_of_every_scale(name: str) -> None:
    space = get_space(name)
    assert space.name == name
    assert {values["scale"] for values in space.examples} == {1, 2, 4}


def test_supernet_with_picks_equals_the_derived_network(
    space_name: str, values: dict[str, Any], random_picks: RandomPicks
) -> None:
    space, config = open_space(space_name, values)
    supernet = scrambled_supernet(space, config)
    for seed in range(8):
        picks = random_picks(space, config, seed)
        supernet.pick(picks)
        network = derived(space, config, picks, supernet)
        ours, theirs = outputs(supernet, network)
        assert ours.shape == (2, 3, network.scale * 3 * network.multiple, network.scale * 2 * network.multiple)
        assert float((ours - theirs).abs().max()) < 1e-6, (seed, picks)


def test_a_wrong_pick_is_seen(space_name: str, values: dict[str, Any], random_picks: RandomPicks) -> None:
    """Every choice matters: picking otherwise in any single one changes the result by far more than rounding."""
    space, config = open_space(space_name, values)
    supernet = scrambled_supernet(space, config)
    picks = random_picks(space, config, 0)
    network = derived(space, config, picks, supernet)
    for choice, picked in space.reached(config, picks).items():
        names = space.candidates(config)[choice]
        other = names[(names.index(picked) + 1) % len(names)]
        supernet.pick({**picks, choice: other})
        assert difference(supernet, network) > 1e-5, (choice, picked, other)


def test_a_weight_that_is_not_inherited_is_seen(
    space_name: str, values: dict[str, Any], random_picks: RandomPicks
) -> None:
    space, config = open_space(space_name, values)
    supernet = scrambled_supernet(space, config)
    picks = random_picks(space, config, 1)
    supernet.pick(picks)
    network = derived(space, config, picks, supernet)
    ours, theirs = outputs(supernet, network)
    assert float((ours - theirs).abs().max()) < 1e-6
    unseen = []
    for name, parameter in network.named_parameters():
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.add_(0.05)
        if difference(supernet, network) < 1e-5:
            unseen.append(name)
        with torch.no_grad():
            parameter.copy_(kept)
    # A squeeze whose few hidden units are all asleep for this image is the one thing that may go unnoticed.
    assert all("squeeze" in name or "excite.weight" in name for name in unseen), unseen


def test_widths_are_inherited_from_the_leading_channels() -> None:
    """The planted fault is a network that took the trailing channels: it computes something else."""
    space, config = open_space("unet", {"channels": (16, 24), "blocks": 1})
    supernet = scrambled_supernet(space, config)
    picks = {name: names[0] for name, names in space.candidates(config).items()}
    supernet.pick(picks)
    network = derived(space, config, picks, supernet)
    assert difference(supernet, network) < 1e-6
    first = network.get_submodule("encoder.0.0.conv1")
    source = supernet.network.get_submodule("encoder.0.0.conv1.candidates.conv3x3")
    assert isinstance(first, nn.Conv2d)
    assert isinstance(source, nn.Conv2d)
    assert first.out_channels < source.out_channels
    with torch.no_grad():
        first.weight.copy_(source.weight[-first.out_channels :])
    assert difference(supernet, network) > 1e-4


def test_derived_network_holds_picked_operations_only(
    space_name: str, values: dict[str, Any], random_picks: RandomPicks
) -> None:
    space, config = open_space(space_name, values)
    common = set()
    for seed in range(4):
        picks = random_picks(space, config, seed)
        network = space.build(space.genotype(config, picks))
        assert not any(isinstance(module, MixedOperation | MixedModule | WidthMask) for module in network.modules())
        # What every network of the space has, and for each cost term that is paid the operation's own weights.
        paid = [term.key for term in space.cost_terms(config) if term.holds(picks)]
        common.add(num_parameters(network) - sum(map(row_parameters, paid)))
    assert len(common) == 1, common


def row_parameters(key: OpKey) -> int:
    return num_parameters(make_operation(key.operation, key.in_channels, key.out_channels))


def test_every_network_is_one_path_through_the_trellis_and_pays_there_what_its_terms_say(
    space_name: str, values: dict[str, Any], random_picks: RandomPicks
) -> None:
    space, config = open_space(space_name, values)
    arcs = space.trellis(config)
    leaving: dict[str, list[Arc]] = {}
    for arc in arcs:
        leaving.setdefault(arc.source, []).append(arc)
    fixed = [term.key for term in space.cost_terms(config) if not term.when]
    for seed in range(4):
        picks = space.reached(config, random_picks(space, config, seed))
        node, keys = START, list(fixed)
        made: dict[str, str] = {}
        while node != END:
            (arc,) = [a for a in leaving[node] if all(picks.get(choice) == name for choice, name in a.picks)]
            made |= dict(arc.picks)
            keys += arc.keys
            node = arc.target
        assert made == picks
        assert sorted(keys) == sorted(term.key for term in space.cost_terms(config) if term.holds(picks))


def test_trellis_lists_what_enters_a_node_before_what_leaves_it(space_name: str, values: dict[str, Any]) -> None:
    space, config = open_space(space_name, values)
    left: set[str] = set()
    entered = {START}
    for arc in space.trellis(config):
        assert arc.source in entered
        assert arc.target not in left
        left.add(arc.source)
        entered.add(arc.target)
    assert entered - left == {END}


def test_every_supernet_weight_gets_a_gradient_under_softmax(space_name: str, values: dict[str, Any]) -> None:
    space, config = open_space(space_name, values)
    supernet = scrambled_supernet(space, config)
    for choice in supernet.choices.values():
        choice.decide(Selection(torch.softmax(choice.raw, 0), tuple(range(choice.raw.numel()))))
    multiple = space.build(space.genotype(config, space.reference_picks(config))).multiple
    torch.manual_seed(1)
    out = supernet(torch.rand(2, 3, 2 * multiple, 2 * multiple))
    (out - torch.rand_like(out)).pow(2).mean().backward()
    asleep = []
    for name, parameter in supernet.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        if not parameter.grad.abs().sum() > 0:
            asleep.append(name)
    assert all("squeeze" in name for name in asleep), asleep
    assert {f"network.{name}" for name in supernet.weight_parameters()} <= dict(supernet.named_parameters()).keys()


def test_raw_vectors_are_no_weights(space_name: str, values: dict[str, Any]) -> None:
    space, config = open_space(space_name, values)
    supernet = space.supernet(config)
    weights = {id(p) for p in supernet.weight_parameters().values()}
    raw = {id(choice.raw) for choice in supernet.choices.values()}
    assert not weights & raw
    assert weights | raw == {id(p) for p in supernet.parameters()}


def test_every_cost_term_is_priced_by_a_carrier(space_name: str, values: dict[str, Any]) -> None:
    space, config = open_space(space_name, values)
    carriers = space.carriers(config)
    priced = {key for carrier in carriers for key in carrier.keys}
    wanted = {term.key for term in space.cost_terms(config)}
    assert wanted <= priced
    assert len({(carrier.divisor, carrier.id) for carrier in carriers}) == len(carriers)
    candidates = space.candidates(config)
    for term in space.cost_terms(config):
        assert all(set(names) <= set(candidates[choice]) for choice, names in term.when)
        assert len({choice for choice, _ in term.when}) == len(term.when)


def test_a_carrier_is_a_unit_of_what_it_prices(space_name: str, values: dict[str, Any]) -> None:
    space, config = open_space(space_name, values)
    for carrier in space.carriers(config):
        unit = carrier.make()
        scales = [torch.rand(1, carrier.channels * 2**n, 16 // 2**n, 16 // 2**n) for n in range(carrier.branches)]
        if carrier.branches == 1:
            assert unit(scales[0]).shape == scales[0].shape
        else:
            assert [out.shape for out in unit(scales)] == [x.shape for x in scales]
        assert num_parameters(unit) == sum(map(row_parameters, carrier.keys)), carrier.id


def test_candidates_come_from_the_supernet_without_its_weights(space_name: str, values: dict[str, Any]) -> None:
    space, config = open_space(space_name, values)
    real = {name: choice.candidates for name, choice in space.supernet(config).choices.items()}
    assert space.candidates(config) == real


def test_number_of_networks_is_the_number_of_paths(space_name: str, values: dict[str, Any]) -> None:
    space, config = open_space(space_name, values)
    paths = {START: 1}
    for arc in space.trellis(config):
        paths[arc.target] = paths.get(arc.target, 0) + paths[arc.source]
    assert space.num_networks(config) == paths[END]


def test_reference_network_is_one_of_the_space(space_name: str, values: dict[str, Any]) -> None:
    space, config = open_space(space_name, values)
    genotype = space.genotype(config, space.reference_picks(config))
    assert isinstance(space.build(genotype), Network)


@pytest.mark.parametrize("space_name", sorted(spaces()))
def test_task_config_fits_every_scale(space_name: str) -> None:
    space = get_space(space_name)
    for scale in (1, 2, 4):
        assert space.parse_config(space.task_config(scale)).scale == scale


class TestRefusals:
    """What a space does not build."""

    @pytest.fixture
    def space(self) -> Space[Any]:
        return get_space("unet")

    @pytest.fixture
    def genotype(self, space: Space[Any]) -> Genotype:
        config = space.parse_config({"channels": (16,), "blocks": 1})
        return space.genotype(config, space.reference_picks(config))

    def test_another_version(self, space: Space[Any], genotype: Genotype) -> None:
        with pytest.raises(GenotypeError, match="unet v99 given to space unet v1"):
            space.build(genotype.model_copy(update={"version": 99}))

    def test_another_space(self, space: Space[Any], genotype: Genotype) -> None:
        with pytest.raises(GenotypeError, match="genotype of ring v1"):
            space.build(genotype.model_copy(update={"space": "ring"}))

    def test_a_missing_pick(self, space: Space[Any], genotype: Genotype) -> None:
        with pytest.raises(GenotypeError, match=r"choice bottleneck0\.0\.attention: picked None"):
            space.build(genotype.model_copy(update={"choices": genotype.choices[:-1]}))

    def test_an_unknown_pick(self, space: Space[Any], genotype: Genotype) -> None:
        wrong = genotype.choices[0].model_copy(update={"picked": "conv9x9"})
        with pytest.raises(GenotypeError, match="picked 'conv9x9', allowed: "):
            space.build(genotype.model_copy(update={"choices": (wrong, *genotype.choices[1:])}))

    def test_a_pick_for_no_choice(self, space: Space[Any], genotype: Genotype) -> None:
        ghost = genotype.choices[0].model_copy(update={"id": "ghost"})
        with pytest.raises(GenotypeError, match="does not have: ghost"):
            space.build(genotype.model_copy(update={"choices": (*genotype.choices, ghost)}))

    def test_picks_that_do_not_match_are_not_written_down(self, space: Space[Any]) -> None:
        config = space.parse_config({"channels": (16,), "blocks": 1})
        picks = space.reference_picks(config)
        first = next(iter(picks))
        with pytest.raises(GenotypeError, match=f"choice {first}: picked None"):
            space.genotype(config, {name: pick for name, pick in picks.items() if name != first})
        with pytest.raises(GenotypeError, match="no choice called ghost"):
            space.genotype(config, {**picks, "ghost": "conv3x3"})
        with pytest.raises(GenotypeError, match="picked 'nothing'"):
            space.genotype(config, {**picks, first: "nothing"})

    def test_unknown_config_keys(self, space: Space[Any]) -> None:
        with pytest.raises(GenotypeError, match="chanels"):
            space.parse_config({"chanels": (8, 16)})

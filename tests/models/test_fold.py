"""Folding whole networks, and what the folded form costs."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from models import (
    OPERATIONS,
    Foldable,
    Network,
    OpKey,
    count_macs,
    fold_module,
    fold_network,
    get_space,
    has_folds,
    make_operation,
    num_parameters,
    operation_cost,
    receptive_radius,
)

FOLDING = [name for name, o in OPERATIONS.items() if o.kind == "convolution" and has_folds(o.make(8, 8))]
THREE = ("rep3x3", "rep_edge3x3")
PLAIN = "conv3x3"
"""What those fold into."""


def unet(name: str, **values: Any) -> Network:
    """A network with one kind of convolution and biases that are not zero."""
    space = get_space("unet")
    config = space.parse_config({"channels": (8, 16), "blocks": 1, "convolutions": (name,), **values})
    torch.manual_seed(0)
    network = space.build(space.genotype(config, space.reference_picks(config)))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def difference(one: nn.Module, other: nn.Module, size: tuple[int, int]) -> float:
    """Of any pixel, border included, as a part of the largest output."""
    torch.manual_seed(1)
    x = torch.rand(2, 3, *size)
    with torch.no_grad():
        expected = one(x)
        return float((other(x) - expected).abs().max() / expected.abs().max())


def foldables(module: nn.Module) -> Iterator[nn.Module]:
    return (layer for layer in module.modules() if isinstance(layer, Foldable))


def test_there_is_something_to_fold() -> None:
    assert set(THREE) <= set(FOLDING)
    assert not has_folds(make_operation(PLAIN, 8, 8))


@pytest.mark.parametrize("size", [(4, 4), (12, 20), (28, 4)])
@pytest.mark.parametrize("name", FOLDING)
def test_a_folded_network_restores_the_same(name: str, size: tuple[int, int]) -> None:
    network = unet(name)
    folded = fold_network(network)
    assert has_folds(network)
    assert not has_folds(folded)
    assert difference(network.eval(), folded, size) < 1e-5
    # planted fault: one of its layers is not what its branches are
    layer = next(foldables(network))
    with torch.no_grad():
        next(layer.parameters()).add_(0.05)
    assert difference(network, folded, size) > 1e-3


@pytest.mark.parametrize("name", FOLDING)
def test_what_was_passed_in_trains_on(name: str) -> None:
    network = unet(name).train()
    before = copy.deepcopy(network.state_dict())
    draws = torch.get_rng_state()
    folded = fold_network(network)
    assert torch.equal(torch.get_rng_state(), draws)
    assert network.training
    assert not any(module.training for module in folded.modules())
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
    with torch.no_grad():
        for parameter in folded.parameters():
            parameter.zero_()
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


@pytest.mark.parametrize("name", THREE)
def test_a_folded_network_is_the_plain_one_with_other_weights(name: str) -> None:
    """Same layers under the same names, so that nothing downstream can tell it from a network trained plainly."""
    folded, plain = fold_network(unet(name)), unet(PLAIN)
    shapes = [{key: tensor.shape for key, tensor in n.state_dict().items()} for n in (folded, plain)]
    assert shapes[0] == shapes[1]
    plain.load_state_dict(folded.state_dict())
    assert difference(plain.eval(), folded, (12, 20)) < 1e-6


def test_without_anything_to_fold_it_is_a_copy() -> None:
    network = unet(PLAIN).train()
    folded = fold_network(network)
    assert folded is not network
    assert type(folded) is type(network)
    assert network.training
    assert not folded.training
    assert difference(network.eval(), folded, (12, 20)) == 0.0


def test_a_layer_in_two_places_is_folded_once() -> None:
    layer = make_operation("rep3x3", 3, 3)
    folded = fold_module(nn.Sequential(layer, nn.Sequential(nn.ReLU(), layer), layer))
    convolutions = [module for module in folded.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 1
    assert not has_folds(folded)
    assert folded.get_submodule("0") is folded.get_submodule("1.1") is folded.get_submodule("2")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_layer_alone_keeps_its_type_and_whether_it_trains(dtype: torch.dtype) -> None:
    layer = make_operation("rep3x3", 4, 6).to(dtype)
    folded = fold_module(layer)
    assert not has_folds(folded)
    assert all(p.dtype == dtype and p.requires_grad for p in folded.parameters())
    assert not any(p.requires_grad for p in fold_module(layer.requires_grad_(False)).parameters())


@pytest.mark.parametrize("name", THREE)
def test_costs_are_those_of_what_is_served(name: str) -> None:
    key = OpKey(name, 8, 24, 2)
    plain = operation_cost(OpKey(PLAIN, 8, 24, 2), 32, 32)
    assert operation_cost(key, 32, 32) == plain
    layer = make_operation(name, 8, 24)
    assert num_parameters(layer) == plain.parameters == 9 * 8 * 24 + 24
    # The branches have more, and would be seen.
    assert sum(parameter.numel() for parameter in layer.parameters()) > plain.parameters


@pytest.mark.parametrize("name", THREE)
def test_facts_about_networks_are_those_of_what_is_served(name: str) -> None:
    values: dict[str, Any] = {"attentions": ("identity",), "unshuffle": 1}
    network, plain = unet(name, **values), unet(PLAIN, **values)
    assert num_parameters(network) == num_parameters(plain)
    assert receptive_radius(network) == receptive_radius(plain)
    with torch.device("meta"):
        macs = [count_macs(built, 32, 32) for built in (unet(name, **values), unet(PLAIN, **values))]
    assert macs[0] == macs[1] > 0

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from models import Condition, GenotypeError, Network, restore_whole
from models.search_spaces.unet import UNetConfig, UNetSpace, plan_blocks
from tasks import imresize

SPACE = UNetSpace()


def build(**values: Any) -> Network:
    config = SPACE.parse_config({"channels": (8, 16), "blocks": 1, **values})
    torch.manual_seed(0)
    return SPACE.build(SPACE.genotype(config, SPACE.reference_picks(config)))


def silence(network: Network) -> None:
    """No residual: what is left is the global skip."""
    tail = network.get_submodule("tail")
    assert isinstance(tail, nn.Conv2d)
    assert tail.bias is not None
    nn.init.zeros_(tail.weight)
    nn.init.zeros_(tail.bias)


@pytest.mark.parametrize("scale", [2, 4])
def test_without_residual_it_is_the_bicubic_baseline(scale: int) -> None:
    network = build(scale=scale, unshuffle=1)
    image = np.random.default_rng(0).random((3, 24, 30), dtype=np.float32)
    expected = np.clip(imresize(image, float(scale)), 0, 1)
    inner = slice(3 * scale, -3 * scale)  # the border rules differ, and nobody scores the border
    silence(network)
    ours = restore_whole(network, image)
    assert np.abs(ours - expected)[:, inner, inner].max() < 1e-5
    # With its residual it is something else.
    tail = network.get_submodule("tail")
    assert isinstance(tail, nn.Conv2d)
    nn.init.constant_(tail.weight, 0.01)
    assert np.abs(restore_whole(network, image) - expected)[:, inner, inner].max() > 1e-3


def test_without_residual_a_same_size_network_is_the_identity() -> None:
    network = build(scale=1, unshuffle=2)
    silence(network)
    image = np.random.default_rng(0).random((3, 17, 23), dtype=np.float32)
    assert np.array_equal(restore_whole(network, image), image)


def test_autoderains_choices_are_five_by_five_by_two_per_block() -> None:
    config = SPACE.parse_config({"widths": (1.0,)})
    blocks = len(list(plan_blocks(config)))
    assert blocks == 2 * (2 * 2 + 1)
    sizes = [len(names) for names in SPACE.candidates(config).values()]
    assert sizes == [5, 5, 2] * blocks
    assert SPACE.num_networks(config) == (5 * 5 * 2) ** blocks


def test_widths_double_the_networks_of_each_block() -> None:
    config = SPACE.parse_config({})
    assert SPACE.num_networks(config) == (2 * 5 * 5 * 2) ** 10


def test_blocks_come_in_the_order_of_the_forward_pass() -> None:
    config = SPACE.parse_config({"channels": (8, 16, 24), "blocks": 1, "unshuffle": 2})
    found = [(plan.prefix, plan.channels, plan.divisor) for plan in plan_blocks(config)]
    assert found == [
        ("encoder0.0", 8, 2),
        ("encoder1.0", 16, 4),
        ("bottleneck2.0", 24, 8),
        ("decoder1.0", 16, 4),
        ("decoder0.0", 8, 2),
    ]


@pytest.mark.parametrize(
    ("channels", "fractions", "widths"),
    [
        (32, (0.5, 1.0), (16, 32)),
        (24, (0.5, 1.0), (16, 24)),
        (8, (0.5, 1.0), (8,)),
        (64, (0.25, 0.5, 1.0), (16, 32, 64)),
    ],
)
def test_widths_are_multiples_of_eight_without_repeats(
    channels: int, fractions: tuple[float, ...], widths: tuple[int, ...]
) -> None:
    assert UNetConfig(widths=fractions).block_widths(channels) == widths


@pytest.mark.parametrize(
    "values",
    [
        {"channels": ()},
        {"channels": (12,)},
        {"channels": (0,)},
        {"blocks": 0},
        {"widths": ()},
        {"widths": (1.0, 0.5)},
        {"widths": (0.5, 0.5)},
        {"widths": (0.0, 1.0)},
        {"widths": (1.5,)},
        {"convolutions": ()},
        {"convolutions": ("conv3x3", "conv9x9")},
        {"attentions": ("transformer",)},
        {"unshuffle": 0},
        {"scale": 0},
        {"scale": 3},
        {"depth": 3},
    ],
)
def test_configs_out_of_range_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(GenotypeError, match=f"config of space unet.*(?s:.*){next(iter(values))}"):
        SPACE.parse_config(values)


@pytest.mark.parametrize(("unshuffle", "levels", "multiple"), [(1, 1, 1), (2, 1, 2), (2, 3, 8), (1, 3, 4), (3, 2, 6)])
def test_multiple_is_what_the_network_needs(unshuffle: int, levels: int, multiple: int) -> None:
    network = build(channels=(8,) * levels, unshuffle=unshuffle)
    assert network.multiple == multiple
    assert network(torch.rand(1, 3, multiple, 2 * multiple)).shape == (1, 3, multiple, 2 * multiple)
    if multiple > 1:
        with pytest.raises(RuntimeError):
            network(torch.rand(1, 3, multiple + 1, 2 * multiple))


def test_costs_of_a_block_by_hand() -> None:
    config = SPACE.parse_config({"channels": (16,), "blocks": 1, "convolutions": ("conv3x3", "conv5x5")})
    terms = {(str(term.key), term.when) for term in SPACE.cost_terms(config)}
    block = "bottleneck0.0"
    expected: set[tuple[str, tuple[Condition, ...]]] = set()
    for name in ("conv3x3", "conv5x5"):
        for width in (8, 16):
            wide = ((f"{block}.width", (str(width),)),)
            expected.add((f"{name} 16->{width} @1/2", ((f"{block}.conv1", (name,)), *wide)))
            expected.add((f"{name} {width}->16 @1/2", ((f"{block}.conv2", (name,)), *wide)))
    expected.add(("squeeze_excitation 16->16 @1/2", ((f"{block}.attention", ("squeeze_excitation",)),)))
    assert terms == expected


def test_operations_that_cannot_be_cut_are_refused_where_widths_are_searched() -> None:
    """With normalisation, a channel that is masked to zero is not without effect: supernet and network would differ."""
    values = {"channels": (16,), "convolutions": ("conv3x3", "act_conv3x3")}
    with pytest.raises(GenotypeError, match="act_conv3x3 cannot be cut to a searched width; search one width"):
        SPACE.parse_config(values)
    assert SPACE.parse_config({**values, "widths": (1.0,)}).convolutions == ("conv3x3", "act_conv3x3")

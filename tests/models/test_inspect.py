"""The receptive radius, computed by hand and felt out pixel by pixel."""

from typing import Any

import pytest
import torch
from torch import nn

from models import Network, get_space, num_parameters, receptive_radius


class Plain(Network):
    """Convolutions of given kernels and dilations, nothing else."""

    def __init__(self, *layers: tuple[int, int], multiple: int = 1) -> None:
        super().__init__()
        self.scale, self.multiple = 1, multiple
        self.body = nn.Sequential(*(nn.Conv2d(3, 3, k, padding=d * (k - 1) // 2, dilation=d) for k, d in layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.body(x)
        return out


class Strided(Network):
    """Down by four and up again, without looking beyond a cell: the far end of a cell is three pixels away."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.multiple = 1, 4
        self.body = nn.Sequential(nn.Conv2d(3, 48, 4, stride=4), nn.PixelShuffle(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.body(x)
        return out


@pytest.mark.parametrize(
    ("layers", "radius"),
    [(((1, 1),), 0), (((3, 1),), 1), (((3, 2),), 2), (((3, 1), (5, 1), (3, 2)), 5), (((5, 1),) * 12, 24)],
)
@pytest.mark.parametrize("multiple", [1, 8])
def test_radius_of_plain_convolutions(layers: tuple[tuple[int, int], ...], radius: int, multiple: int) -> None:
    assert receptive_radius(Plain(*layers, multiple=multiple)) == radius


def test_radius_counts_from_the_far_end_of_a_cell() -> None:
    assert receptive_radius(Strided()) == 3


def unet(**values: Any) -> Network:
    space = get_space("unet")
    config = space.parse_config(
        {"channels": (8, 16), "blocks": 1, "convolutions": ("conv3x3",), "attentions": ("identity",), **values}
    )
    torch.manual_seed(0)
    return space.build(space.genotype(config, space.reference_picks(config))).double()


def felt_radius(network: Network, size: int) -> int:
    """Change every pixel of one row in turn, in a network with random weights, and see how far anything changes."""
    base = torch.rand(1, 3, size, size, dtype=torch.float64)
    middle = size // 2
    far = 0
    with torch.no_grad():
        reference = network(base)
        for column in range(middle, middle + network.multiple):
            changed = base.clone()
            changed[0, :, middle, column] += 1.0
            moved = (network(changed) - reference).abs().sum((0, 1, 2)) > 0
            columns = torch.nonzero(moved).flatten() // network.scale
            far = max(far, column - int(columns.min()), int(columns.max()) - column)
    return far


@pytest.mark.parametrize(
    "values",
    [
        {"unshuffle": 2},
        {"unshuffle": 1, "scale": 2},
        {"unshuffle": 1, "channels": (8, 8, 16), "scale": 4},
        {"unshuffle": 3, "convolutions": ("dilated3x3",)},
    ],
)
def test_pixels_outside_the_radius_change_nothing_and_one_inside_does(values: dict[str, Any]) -> None:
    network = unet(**values)
    radius = receptive_radius(network)
    assert radius is not None
    size = (2 * radius // network.multiple + 4) * network.multiple
    # Equal: nothing further away is seen, and what is that far away is.
    assert felt_radius(network, size) == radius


def test_a_network_with_squeeze_excitation_sees_everything() -> None:
    assert receptive_radius(unet(attentions=("squeeze_excitation",))) is None


def test_the_network_is_left_as_it_was() -> None:
    network = unet().float()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    receptive_radius(network)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_parameters_are_counted_by_hand() -> None:
    layer = nn.Conv2d(3, 5, 3)
    assert num_parameters(layer) == 3 * 5 * 9 + 5
    layer.weight.requires_grad_(False)
    assert num_parameters(layer) == 5

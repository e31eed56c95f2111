"""Layers of branches, against the branches run one by one and summed up."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import get_space, inherit_weights, make_operation
from models.operations import reparameterised
from models.operations.reparameterised import EDGE_FILTERS, ReparameterisedConvolution

NAMES = [operation.name for operation in reparameterised.OPERATIONS]
PAIRS = ((8, 8), (1, 1), (3, 5), (8, 24), (32, 8), (48, 48))
SIZES = ((1, 1), (1, 7), (2, 2), (5, 9), (16, 13))
TOLERANCE = 1e-5

Fault = Callable[[nn.Conv2d, ReparameterisedConvolution], None]


def scrambled(name: str, pair: tuple[int, int], seed: int = 0) -> ReparameterisedConvolution:
    """With every branch as strong as the next, so that none of them can hide."""
    torch.manual_seed(seed)
    layer = make_operation(name, *pair)
    assert isinstance(layer, ReparameterisedConvolution)
    with torch.no_grad():
        for key, parameter in layer.named_parameters():
            factors = key in ("bias", "identity", "edge_scales")
            fan_in = 1 if factors else parameter[0].numel() if parameter.ndim == 4 else parameter.shape[-1]
            parameter.copy_(torch.randn_like(parameter) / fan_in**0.5)
    return layer


def one_by_one(layer: ReparameterisedConvolution, x: Tensor) -> Tensor:
    """The layer as its papers draw it: every branch on the picture, each with zero padding of its own."""
    parts = dict(layer.named_parameters())
    total = F.conv2d(x, parts["weight"], parts["bias"], padding=1)
    if "point" in parts:
        total = total + F.conv2d(x, parts["point"][:, :, None, None])
    if "expand" in parts:
        hidden = F.conv2d(x, parts["expand"][:, :, None, None])
        total = total + F.conv2d(hidden, parts["squeeze"], padding=1)
        for number, filter_ in enumerate(EDGE_FILTERS):
            hidden = F.conv2d(x, parts["edge_points"][number][:, :, None, None])
            count = hidden.shape[1]
            edge = torch.tensor(filter_).to(x).expand(count, 1, 3, 3)
            found = F.conv2d(hidden, edge, padding=1, groups=count)
            total = total + parts["edge_scales"][number][:, None, None] * found
    both = min(x.shape[1], total.shape[1])
    passed = parts["identity"][:, None, None] * x[:, :both]
    return torch.cat([total[:, :both] + passed, total[:, both:]], 1)


def largest_error(layer: ReparameterisedConvolution, plain: nn.Module, size: tuple[int, int]) -> float:
    """Of any pixel, border included, as a part of the largest output."""
    torch.manual_seed(1)
    x = torch.rand(2, layer.in_channels, *size)
    with torch.no_grad():
        expected, got = one_by_one(layer, x), plain(x)
    assert got.shape == expected.shape
    return float((got - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("name", NAMES)
def test_one_convolution_computes_what_the_branches_compute(
    name: str, pair: tuple[int, int], size: tuple[int, int]
) -> None:
    layer = scrambled(name, pair)
    plain = layer.folded()
    assert type(plain) is nn.Conv2d
    assert largest_error(layer, layer, size) < TOLERANCE
    assert largest_error(layer, plain, size) < TOLERANCE


def shifted(plain: nn.Conv2d, layer: ReparameterisedConvolution) -> None:
    """Everything but the 3x3 branch one column to the right."""
    plain.weight.add_(torch.roll(plain.weight - layer.weight, 1, 3) - (plain.weight - layer.weight))


def without_identity(plain: nn.Conv2d, layer: ReparameterisedConvolution) -> None:
    """Forgotten."""
    for channel, factor in enumerate(layer.identity):  # type: ignore[arg-type]
        plain.weight[channel, channel, 1, 1] -= factor


def without_bias(plain: nn.Conv2d, layer: ReparameterisedConvolution) -> None:  # noqa: ARG001
    """Forgotten."""
    assert plain.bias is not None
    plain.bias.zero_()


@pytest.mark.parametrize("fault", [shifted, without_identity, without_bias])
@pytest.mark.parametrize("pair", [(8, 8), (8, 24), (32, 8)])
@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_fold_is_seen(name: str, pair: tuple[int, int], fault: Fault) -> None:
    layer = scrambled(name, pair)
    plain = layer.folded()
    with torch.no_grad():
        fault(plain, layer)
    assert largest_error(layer, plain, (5, 9)) > 100 * TOLERANCE


def test_edge_filters_that_look_the_other_way_are_seen() -> None:
    layer = scrambled("rep_edge3x3", (8, 24))
    turned = copy.deepcopy(layer)
    turned.edges = layer.get_buffer("edges").transpose(1, 2)
    assert largest_error(layer, turned.folded(), (5, 9)) > 100 * TOLERANCE


def test_a_bias_inside_a_branch_would_not_fold_at_the_border() -> None:
    """Why there is none: inside, the bias of the 1x1 folds into the sum's; at the border it meets zeros."""
    torch.manual_seed(0)
    first, second = nn.Conv2d(4, 6, 1), nn.Conv2d(6, 5, 3, padding=1, bias=False)
    assert first.bias is not None
    kernel = torch.einsum("ohyx,hi->oiyx", second.weight, first.weight[:, :, 0, 0])
    bias = (second.weight.sum((2, 3)) * first.bias).sum(1)
    x = torch.rand(1, 4, 8, 8)
    with torch.no_grad():
        difference = (second(first(x)) - F.conv2d(x, kernel, bias, padding=1)).abs()
    assert difference[:, :, 1:-1, 1:-1].max() < 1e-6
    assert difference.max() > 1e-2


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_the_branches(name: str) -> None:
    layer = scrambled(name, (6, 4)).double()
    torch.manual_seed(2)
    x = torch.rand(2, 6, 5, 7, dtype=torch.float64)
    wanted = torch.rand(2, 4, 5, 7, dtype=torch.float64)
    names, parameters = zip(*layer.named_parameters(), strict=True)
    ours = torch.autograd.grad(((layer(x) - wanted) ** 2).sum(), parameters)
    theirs = torch.autograd.grad(((one_by_one(layer, x) - wanted) ** 2).sum(), parameters)
    for parameter, our, their in zip(names, ours, theirs, strict=True):
        assert their.abs().max() > 1e-3, parameter
        assert (our - their).abs().max() < 1e-9 * their.abs().max(), parameter


@pytest.mark.parametrize("name", NAMES)
def test_it_starts_close_to_the_plain_convolution_of_its_weight(name: str) -> None:
    """However a network initialises its convolutions; and every branch learns from the first step on."""
    torch.manual_seed(0)
    layer = make_operation(name, 32, 32)
    assert isinstance(layer, ReparameterisedConvolution)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    with torch.no_grad():
        added = layer.kernel() - layer.weight
    assert added.norm() < 0.15 * layer.weight.norm()
    before = {key: parameter.detach().clone() for key, parameter in layer.named_parameters()}
    (layer(torch.rand(2, 32, 8, 8)) ** 2).sum().backward()
    torch.optim.Adam(layer.parameters(), lr=1e-3).step()
    assert not any(torch.equal(parameter, before[key]) for key, parameter in layer.named_parameters())


@pytest.mark.parametrize("cut", [(8, 24), (24, 8), (8, 8), (16, 8)])
@pytest.mark.parametrize("name", NAMES)
def test_a_square_layer_can_be_cut_on_either_side(name: str, cut: tuple[int, int]) -> None:
    """A supernet's layer is square where its narrower ones are not: an identity of square layers only would be lost."""

    def narrow(whole: ReparameterisedConvolution) -> ReparameterisedConvolution:
        made = make_operation(name, *cut)
        source = whole.state_dict()
        made.load_state_dict({n: source[n][tuple(slice(0, s) for s in t.shape)] for n, t in made.state_dict().items()})
        assert isinstance(made, ReparameterisedConvolution)
        return made

    whole = scrambled(name, (24, 24))
    into, out = cut
    x = torch.rand(1, 24, 7, 6)
    x[:, into:] = 0.0
    with torch.no_grad():
        masked, narrowed = whole(x)[:, :out], narrow(whole)(x[:, :into])
        assert (masked - narrowed).abs().max() < TOLERANCE
        without = narrow(whole)
        without.identity.zero_()  # type: ignore[operator]
        assert (masked - without(x[:, :into])).abs().max() > 100 * TOLERANCE


@pytest.mark.parametrize("seed", range(4))
def test_the_u_shaped_space_searches_them_like_any_convolution(seed: int) -> None:
    space = get_space("unet")
    config = space.parse_config({"channels": (16, 24), "blocks": 1, "convolutions": ("conv3x3", *NAMES)})
    torch.manual_seed(seed)
    supernet = space.supernet(config).eval()
    with torch.no_grad():
        for parameter in supernet.weight_parameters().values():
            parameter.add_(0.05 * torch.randn_like(parameter))
    generator = torch.Generator().manual_seed(seed)
    picks = {
        choice: names[int(torch.randint(len(names), (), generator=generator))]
        for choice, names in space.candidates(config).items()
    }
    assert set(picks.values()) & set(NAMES)
    supernet.pick(picks)
    network = space.build(space.genotype(config, picks)).eval()
    x = torch.rand(1, 3, 8, 12)
    with torch.no_grad():
        restored = supernet(x)
        assert (network(x) - restored).abs().max() > 1e-2
        inherit_weights(network, supernet, picks)
        assert (network(x) - restored).abs().max() < 1e-5 * restored.abs().max()


@pytest.mark.parametrize("name", NAMES)
def test_the_fold_is_composed_in_double_precision(name: str) -> None:
    layer = scrambled(name, (48, 48))
    with torch.no_grad():
        single = layer.kernel()
        double = layer.double().kernel()
    layer.float()
    plain = layer.folded()
    assert plain.weight.dtype == torch.float32
    assert torch.equal(plain.weight, double.float())
    assert not torch.equal(plain.weight, single)
    assert layer.weight.dtype == torch.float32

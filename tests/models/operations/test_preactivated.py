import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models import OPERATIONS, make_operation, num_parameters
from models.operations import preactivated

NAMES = [operation.name for operation in preactivated.OPERATIONS]
ACTIVATED = [name for name in NAMES if name.startswith("act_")]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # 10 -> 20 channels; every normalisation has a scale and a shift per channel.
        ("act_conv3x3", 10 * 20 * 9 + 2 * 20),
        ("act_dilated3x3", 10 * 20 * 9 + 2 * 20),
        ("act_dilated5x5", 10 * 20 * 25 + 2 * 20),
        ("act_separable3x3", (10 * 9 + 10 * 10 + 2 * 10) + (10 * 9 + 10 * 20 + 2 * 20)),
        ("act_separable5x5", (10 * 25 + 10 * 10 + 2 * 10) + (10 * 25 + 10 * 20 + 2 * 20)),
        ("pointwise_bn", 10 * 20 + 2 * 20),
    ],
)
def test_parameters_by_hand(name: str, parameters: int) -> None:
    assert num_parameters(make_operation(name, 10, 20)) == parameters


@pytest.mark.parametrize("name", NAMES)
def test_convolutions_before_a_normalisation_have_no_bias_and_nothing_is_cuttable(name: str) -> None:
    layer = make_operation(name, 4, 6)
    assert all(module.bias is None for module in layer.modules() if isinstance(module, nn.Conv2d))
    assert not OPERATIONS[name].cuttable
    shifted = [module for module in layer.modules() if isinstance(module, nn.BatchNorm2d)][-1]
    nn.init.ones_(shifted.bias)
    assert layer.eval()(torch.zeros(1, 4, 3, 3)).abs().min() > 0.5


@pytest.mark.parametrize(
    ("name", "reach"),
    [
        ("act_conv3x3", 1),
        ("act_separable3x3", 2),  # twice
        ("act_separable5x5", 4),
        ("act_dilated3x3", 2),
        ("act_dilated5x5", 4),
        ("pointwise_bn", 0),
    ],
)
def test_reach_in_pixels(name: str, reach: int) -> None:
    layer = make_operation(name, 2, 2).eval()
    for parameter in layer.parameters():
        nn.init.ones_(parameter)
    x = torch.zeros(1, 2, 15, 15)
    x[..., 7, 7] = 1.0
    with torch.no_grad():
        lit = (layer(x) - layer(torch.zeros_like(x))).abs().sum(1)[0] > 1e-6
    rows = torch.nonzero(lit.any(1)).flatten()
    assert (7 - int(rows.min()), int(rows.max()) - 7) == (reach, reach)
    if "dilated" in name:
        assert not lit[7 - reach + 1].any()


@pytest.mark.parametrize("name", ACTIVATED)
def test_the_activation_comes_first_and_leaves_the_input_alone(name: str) -> None:
    torch.manual_seed(0)
    layer = make_operation(name, 4, 4).eval()
    x = torch.randn(1, 4, 6, 6)
    kept = x.clone()
    with torch.no_grad():
        found = layer(x)
        # Negative values count a fifth.
        scaled = layer(torch.where(x < 0, 0.5 * x, x))
    assert torch.equal(x, kept)
    assert (found - scaled).abs().max() > 1e-4
    if name != "act_conv3x3":
        return
    assert isinstance(layer, preactivated.ActivatedConvolution)
    by_hand = F.conv2d(torch.where(x < 0, 0.2 * x, x), layer.convolution.weight, padding=1) / (1 + 1e-5) ** 0.5
    assert (found - by_hand).abs().max() < 1e-5
    assert (found - F.conv2d(x, layer.convolution.weight, padding=1)).abs().max() > 1e-2


def test_a_projection_has_no_activation() -> None:
    torch.manual_seed(0)
    layer = make_operation("pointwise_bn", 4, 6).eval()
    x = torch.randn(1, 4, 5, 5)
    with torch.no_grad():
        assert (layer(-x) + layer(x)).abs().max() < 1e-6


def test_a_separable_activates_between_its_halves() -> None:
    torch.manual_seed(0)
    layer = make_operation("act_separable3x3", 4, 4).eval()
    assert isinstance(layer, preactivated.ActivatedSeparable)
    x = torch.rand(1, 4, 6, 6)
    with torch.no_grad():
        middle = layer.first(x)
        assert middle.min() < 0
        assert torch.equal(layer(x), layer.second(F.leaky_relu(middle, 0.2)))
        assert not torch.allclose(layer(x), layer.second(middle))

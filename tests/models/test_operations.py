"""Every registered operation, whatever it is: a new registry line is tested by being there."""

import numpy as np
import pytest
import torch
from torch import nn

from export import export_onnx
from models import OPERATIONS, UnknownNameError, make_operation
from models.operations import InnerWidths
from runtime import Target, open_engine

PAIRS = ((8, 8), (8, 24), (32, 8), (3, 5))

CASES = [
    (name, pair)
    for name, operation in OPERATIONS.items()
    for pair in PAIRS
    # Modules take lists of scales, and nothing has no gradient: both are tested beside their classes.
    if operation.kind == "convolution" or (operation.kind == "attention" and pair[0] == pair[1])
]
CUTTABLE = {name: operation for name, operation in OPERATIONS.items() if operation.cuttable}


def make(name: str, pair: tuple[int, int], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return make_operation(name, *pair)


@pytest.mark.parametrize(("name", "pair"), CASES)
@pytest.mark.parametrize("size", [(7, 12), (1, 1), (16, 5)])
def test_height_and_width_are_kept(name: str, pair: tuple[int, int], size: tuple[int, int]) -> None:
    assert make(name, pair)(torch.rand(2, pair[0], *size)).shape == (2, pair[1], *size)


@pytest.mark.parametrize(("name", "pair"), CASES)
def test_every_parameter_gets_a_gradient(name: str, pair: tuple[int, int]) -> None:
    layer = make(name, pair)
    x = torch.rand(2, pair[0], 9, 8, requires_grad=True)
    (layer(x) ** 2).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    for parameter_name, parameter in layer.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


def biased(name: str, pair: tuple[int, int]) -> nn.Module:
    """In eval mode, with biases that are not zero, so that a bias in the wrong place cannot hide."""
    layer = make(name, pair).eval()
    with torch.no_grad():
        for module in layer.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                module.bias.uniform_(0.5, 1.0)
    return layer


class Leading(nn.Module):
    """Zeros from channel `keep` on: a width mask with a one-hot pick."""

    def __init__(self, keep: int) -> None:
        super().__init__()
        self.keep = keep

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[:, : self.keep], torch.zeros_like(x[:, self.keep :])], 1)


def masking_error(whole: nn.Module, cut: nn.Module, keep: int) -> float:
    """Masked input through `whole` against cut input through `cut`, which gets the leading slice of each tensor."""
    wanted = cut.state_dict()
    source = whole.state_dict()
    cut.load_state_dict({n: source[n][tuple(slice(0, s) for s in t.shape)] for n, t in wanted.items()})
    if isinstance(whole, InnerWidths):
        whole.follow(Leading(keep), None)
    x = torch.rand(1, 24, 9, 9)
    x[:, keep:] = 0.0
    with torch.no_grad():
        masked, narrow = whole(x), cut(x[:, :keep])
    return float((masked[:, : narrow.shape[1]] - narrow).abs().max())


@pytest.mark.parametrize("name", [name for name, o in CUTTABLE.items() if o.kind == "convolution"])
def test_masking_input_channels_equals_cutting_them(name: str) -> None:
    assert masking_error(biased(name, (24, 16)), make(name, (8, 16)), keep=8) < 1e-6


def test_a_bias_before_the_mixing_of_channels_would_be_seen() -> None:
    def separable(channels: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels), nn.Conv2d(channels, 16, 1)
        )  # the depthwise half has a bias, unlike ours

    torch.manual_seed(0)
    assert masking_error(separable(24), separable(8), keep=8) > 1e-3


@pytest.mark.parametrize("name", [name for name, o in CUTTABLE.items() if o.kind == "attention"])
def test_attention_keeps_zero_channels_at_zero(name: str) -> None:
    x = torch.rand(1, 24, 6, 6)
    x[:, 8:] = 0.0
    assert biased(name, (24, 24))(x)[:, 8:].abs().max() == 0


@pytest.mark.parametrize(("name", "pair"), [case for case in CASES if case[1] != (32, 8)])
def test_onnx_runtime_computes_the_same(name: str, pair: tuple[int, int]) -> None:
    torch.manual_seed(1)
    # Between 1x1 convolutions, because an exported graph starts with three channels.
    first = nn.Conv2d(3, pair[0], 1)
    layer = nn.Sequential(first, biased(name, pair), nn.Conv2d(pair[1], 3, 1))
    engine = open_engine(export_onnx(layer), Target("cpu", "onnxruntime", "fp32", 1))
    x = np.random.default_rng(0).random((2, 3, 13, 10), dtype=np.float32)
    with torch.no_grad():
        expected = layer(torch.from_numpy(x)).numpy()
        first.weight[0, 0, 0, 0] += 0.5
        other = layer(torch.from_numpy(x)).numpy()
    got = engine.run(x)
    assert np.abs(got - expected).max() < 1e-5
    assert np.abs(got - other).max() > 1e-5


def test_an_unknown_name_lists_what_is_known() -> None:
    with pytest.raises(UnknownNameError, match=r"'conv9x9'; known: .*conv3x3.*separable5x5"):
        make_operation("conv9x9", 8, 8)


def test_attention_does_not_change_the_number_of_channels() -> None:
    with pytest.raises(ValueError, match="keeps channels, got 8 -> 16"):
        make_operation("squeeze_excitation", 8, 16)


def test_names_and_keys_agree_and_every_operation_says_what_it_is() -> None:
    assert all(key == operation.name and operation.summary for key, operation in OPERATIONS.items())

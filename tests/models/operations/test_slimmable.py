import pytest
import torch
from torch import Tensor, nn

from models import Choice, Selection, make_operation, num_parameters
from models.mixed import WidthMask
from models.operations import InnerWidths, slimmable

NAMES = [operation.name for operation in slimmable.OPERATIONS]
FOLLOWING = ["slim_residual", "slim_depthwise"]


class Leading(nn.Module):
    """Zeros from channel `keep` on: what a width mask with a one-hot pick does."""

    def __init__(self, keep: int) -> None:
        super().__init__()
        self.keep = keep

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x[:, : self.keep], torch.zeros_like(x[:, self.keep :])], 1)


def narrowing_error(name: str, into: int, out: int, *, follow: bool) -> float:
    """A layer 24 -> 16 masked to into -> out, against the layer cut to that."""
    torch.manual_seed(0)
    whole, cut = make_operation(name, 24, 16), make_operation(name, into, out)
    source = whole.state_dict()
    cut.load_state_dict({n: source[n][tuple(slice(0, s) for s in t.shape)] for n, t in cut.state_dict().items()})
    entering, leaving = Leading(into), Leading(out)
    if follow and isinstance(whole, InnerWidths):
        whole.follow(entering if into < 24 else None, leaving if out < 16 else None)
    x = torch.rand(2, 24, 9, 7)
    with torch.no_grad():
        masked, narrow = leaving(whole(entering(x))), cut(x[:, :into])
    assert narrow.abs().max() > 0
    return float((masked[:, :out] - narrow).abs().max())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("into", "out"), [(24, 16), (8, 16), (24, 8), (8, 8)])
def test_masking_both_sides_equals_cutting_both_sides(name: str, into: int, out: int) -> None:
    assert narrowing_error(name, into, out, follow=True) < 1e-6


@pytest.mark.parametrize("name", FOLLOWING)
def test_hidden_channels_that_do_not_follow_would_be_seen(name: str) -> None:
    assert narrowing_error(name, 8, 8, follow=False) > 1e-3


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("slim_skip", 24 * 16),
        ("slim_conv3x3", 9 * 24 * 16),
        ("slim_residual", 9 * 24 * 16 + 9 * 16 * 16 + 24 * 16),
        ("slim_depthwise", 24 * 96 + 9 * 96 + 96 * 16 + 24 * 16),
    ],
)
def test_sizes_by_hand(name: str, weights: int) -> None:
    assert num_parameters(make_operation(name, 24, 16)) == weights


@pytest.mark.parametrize("name", NAMES)
def test_nothing_below_zero_leaves_and_dark_stays_dark(name: str) -> None:
    torch.manual_seed(0)
    layer = make_operation(name, 8, 16)
    with torch.no_grad():
        out = layer(torch.randn(2, 8, 6, 6))
        assert out.min() == 0
        assert out.max() > 0
        assert layer(torch.zeros(1, 8, 6, 6)).abs().max() == 0


@pytest.mark.parametrize("name", FOLLOWING)
def test_a_mask_that_is_followed_stays_its_owners(name: str) -> None:
    layer = make_operation(name, 8, 8)
    before = (list(layer.state_dict()), len(list(layer.modules())))
    assert isinstance(layer, InnerWidths)
    choice = Choice("width", "width", ("4", "8"))
    layer.follow(WidthMask(choice, (4, 8)), WidthMask(choice, (4, 8)))
    assert (list(layer.state_dict()), len(list(layer.modules()))) == before
    assert not any(parameter is choice.raw for parameter in layer.parameters())


def test_a_relaxed_width_gates_the_four_hidden_channels_of_each_channel_alike() -> None:
    """By hand: the hidden channels of channel c carry the summed weight of the widths above c."""
    torch.manual_seed(0)
    layer = slimmable.SlimDepthwise(8, 8)
    choice = Choice("width", "width", ("4", "8"))
    choice.decide(Selection(torch.tensor([0.25, 0.75]), (0, 1)))
    layer.follow(WidthMask(choice, (4, 8)), None)
    x = torch.rand(1, 8, 5, 6)
    gate = torch.tensor([1.0] * 16 + [0.75] * 16).view(1, -1, 1, 1)
    with torch.no_grad():
        hidden = torch.relu(layer.depthwise(torch.relu(layer.expand(x))))
        expected = torch.relu(layer.project(hidden * gate) + layer.shortcut(x))
        assert (layer(x) - expected).abs().max() < 1e-6
        assert (torch.relu(layer.project(hidden) + layer.shortcut(x)) - expected).abs().max() > 1e-3

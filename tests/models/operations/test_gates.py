import pytest
import torch
from torch import Tensor, nn

from models import OPERATIONS, make_operation, num_parameters
from models.operations import SeesEverything
from models.operations.gates import OPERATIONS as GATES
from models.operations.gates import ChannelGate, SpatialGate, hidden_units

NAMES = [operation.name for operation in GATES]


def make(name: str, channels: int = 8) -> nn.Module:
    torch.manual_seed(0)
    return make_operation(name, channels, channels).eval()


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("separable_gate3x3", 2 * (9 * 16 + 16 * 16)),
        ("dilated_gate3x3", 9 * 16 + 16 * 16),
        ("spatial_separable3x3", (18 + 4) + (18 + 2)),
        ("spatial_dilated3x3", 18 + 1),
        ("squeeze_excitation4", 2 * 16 * 4),
        ("squeeze_excitation4_peaks", 2 * 16 * 4),
        ("cbam4", (2 * 16 * 4 + 4 + 16) + (2 * 49 + 2)),
    ],
)
def test_parameters_on_half_of_the_finest_scales_channels(name: str, parameters: int) -> None:
    assert num_parameters(make_operation(name, 16, 16)) == parameters


def test_all_seven_gates_are_attention_that_costs_something() -> None:
    assert len(NAMES) == 7
    assert all(o.kind == "attention" and not o.free and not o.cuttable for o in GATES)


def factors(name: str, x: Tensor) -> Tensor:
    with torch.no_grad():
        return make(name)(x) / x


@pytest.mark.parametrize("name", NAMES)
def test_a_gate_scales_by_factors_between_zero_and_one(name: str) -> None:
    torch.manual_seed(1)
    found = factors(name, torch.rand(2, 8, 10, 12) + 0.1)
    assert 0 < float(found.min()) < float(found.max()) < 1


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_nothing_out(name: str) -> None:
    assert make(name)(torch.zeros(1, 8, 6, 6)).abs().max() == 0


@pytest.mark.parametrize(
    ("name", "over_channels", "over_pixels"),
    [
        ("separable_gate3x3", True, True),
        ("dilated_gate3x3", True, True),
        ("spatial_separable3x3", False, True),
        ("spatial_dilated3x3", False, True),
        ("squeeze_excitation4", True, False),
        ("squeeze_excitation4_peaks", True, False),
        ("cbam4", True, True),
    ],
)
def test_what_a_factor_belongs_to(name: str, over_channels: bool, over_pixels: bool) -> None:
    torch.manual_seed(1)
    found = factors(name, torch.rand(1, 8, 10, 12) + 0.1)
    assert (float(found.std(1).max()) > 1e-4) is over_channels
    assert (float(found.flatten(2).std(2).max()) > 1e-4) is over_pixels


def reach(layer: nn.Module, side: int = 21) -> int:
    """How far away from a changed pixel the result changes."""
    torch.manual_seed(2)
    x = torch.rand(1, 8, side, side) + 1.0
    other = x.clone()
    other[:, :, side // 2, side // 2] += 5.0
    with torch.no_grad():
        changed = (layer(x) - layer(other)).abs().amax((0, 1)) > 1e-7
    rows, columns = torch.nonzero(changed, as_tuple=True)
    return int(torch.cat((rows, columns)).sub(side // 2).abs().max())


@pytest.mark.parametrize("name", NAMES)
def test_gates_reach_as_far_as_they_say(name: str) -> None:
    layer = make(name)
    whole = any(isinstance(module, SeesEverything) for module in layer.modules())
    assert reach(layer) == (10 if whole else 2)
    # A 7x7 spatial gate on its own reaches further, and is told apart.
    assert reach(SpatialGate(nn.Conv2d(2, 1, 7, padding=3))) == 3


@pytest.mark.parametrize(("peaks", "seen"), [(False, False), (True, True)])
def test_only_a_gate_with_peaks_sees_the_maximum(peaks: bool, seen: bool) -> None:
    torch.manual_seed(0)
    gate = ChannelGate(8, 4, peaks=peaks)
    flat = torch.full((1, 8, 4, 4), 0.5)
    peaked = flat.clone()
    peaked[:, :, 0, 0] += 0.3
    peaked[:, :, 3, 3] -= 0.3
    with torch.no_grad():
        before, after = gate(flat)[0, :, 1, 1], gate(peaked)[0, :, 1, 1]
    assert (float((before - after).abs().max()) > 1e-4) is seen


def test_the_spatial_gate_looks_at_the_maximum_and_the_mean_of_the_channels() -> None:
    pick = nn.Conv2d(2, 1, 1, bias=False)
    x = torch.randn(1, 5, 3, 3)
    for index, pooled in enumerate((x.amax(1, keepdim=True), x.mean(1, keepdim=True))):
        pick.weight.data = torch.eye(2)[index].view(1, 2, 1, 1)
        assert torch.allclose(SpatialGate(pick)(x), x * pooled.sigmoid(), atol=1e-6)


@pytest.mark.parametrize(("channels", "hidden"), [(128, 32), (16, 4), (8, 4), (3, 4)])
def test_the_squeeze_has_a_fourth_of_the_channels_and_at_least_four(channels: int, hidden: int) -> None:
    assert hidden_units(channels) == hidden
    gate = OPERATIONS["squeeze_excitation4"].make(channels, channels)
    assert gate.get_submodule("squeeze").get_parameter("weight").shape == (hidden, channels, 1, 1)

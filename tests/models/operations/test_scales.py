from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from models import OPERATIONS, OpKey, make_operation, operation_cost
from models.operations.scales import FuseInto, FusionModule, ParallelModule, scale_channels

MODULES = [name for name, operation in OPERATIONS.items() if operation.kind == "module"]


def scales_of(channels: int, branches: int, side: int = 16, seed: int = 0) -> list[Tensor]:
    torch.manual_seed(seed)
    return [
        torch.randn(2, width, side // 2**n, side // 2**n) for n, width in enumerate(scale_channels(channels, branches))
    ]


@pytest.mark.parametrize(
    ("name", "parameters", "megamacs"),
    [
        ("parallel2", 92_544, 151.0),
        ("parallel3", 387_968, 226.5),
        ("parallel4", 1_568_640, 302.0),
        ("fusion2", 20_672, 21.0),
        ("fusion3", 153_536, 61.9),
        ("fusion4", 784_512, 119.8),
    ],
)
def test_costs_at_the_published_sizes(name: str, parameters: int, megamacs: float) -> None:
    cost = operation_cost(OpKey(name, 32, 32, 1), 64, 64)
    assert cost.parameters == parameters
    assert round(cost.macs / 1e6, 1) == megamacs


def test_costs_of_two_scales_by_hand() -> None:
    c = 4
    # Two 3x3 per scale, each with a weight and a bias of normalisation per channel.
    assert operation_cost(OpKey("parallel2", c, c, 1), 8, 8).parameters == 2 * (9 * c**2 + 2 * c) + 2 * (
        36 * c**2 + 4 * c
    )
    # 1x1 from 2c to c, stride-2 3x3 from c to 2c.
    fusion = operation_cost(OpKey("fusion2", c, c, 1), 8, 8)
    assert fusion.parameters == (2 * c**2 + 2 * c) + (18 * c**2 + 4 * c)
    assert fusion.macs == 2 * c**2 * 16 + 18 * c**2 * 16


@pytest.mark.parametrize("name", MODULES)
def test_modules_return_what_they_take_and_leave_it_alone(name: str) -> None:
    scales = scales_of(4, OPERATIONS[name].branches)
    assert writes_into_its_input(make_operation(name, 4, 4), scales) is False
    found = make_operation(name, 4, 4)(scales)
    assert found is not scales
    assert [out.shape for out in found] == [x.shape for x in scales]


def test_a_module_that_writes_into_its_input_would_be_seen() -> None:
    class Released(ParallelModule):
        def forward(self, scales: Sequence[Tensor]) -> list[Tensor]:
            assert isinstance(scales, list)
            for n, block in enumerate(self.blocks):
                scales[n] = block(scales[n])
            return scales

    assert writes_into_its_input(Released(scale_channels(4, 2)), scales_of(4, 2))


def writes_into_its_input(module: nn.Module, scales: list[Tensor]) -> bool:
    kept, copies = list(scales), [scale.clone() for scale in scales]
    module(scales)
    same = all(now is before for now, before in zip(scales, kept, strict=True))
    return not (same and all(torch.equal(x, copy) for x, copy in zip(kept, copies, strict=True)))


@pytest.mark.parametrize("name", MODULES)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    module = make_operation(name, 4, 4)
    sum((out**2).sum() for out in module(scales_of(4, OPERATIONS[name].branches))).backward()  # type: ignore[union-attr]
    for parameter_name, parameter in module.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("branches", [2, 3, 4])
def test_scales_meet_in_a_fusion_only(branches: int) -> None:
    scales = scales_of(4, branches)
    for touched in range(branches):
        other = [scale + (n == touched) for n, scale in enumerate(scales)]
        for name, expected in (("parallel", {touched}), ("fusion", set(range(branches)))):
            module = make_operation(f"{name}{branches}", 4, 4).eval()
            pairs = zip(module(scales), module(other), strict=True)
            assert {n for n, (before, after) in enumerate(pairs) if not torch.equal(before, after)} == expected


def test_a_parallel_module_is_a_residual_block_per_scale() -> None:
    module = ParallelModule((3,)).eval()
    (x,) = scales_of(3, 1)
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(module([x])[0], x.relu())


def identity_paths(fuse: FuseInto) -> FuseInto:
    """Every convolution copies the first channels, at the kernel's centre; normalisation does nothing."""
    for module in fuse.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
            centre = module.kernel_size[0] // 2
            for channel in range(min(module.in_channels, module.out_channels)):
                module.weight.data[channel, channel, centre, centre] = 1.0
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    return fuse.eval()


def test_coarser_scales_are_repeated_and_added() -> None:
    fine, coarse = scales_of(2, 2)
    got = identity_paths(FuseInto((2, 4), target=0))([fine, coarse])
    repeated = coarse[:, :2].repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(got, (fine + repeated).relu(), atol=1e-6)


def test_finer_scales_come_down_by_halves_with_no_activation_at_the_end() -> None:
    fine, middle, coarse = scales_of(2, 3)
    got = identity_paths(FuseInto((2, 4, 8), target=2))([fine, middle, coarse])
    expected = coarse.clone()
    # Two halvings with a ReLU in between, and one halving without: its negative values arrive.
    expected[:, :2] += fine[:, :, ::2, ::2].relu()[:, :, ::2, ::2]
    expected[:, :4] += middle[:, :, ::2, ::2]
    assert torch.allclose(got, expected.relu(), atol=1e-6)
    expected[:, :4] += (-middle[:, :, ::2, ::2]).relu()
    assert not torch.allclose(got, expected.relu(), atol=1e-3)


def test_a_fusion_has_one_sum_per_scale() -> None:
    module = FusionModule((4, 8, 16)).eval()
    scales = scales_of(4, 3)
    for out, fuse in zip(module(scales), module.into, strict=True):
        assert torch.equal(out, fuse(scales))

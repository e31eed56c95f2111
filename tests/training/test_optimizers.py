"""Updates recomputed by hand, or by torch's own optimisers over one group."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from training import OptimizerConfig, build_optimizer, clip_gradients, set_rate


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 3))


def config(**values: Any) -> OptimizerConfig:
    return OptimizerConfig.model_validate(values)


def steps(network: nn.Module, optimizer: torch.optim.Optimizer, count: int = 3) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    for _ in range(count):
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(network(torch.rand(2, 3, 8, 8)).pow(2).mean())
        optimizer.step()
    return {name: p.detach().clone() for name, p in network.named_parameters()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("values", "kind", "arguments"),
    [
        ({}, torch.optim.AdamW, {"lr": 1e-3, "betas": (0.9, 0.99), "weight_decay": 0.0}),
        ({"optimizer": "adamw", "weight_decay": 0.1}, torch.optim.AdamW, {"betas": (0.9, 0.99), "weight_decay": 0.1}),
        (
            {"optimizer": "adam", "lr": 3e-4, "betas": (0.5, 0.999), "weight_decay": 0.1},
            torch.optim.Adam,
            {"lr": 3e-4, "betas": (0.5, 0.999), "weight_decay": 0.1},
        ),
        (
            {"optimizer": "sgd", "lr": 0.05, "momentum": 0.8, "weight_decay": 0.1},
            torch.optim.SGD,
            {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.1},
        ),
        ({"optimizer": "sgd", "momentum": 0.0}, torch.optim.SGD, {"lr": 1e-3}),
    ],
)
def test_without_special_biases_it_is_torchs_own(values: dict[str, Any], kind: Any, arguments: dict[str, Any]) -> None:
    ours, theirs = model(), model()
    built = build_optimizer(ours.named_parameters(), config(**values))
    assert type(built) is kind
    assert len(built.param_groups) == 1
    assert equal(steps(ours, built), steps(theirs, kind(theirs.parameters(), **arguments)))
    # Planted fault: another rate.
    other = model()
    assert not equal(steps(theirs, built), steps(other, kind(other.parameters(), **{**arguments, "lr": 0.02})))


def test_biases_learn_faster_and_do_not_decay() -> None:
    """One step of plain gradient descent, by hand."""
    network = model()
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    settings = config(
        optimizer="sgd", lr=0.1, momentum=0.0, weight_decay=0.5, bias_lr_factor=2.0, bias_weight_decay=False
    )
    optimizer = build_optimizer(network.named_parameters(), settings)
    set_rate(optimizer, 0.01)
    after = steps(network, optimizer, 1)
    biases = 0
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        is_bias = name.endswith("bias")
        biases += is_bias
        move = 0.02 * parameter.grad if is_bias else 0.01 * (parameter.grad + 0.5 * before[name])
        torch.testing.assert_close(after[name], before[name] - move)
    assert biases == 3


@pytest.mark.parametrize("special", [{"bias_lr_factor": 2.0}, {"bias_weight_decay": False}])
def test_each_treatment_of_biases_counts_alone(special: dict[str, Any]) -> None:
    plain, other = model(), model()
    common = {"optimizer": "sgd", "lr": 0.01, "weight_decay": 0.5}
    first = steps(plain, build_optimizer(plain.named_parameters(), config(**common)), 1)
    second = steps(other, build_optimizer(other.named_parameters(), config(**common, **special)), 1)
    changed = {name for name in first if not torch.equal(first[name], second[name])}
    # Batch normalisation undoes the bias before it (next to no gradient), and its own is zero: nothing to decay.
    expected = {"0.bias", "1.bias", "2.bias"} if "bias_lr_factor" in special else {"0.bias", "2.bias"}
    assert {"2.bias"} <= changed <= expected


def test_the_rate_is_set_for_every_group() -> None:
    optimizer = build_optimizer(model().named_parameters(), config(lr=1e-3, bias_lr_factor=2.0))
    assert [group["lr"] for group in optimizer.param_groups] == [1e-3, 2e-3]
    set_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.5]


def test_a_network_without_biases_has_one_group() -> None:
    network = nn.Conv2d(3, 3, 3, bias=False)
    optimizer = build_optimizer(network.named_parameters(), config(bias_lr_factor=2.0))
    assert [len(group["params"]) for group in optimizer.param_groups] == [1]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"optimizer": "sgd", "betas": (0.5, 0.999)}, "betas do nothing under optimizer 'sgd'"),
        ({"optimizer": "adam", "momentum": 0.8}, "momentum does nothing under optimizer 'adam'"),
        ({"momentum": 0.8}, "momentum does nothing under optimizer 'adamw'"),
        ({"bias_weight_decay": False}, "does nothing without weight_decay"),
        ({"betas": (0.9, 1.0)}, r"betas lie in \[0, 1\)"),
        ({"optimizer": "rmsprop"}, "optimizer"),
        ({"lr": 0}, "lr"),
        ({"bias_lr_factor": 0}, "bias_lr_factor"),
        ({"nesterov": True}, "nesterov"),
    ],
)
def test_settings_that_do_nothing_or_are_out_of_range_are_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        config(**wrong)


@pytest.mark.parametrize(
    "values",
    [{}, {"optimizer": "sgd", "momentum": 0.5}, {"weight_decay": 0.1, "bias_weight_decay": False}],
)
def test_settings_come_back_from_what_is_written(values: dict[str, Any]) -> None:
    written = config(**values)
    assert config(**written.model_dump()) == written
    assert OptimizerConfig.model_validate_json(written.model_dump_json()) == written


def test_gradients_are_limited_value_by_value_and_then_together() -> None:
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))]

    def clipped(norm: float | None, value: float | None) -> list[float]:
        parameters[0].grad, parameters[1].grad = torch.tensor([6.0, -0.5]), torch.tensor([-8.0])
        clip_gradients(iter(parameters), norm, value)
        return [float(g) for p in parameters[:2] if p.grad is not None for g in p.grad]

    assert clipped(None, None) == [6.0, -0.5, -8.0]
    assert clipped(None, 2.0) == [2.0, -0.5, -2.0]
    assert clipped(1.0, None) == pytest.approx([x / 100.25**0.5 for x in (6.0, -0.5, -8.0)], rel=1e-4)
    both = clipped(1.0, 2.0)
    assert both == pytest.approx([x / 8.25**0.5 for x in (2.0, -0.5, -2.0)], rel=1e-4)
    assert parameters[2].grad is None

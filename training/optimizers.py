"""Optimisers by name, with biases treated apart where a recipe wants it."""

from collections.abc import Iterable
from typing import Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

OptimizerName = Literal["adamw", "adam", "sgd"]


class OptimizerConfig(BaseModel):
    """How gradients become updates.

    Attributes:
        optimizer: `adamw`, `adam` (weight decay is added to the gradient, as many older recipes have it) or `sgd`.
        lr: Learning rate; the peak where there is a schedule.
        betas: Of Adam's two moments (`adamw`, `adam`).
        momentum: Of `sgd`.
        weight_decay: Of weights, and of biases unless `bias_weight_decay` is off.
        bias_lr_factor: Biases learn so many times faster (HiNAS: 2).
        bias_weight_decay: Whether biases decay (HiNAS: no).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    optimizer: OptimizerName = "adamw"
    lr: float = Field(default=1e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.99)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    bias_lr_factor: float = Field(default=1.0, gt=0)
    bias_weight_decay: bool = True

    @model_validator(mode="after")
    def _every_optimizer_setting_is_used(self) -> Self:
        # Settings are compared with their defaults: a config that was written out and read back has all of them set.
        fields = OptimizerConfig.model_fields
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas lie in [0, 1), got {self.betas}")
        if self.optimizer == "sgd" and self.betas != fields["betas"].default:
            raise ValueError("betas do nothing under optimizer 'sgd'; use 'adam' or 'adamw', or set momentum")
        if self.optimizer != "sgd" and self.momentum != fields["momentum"].default:
            raise ValueError(f"momentum does nothing under optimizer {self.optimizer!r}; use 'sgd', or set betas")
        if not self.bias_weight_decay and not self.weight_decay:
            raise ValueError("bias_weight_decay=False does nothing without weight_decay; set weight_decay or leave it")
        return self


def build_optimizer(
    named_parameters: Iterable[tuple[str, nn.Parameter]], config: OptimizerConfig
) -> torch.optim.Optimizer:
    """An optimiser over these parameters, at the config's rate until `set_rate` is called.

    Args:
        named_parameters: Of a module, say. Those named `bias`, or `<something>.bias`, are biases.
        config: Which optimiser.
    """
    weights: list[nn.Parameter] = []
    biases: list[nn.Parameter] = []
    apart = config.bias_lr_factor != 1.0 or not config.bias_weight_decay
    for name, parameter in named_parameters:
        (biases if apart and name.rpartition(".")[2] == "bias" else weights).append(parameter)
    factor = config.bias_lr_factor
    decay = config.weight_decay if config.bias_weight_decay else 0.0
    groups: list[dict[str, Any]] = [
        {"params": weights, "lr": config.lr, "lr_factor": 1.0, "weight_decay": config.weight_decay},
        {"params": biases, "lr": config.lr * factor, "lr_factor": factor, "weight_decay": decay},
    ]
    filled = [group for group in groups if group["params"]]
    match config.optimizer:
        case "adamw":
            return torch.optim.AdamW(filled, betas=config.betas)
        case "adam":
            return torch.optim.Adam(filled, betas=config.betas)
        case "sgd":
            return torch.optim.SGD(filled, momentum=config.momentum)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of an optimiser that `build_optimizer` made; biases keep their factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_factor"]


def clip_gradients(parameters: Iterable[nn.Parameter], norm: float | None, value: float | None) -> None:
    """Limit every gradient value to [-value, value], then the norm of all gradients together; None for no limit."""
    clipped = list(parameters)
    if value is not None:
        nn.utils.clip_grad_value_(clipped, value)
    if norm is not None:
        nn.utils.clip_grad_norm_(clipped, norm)

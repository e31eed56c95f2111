"""Supervised training of one network: reconstruction loss, Adam, cosine schedule, moving average, exact resume.

Everything random comes from (seed, step): batches are a pure function of both, so a killed run continues to the very
weights that an uninterrupted one reaches (same device, same number of threads).
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor, nn
from tqdm import tqdm

from training.checkpoint import (
    load_checkpoint,
    load_optimizer_tensors,
    optimizer_tensors,
    prefixed,
    save_checkpoint,
    unprefixed,
)
from training.errors import TrainingError
from training.losses import get_loss
from training.precision import Precision, autocast, resolve_precision
from training.schedule import cosine_cycles


class TrainConfig(BaseModel):
    """One training run.

    Attributes:
        steps: Optimiser steps of the first cosine.
        restarts: Lengths of further cosines, at half the peak rate. Lengthening a finished run continues it: the
            result is that of a run that had them from the start.
        batch: Patches per step.
        patch: Side of a degraded patch in pixels.
        lr: Peak learning rate of Adam; half a cosine takes it to zero.
        warmup: Steps of linear rise.
        loss: Name in `training.losses`.
        clip_norm: Gradient norm limit.
        ema_decay: Moving average of the weights; the average is what is evaluated and shipped.
        weight_decay: Of AdamW.
        precision: `auto` takes what the device does best.
        checkpoint_every: Steps between checkpoints.
        seed: Of batches.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(ge=1)
    restarts: tuple[PositiveInt, ...] = ()
    batch: int = Field(ge=1)
    patch: int = Field(ge=8)
    lr: float = Field(default=1e-3, gt=0)
    warmup: int = Field(default=50, ge=0)
    loss: str = "charbonnier"
    clip_norm: float = Field(default=1.0, gt=0)
    ema_decay: float = Field(default=0.998, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    precision: Precision = "auto"
    checkpoint_every: int = Field(default=200, ge=1)
    seed: int = 0


class Batches(Protocol):
    """What feeds a trainer: a pure function of the step."""

    def batch_at(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(degraded, clean), float32 NCHW."""
        ...


@dataclass(frozen=True)
class Trained:
    """The moving average of the weights, and the loss along the way (mean of each checkpoint interval)."""

    network: nn.Module
    losses: tuple[float, ...]


def to_tensors(batch: tuple[NDArray[np.float32], NDArray[np.float32]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Move a batch to the device; channels last on a CPU, where convolutions run about twice as fast."""
    layout = torch.channels_last if device.type == "cpu" else torch.contiguous_format
    degraded, clean = (torch.from_numpy(part).to(device, memory_format=layout) for part in batch)
    return degraded, clean


def train(
    network: nn.Module,
    batches: Batches,
    config: TrainConfig,
    checkpoint: Path,
    device: torch.device,
    *,
    identity: str = "",
    on_interval: Callable[[int, nn.Module], None] | None = None,
) -> Trained:
    """Train `network` in place, resuming from `checkpoint` if it is there.

    Args:
        network: Moved to `device`.
        batches: Batches by step.
        config: The run.
        checkpoint: A safetensors file, rewritten every `checkpoint_every` steps.
        device: Where.
        identity: Hash of what is trained on what; a checkpoint of something else is refused.
        on_interval: Called with (step, moving average) after each checkpoint.

    Raises:
        TrainingError: The checkpoint belongs to another run, or the loss became non-finite.
    """
    precision = resolve_precision(config.precision, device)
    network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    average = copy.deepcopy(network).eval()
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.lr, betas=(0.9, 0.99), weight_decay=config.weight_decay
    )
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    loss_of = get_loss(config.loss)
    marker = f"{identity}|{config.model_dump_json(exclude={'restarts'})}"
    cycles = (config.steps, *config.restarts)
    total = sum(cycles)
    step, losses = 0, []
    if checkpoint.is_file():
        tensors, meta = load_checkpoint(checkpoint, device)
        if meta["marker"] != marker:
            raise TrainingError(f"{checkpoint} belongs to a run with other settings or data; choose another folder")
        network.load_state_dict(unprefixed("network", tensors))
        average.load_state_dict(unprefixed("average", tensors))
        load_optimizer_tensors(optimizer, unprefixed("optimizer", tensors))
        scaler.load_state_dict(meta["scaler"])
        step, losses = meta["step"], meta["losses"]

    running: list[Tensor] = []
    with tqdm(total=total, initial=step, desc="training", unit="step") as bar:
        while step < total:
            for group in optimizer.param_groups:
                group["lr"] = cosine_cycles(step, cycles, config.lr, warmup=config.warmup)
            degraded, clean = to_tensors(batches.batch_at(step), device)
            with autocast(precision, device):
                loss = loss_of(network(degraded).float(), clean)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
            scaler.step(optimizer)
            scaler.update()
            step += 1
            _update_average(average, network, min(config.ema_decay, step / (step + 10)))
            running.append(loss.detach())
            bar.update()
            if step % config.checkpoint_every == 0 or step == total:
                mean = float(torch.stack(running).mean())
                running.clear()
                if not np.isfinite(mean):
                    raise TrainingError(f"the loss is {mean} at step {step}: lower the learning rate ({config.lr})")
                losses.append(mean)
                bar.set_postfix(loss=f"{mean:.4f}")
                save_checkpoint(
                    checkpoint,
                    prefixed("network", network.state_dict())
                    | prefixed("average", average.state_dict())
                    | prefixed("optimizer", optimizer_tensors(optimizer)),
                    {"marker": marker, "step": step, "losses": losses, "scaler": scaler.state_dict()},
                )
                if on_interval is not None:
                    on_interval(step, average)
    return Trained(average, tuple(losses))


@torch.no_grad()
def _update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    for kept, new in zip(average.parameters(), network.parameters(), strict=True):
        kept.lerp_(new, 1.0 - decay)

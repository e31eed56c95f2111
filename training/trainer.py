"""Supervised training of one network: objective, optimiser, schedule, moving average, exact resume.

Everything random comes from (seed, step): batches are a pure function of both, so a killed run continues to the very
weights that an uninterrupted one reaches (same device, same number of threads).
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from tqdm import tqdm

from training.average import update_average
from training.checkpoint import (
    load_checkpoint,
    load_optimizer_tensors,
    optimizer_tensors,
    prefixed,
    save_checkpoint,
    unprefixed,
)
from training.errors import TrainingError
from training.losses import LossTerm, Objective, ObjectiveTerms
from training.optimizers import OptimizerConfig, build_optimizer, clip_gradients, set_rate
from training.precision import Precision, autocast, resolve_precision
from training.schedule import ScheduleConfig, rate_at
from training.telemetry import SILENT, Progress, Telemetry


class TrainConfig(OptimizerConfig, ScheduleConfig):
    """One training run; see `OptimizerConfig` and `ScheduleConfig` for what it inherits.

    Attributes:
        steps: Optimiser steps of the run, or of its first cosine if there are restarts. Shares of the run
            (`milestones`, a loss term's `start`) are shares of these.
        restarts: Lengths of further cosines, at half the peak rate. Lengthening a finished run continues it: the
            result is that of a run that had them from the start.
        batch: Backgrounds per step (patches, unless batches hold several versions of each).
        patch: Side of a degraded patch in pixels.
        warmup: Steps of linear rise.
        loss: Terms of the objective; a name of `training.losses.LOSS_TERMS` means that one.
        clip_norm: Gradient norm limit, or None.
        clip_value: Limit of every single gradient value, applied before the norm's, or None.
        ema_decay: Moving average of the weights; the average is what is evaluated and shipped.
        precision: `auto` takes what the device does best.
        checkpoint_every: Steps between checkpoints.
        seed: Of batches.
    """

    steps: int = Field(ge=1)
    restarts: tuple[PositiveInt, ...] = ()
    batch: int = Field(ge=1)
    patch: int = Field(ge=8)
    warmup: int = Field(default=50, ge=0)
    loss: ObjectiveTerms = (LossTerm(name="charbonnier"),)
    clip_norm: float | None = Field(default=1.0, gt=0)
    clip_value: float | None = Field(default=None, gt=0)
    ema_decay: float = Field(default=0.998, ge=0, lt=1)
    precision: Precision = "auto"
    checkpoint_every: int = Field(default=200, ge=1)
    seed: int = 0

    @model_validator(mode="after")
    def _restarts_are_cosines(self) -> Self:
        if self.restarts and self.schedule != "cosine":
            raise ValueError(
                f"restarts are further cosines, which schedule {self.schedule!r} has none of; lengthen steps"
            )
        return self


class Batches(Protocol):
    """What feeds a trainer: a pure function of the step."""

    @property
    def num_versions(self) -> int:
        """How many consecutive entries of a batch show one background, each degraded in another way."""
        ...

    def batch_at(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(degraded, clean), float32 (B * num_versions, C, H, W)."""
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
    telemetry: Telemetry = SILENT,
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
        telemetry: Is told of every step; the caller says that this is a stage.

    Raises:
        TrainingError: The checkpoint belongs to another run, or the loss became non-finite.
    """
    precision = resolve_precision(config.precision, device)
    network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    average = copy.deepcopy(network).eval()
    optimizer = build_optimizer(network.named_parameters(), config)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    objective = Objective(config.loss)
    marker = f"{identity}|{config.model_dump_json(exclude={'restarts'})}"
    total = config.steps + sum(config.restarts)
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

    def report() -> Progress:
        # Waits for the device, so it is asked every few seconds and not at every step.
        loss = float(torch.stack(running).mean()) if running else losses[-1] if losses else None
        rate = rate_at(config, config.lr, max(0, step - 1), config.steps, config.restarts)
        return Progress(step, total, loss=loss, learning_rate=rate)

    with tqdm(total=total, initial=step, desc="training", unit="step") as bar:
        while step < total:
            set_rate(optimizer, rate_at(config, config.lr, step, config.steps, config.restarts))
            degraded, clean = to_tensors(batches.batch_at(step), device)
            with autocast(precision, device):
                restored = network(degraded)
            # Not a share of the total: a term must not move when restarts are added to a finished run.
            progress = min(1.0, step / config.steps)
            # Outside autocast: SSIM does not survive half precision.
            loss = objective(restored.float(), clean, versions=batches.num_versions, progress=progress)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.unscale_(optimizer)
            clip_gradients(network.parameters(), config.clip_norm, config.clip_value)
            scaler.step(optimizer)
            scaler.update()
            step += 1
            update_average(average, network, min(config.ema_decay, step / (step + 10)))
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
            telemetry.report(report)
    telemetry.report(report, force=True)
    return Trained(average, tuple(losses))

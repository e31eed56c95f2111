"""Differentiable search under expected latency: alternating first-order updates on two splits, exact resume."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from tqdm import tqdm

from models import Supernet
from search.budget import Budget
from search.errors import SearchError
from search.files import write_text
from search.latency.model import ExpectedLatency
from search.relaxation import Phase, Relaxation
from training.checkpoint import (
    load_checkpoint,
    load_optimizer_tensors,
    optimizer_tensors,
    prefixed,
    save_checkpoint,
    unprefixed,
)
from training.losses import get_loss
from training.schedule import cosine
from training.trainer import Batches, to_tensors


class SearchConfig(BaseModel):
    """One search.

    Attributes:
        steps: Pairs of updates after the warm-up.
        warmup: Steps that train weights only, on uniformly explored candidates.
        batch: Patches per update.
        patch: Side of a degraded patch.
        weight_lr: Peak rate of Adam on the weights; cosine to a tenth.
        raw_lr: Rate of Adam on the raw vectors.
        explore: Probability of a uniformly drawn candidate in a weight step (one-path relaxations).
        loss: Name in `training.losses`.
        price_rate: Step of dual ascent: how fast the price of latency follows E/T - 1.
        price_max: Limit of the price.
        clip_norm: Gradient norm limit of the weights.
        checkpoint_every: Steps between checkpoints.
        seed: Of everything random.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(ge=1)
    warmup: int = Field(ge=0)
    batch: int = Field(ge=1)
    patch: int = Field(ge=8)
    weight_lr: float = Field(default=1e-3, gt=0)
    raw_lr: float = Field(default=5e-3, gt=0)
    explore: float = Field(default=0.3, ge=0, le=1)
    loss: str = "charbonnier"
    price_rate: float = Field(default=0.05, gt=0)
    price_max: float = Field(default=5.0, gt=0)
    clip_norm: float = Field(default=1.0, gt=0)
    checkpoint_every: int = Field(default=50, ge=1)
    seed: int = 0


@dataclass(frozen=True)
class SearchResult:
    """What a search leaves: the trained supernet, and choice id -> candidate -> probability."""

    supernet: Supernet
    probabilities: dict[str, dict[str, float]]


class Searcher:
    """Searches one supernet under one budget.

    Architecture update, on split A: `L = loss / mean(loss) + price * (E / T - 1)`, with E the expected milliseconds and
    T the budget. Both parts are pure numbers, so nothing depends on the unit or the task. The price is steered by dual
    ascent, `price <- clip(price + rate * (E / T - 1))`: it rises while the expected network is over budget, and
    returns to zero when it is under. Weight update, on split W: the loss alone.

    Args:
        supernet: What is searched.
        relaxation: How.
        expected: Differentiable milliseconds.
        budget: What to steer to.
        config: Settings.
        device: Where.
    """

    def __init__(
        self,
        supernet: Supernet,
        relaxation: Relaxation,
        expected: ExpectedLatency,
        budget: Budget,
        config: SearchConfig,
        device: torch.device,
    ) -> None:
        self.supernet = supernet.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.relaxation = relaxation
        self.expected = expected
        self.budget = budget
        self.config = config
        self.device = device
        self._loss = get_loss(config.loss)
        rng = np.random.default_rng([config.seed, 0xA])
        for choice in supernet.choices.values():
            relaxation.initialise(choice.raw, rng)
        raw = [choice.raw for choice in supernet.choices.values()]
        self._weights = list(supernet.weight_parameters().values())
        self._weight_optimizer = torch.optim.Adam(self._weights, lr=config.weight_lr)
        self._raw_optimizer = torch.optim.Adam(raw, lr=config.raw_lr, betas=(0.5, 0.999))
        self._price = 0.0
        self._mean_loss = 0.0

    def run(
        self, weight_batches: Batches, raw_batches: Batches, checkpoint: Path, log: Path, *, identity: str = ""
    ) -> SearchResult:
        """Search, resuming from `checkpoint` if it is there, and append a JSON line per checkpoint to `log`.

        Args:
            weight_batches: Split W.
            raw_batches: Split A.
            checkpoint: A safetensors file.
            log: A JSON-lines file: step, loss, expected ms, price, mean entropy of the choices.
            identity: Hash of what is searched on what; a checkpoint of something else is refused.

        Raises:
            SearchError: The checkpoint belongs to another search.
        """
        config = self.config
        total = config.warmup + config.steps
        step = self._resume(checkpoint, identity)
        lines = log.read_text().splitlines()[: step // config.checkpoint_every] if log.is_file() else []
        with tqdm(total=total, initial=step, desc="searching", unit="step") as bar:
            while step < total:
                self._set_rate(cosine(step, total, config.weight_lr, floor=config.weight_lr / 10))
                expected_ms = float("nan")
                if step >= config.warmup:
                    expected_ms = self._architecture_step(raw_batches, step)
                loss = self._weight_step(weight_batches, step)
                step += 1
                bar.update()
                if step % config.checkpoint_every == 0 or step == total:
                    record = self._record(step, loss, expected_ms)
                    lines.append(json.dumps(record))
                    # Before the checkpoint: a line too many is cut off on resuming, a missing one would stay missing.
                    write_text(log, "\n".join(lines) + "\n")
                    self._save(checkpoint, identity, step)
                    bar.set_postfix(
                        loss=f"{loss:.4f}", ms=f"{record['expected_ms'] or 0:.1f}", price=f"{self._price:.2f}"
                    )
        return SearchResult(self.supernet, self.probabilities())

    def probabilities(self) -> dict[str, dict[str, float]]:
        """Choice id -> candidate -> probability, from the raw vectors as they are now."""
        return {
            name: dict(zip(choice.candidates, self.relaxation.probabilities(choice.raw).tolist(), strict=True))
            for name, choice in self.supernet.choices.items()
        }

    def _select(self, phase: Phase, step: int) -> dict[str, Tensor]:
        """Decide every choice for one update; returns the weights for the expected latency."""
        rng = np.random.default_rng([self.config.seed, 0xB, step])
        explore = 1.0 if step < self.config.warmup else self.config.explore
        for choice in self.supernet.choices.values():
            choice.decide(self.relaxation.select(choice, phase, rng, explore))
        return {name: choice.selection.weights for name, choice in self.supernet.choices.items()}

    def _architecture_step(self, batches: Batches, step: int) -> float:
        weights = self._select("architecture", step)
        degraded, clean = to_tensors(batches.batch_at(step), self.device)
        with _frozen(self._weights):
            loss = self._loss(self.supernet(degraded), clean)
            self._mean_loss = self._mean_loss or float(loss.detach())
            self._mean_loss += 0.1 * (float(loss.detach()) - self._mean_loss)
            milliseconds = self.expected(weights)
            over = milliseconds / self.budget.ms - 1.0
            self._raw_optimizer.zero_grad(set_to_none=True)
            (loss / self._mean_loss + self._price * over).backward()  # type: ignore[no-untyped-call]
        self._raw_optimizer.step()
        for choice in self.supernet.choices.values():
            self.relaxation.project(choice.raw)
        price = self._price + self.config.price_rate * float(over.detach())
        self._price = min(self.config.price_max, max(0.0, price))
        return float(milliseconds.detach())

    def _weight_step(self, batches: Batches, step: int) -> float:
        self._select("weights", step)
        degraded, clean = to_tensors(batches.batch_at(step), self.device)
        loss = self._loss(self.supernet(degraded), clean)
        # None, not zero: candidates that did not run must not be moved by momentum.
        self._weight_optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._weights, self.config.clip_norm)
        self._weight_optimizer.step()
        return float(loss.detach())

    def _set_rate(self, rate: float) -> None:
        for group in self._weight_optimizer.param_groups:
            group["lr"] = rate

    def _record(self, step: int, loss: float, expected_ms: float) -> dict[str, float | int | None]:
        probabilities = [torch.tensor(list(entry.values())) for entry in self.probabilities().values()]
        entropies = [float(-(p * p.clamp_min(1e-12).log()).sum() / np.log(max(2, len(p)))) for p in probabilities]
        return {
            "step": step,
            "loss": loss,
            "expected_ms": None if np.isnan(expected_ms) else expected_ms,
            "price": self._price,
            "entropy": float(np.mean(entropies)),
        }

    def _marker(self, identity: str) -> str:
        return f"{identity}|{self.relaxation.name}|{self.budget}|{self.config.model_dump_json()}"

    def _save(self, path: Path, identity: str, step: int) -> None:
        tensors = (
            prefixed("supernet", self.supernet.state_dict())
            | prefixed("raw", {name: choice.raw for name, choice in self.supernet.choices.items()})
            | prefixed("weight_optimizer", optimizer_tensors(self._weight_optimizer))
            | prefixed("raw_optimizer", optimizer_tensors(self._raw_optimizer))
        )
        # Supernet state names each raw vector once per layer that reads it; safetensors wants tensors of their own.
        unshared = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        meta = {"marker": self._marker(identity), "step": step, "price": self._price, "mean_loss": self._mean_loss}
        save_checkpoint(path, unshared, meta)

    def _resume(self, path: Path, identity: str) -> int:
        if not path.is_file():
            return 0
        tensors, meta = load_checkpoint(path, self.device)
        if meta["marker"] != self._marker(identity):
            raise SearchError(f"{path} belongs to a search with other settings or data; choose another folder")
        self.supernet.load_state_dict(unprefixed("supernet", tensors))
        for name, raw in unprefixed("raw", tensors).items():
            self.supernet.choices[name].raw.data.copy_(raw)
        load_optimizer_tensors(self._weight_optimizer, unprefixed("weight_optimizer", tensors))
        load_optimizer_tensors(self._raw_optimizer, unprefixed("raw_optimizer", tensors))
        self._price, self._mean_loss = float(meta["price"]), float(meta["mean_loss"])
        return int(meta["step"])


class _frozen:  # noqa: N801 - reads as a statement
    """Inside, gradients flow through weights to the raw vectors but not into the weights: saves a third of backward."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self._parameters = parameters

    def __enter__(self) -> None:
        for parameter in self._parameters:
            parameter.requires_grad_(False)

    def __exit__(self, *_: object) -> None:
        for parameter in self._parameters:
            parameter.requires_grad_(True)

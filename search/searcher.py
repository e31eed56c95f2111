"""Differentiable search: alternating first-order updates on two splits, exact resume."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from models import Choice, ChoiceKind, Supernet
from search.complexity import Complexity
from search.costs import Expectation, decided
from search.errors import SearchError
from search.files import write_text
from search.regularisers import mean_entropy, normalised_entropy, order_loss
from search.relaxation import Moment, Phase, Relaxation
from search.settings import SearchConfig
from search.telemetry import search_progress
from training.checkpoint import (
    load_checkpoint,
    load_optimizer_tensors,
    optimizer_tensors,
    prefixed,
    save_checkpoint,
    unprefixed,
)
from training.losses import Objective
from training.optimizers import build_optimizer, clip_gradients, set_rate
from training.schedule import rate_at
from training.telemetry import SILENT, Progress, Telemetry
from training.trainer import Batches, to_tensors


@dataclass(frozen=True)
class SearchResult:
    """What a search leaves: the trained supernet, and choice id -> candidate -> probability."""

    supernet: Supernet
    probabilities: dict[str, dict[str, float]]


@dataclass(frozen=True)
class Steering:
    """What turns a loss into a search: how choices are relaxed, and what the architecture update adds.

    Attributes:
        relaxations: Kind of choice -> relaxation.
        complexity: What slow networks pay.
        expected_ms: Differentiable milliseconds, for the log; None where nothing was measured.
        exit_paths: Names of exits along each complete path, for the order loss.
        budget_ms: What the derived network has to keep, for telemetry; the complexity term has its own.
    """

    relaxations: Mapping[ChoiceKind, Relaxation]
    complexity: Complexity
    expected_ms: Expectation | None = None
    exit_paths: Sequence[Sequence[str]] = field(default=())
    budget_ms: float | None = None


class Searcher:
    """Searches one supernet.

    Architecture update, on split A: loss, regularisers and complexity move the raw vectors. Weight update, on split W:
    the loss alone moves the weights.

    Args:
        supernet: What is searched.
        steering: How.
        config: Settings.
        device: Where.

    Raises:
        SearchError: A setting asks for choices that the supernet does not have.
    """

    def __init__(self, supernet: Supernet, steering: Steering, config: SearchConfig, device: torch.device) -> None:
        self.supernet = supernet.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.steering = steering
        self.config = config
        self.device = device
        self._objective = Objective(config.loss)
        self._kinds = {name: choice.kind for name, choice in supernet.choices.items()}
        self._require("sandwich", config.sandwich, "width")
        self._require("order", config.order, "exit")
        if config.order and not steering.exit_paths:
            raise SearchError(f"order={config.order} needs the exits along each path: Steering(exit_paths=...)")
        rng = np.random.default_rng([config.seed, 0xA])
        for choice in supernet.choices.values():
            self._relaxation(choice).initialise(choice.raw, rng)
        raw = [(name, choice.raw) for name, choice in supernet.choices.items()]
        self._weights = supernet.weight_parameters()
        self._weight_optimizer = build_optimizer(self._weights.items(), config.weights)
        self._raw_optimizer = build_optimizer(raw, config.choices)

    def run(
        self,
        weight_batches: Batches,
        raw_batches: Batches,
        checkpoint: Path,
        log: Path,
        *,
        identity: str = "",
        telemetry: Telemetry = SILENT,
    ) -> SearchResult:
        """Search, resuming from `checkpoint` if it is there, and append a JSON line per checkpoint to `log`.

        Args:
            weight_batches: Split W.
            raw_batches: Split A.
            checkpoint: A safetensors file.
            log: A JSON-lines file: step, loss, expected ms, ms of what would be picked now, entropy of the choices,
                state of the complexity term.
            identity: Hash of what is searched on what; a checkpoint of something else is refused.
            telemetry: Is told of every step; the caller says that this is a stage.

        Raises:
            SearchError: The checkpoint belongs to another search.
        """
        config = self.config
        total = config.warmup + config.steps
        step = self._resume(checkpoint, identity)
        loss: float | None = None

        def progress() -> Progress:
            return self._progress(step, loss)

        lines = log.read_text().splitlines()[: step // config.checkpoint_every] if log.is_file() else []
        with tqdm(total=total, initial=step, desc="searching", unit="step") as bar:
            while step < total:
                set_rate(self._weight_optimizer, rate_at(config.schedule, config.weights.lr, step, total))
                expected_ms = None
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
                        loss=f"{loss:.4f}", ms=f"{expected_ms or 0:.1f}", entropy=f"{record['entropy']:.2f}"
                    )
                telemetry.report(progress)
        telemetry.report(progress, force=True)
        return SearchResult(self.supernet, self.probabilities())

    def probabilities(self) -> dict[str, dict[str, float]]:
        """Choice id -> candidate -> probability, from the raw vectors as they are now."""
        return {
            name: dict(zip(choice.candidates, self._relaxation(choice).probabilities(choice.raw).tolist(), strict=True))
            for name, choice in self.supernet.choices.items()
        }

    def select(self, phase: Phase, step: int) -> dict[str, Tensor]:
        """Decide every choice for one update; returns the relaxed weights."""
        config = self.config
        moment = Moment(
            phase=phase,
            progress=max(0.0, (step + 1 - config.warmup) / config.steps),
            explore=1.0 if step < config.warmup else config.explore,
            rng=np.random.default_rng([config.seed, 0xB, step, phase == "weights"]),
        )
        for choice in self.supernet.choices.values():
            choice.decide(self._relaxation(choice).select(choice, moment))
        return {name: choice.selection.weights for name, choice in self.supernet.choices.items()}

    def _relaxation(self, choice: Choice) -> Relaxation:
        return self.steering.relaxations[choice.kind]

    def _require(self, setting: str, value: float, kind: ChoiceKind) -> None:
        if value and kind not in self._kinds.values():
            raise SearchError(
                f"{setting}={value} concerns choices of kind {kind!r}, and this space has none; set it to 0"
            )

    def _architecture_step(self, batches: Batches, step: int) -> float | None:
        weights = self.select("architecture", step)
        with _frozen(self._weights.values()):
            self.supernet.train(not self.config.architecture_in_eval)
            loss = self._loss(batches, step)
            total = self.steering.complexity.combine(loss, self._regulariser(loss, weights), weights)
            self._raw_optimizer.zero_grad(set_to_none=True)
            total.backward()  # type: ignore[no-untyped-call]
        self._raw_optimizer.step()
        for choice in self.supernet.choices.values():
            self._relaxation(choice).project(choice.raw)
        if self.steering.expected_ms is None:
            return None
        with torch.no_grad():
            return float(self.steering.expected_ms(weights))

    def _regulariser(self, loss: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        total = torch.zeros_like(loss)
        if self.config.entropy:
            total = total + self.config.entropy * mean_entropy(weights, self._kinds)
        if self.config.order:
            for name, choice in self.supernet.choices.items():
                if self._kinds[name] == "exit":
                    paths = [[choice.candidates.index(node) for node in path] for path in self.steering.exit_paths]
                    total = total + self.config.order * order_loss(choice.raw, paths, self.config.order_form)
        return total

    def _weight_step(self, batches: Batches, step: int) -> float:
        self.supernet.train()
        self.select("weights", step)
        # None, not zero: candidates that did not run must not be moved by momentum.
        self._weight_optimizer.zero_grad(set_to_none=True)
        losses = []
        passes = self._sandwiched(step) if self.config.sandwich else iter((None,))
        for _ in passes:
            loss = self._loss(batches, step) / (self.config.sandwich + 2 if self.config.sandwich else 1)
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        clip_gradients(self._weights.values(), self.config.clip_norm, None)
        self._weight_optimizer.step()
        return float(torch.stack(losses).sum())

    def _sandwiched(self, step: int) -> Iterator[None]:
        """Decide the widths anew for each pass: all widest, all narrowest, then drawn ones (slimmable networks)."""
        rng = np.random.default_rng([self.config.seed, 0xC, step])
        choices = [choice for choice in self.supernet.choices.values() if choice.kind == "width"]
        for number in range(self.config.sandwich + 2):
            for choice in choices:
                places = len(choice.candidates)
                index = places - 1 if number == 0 else 0 if number == 1 else int(rng.integers(places))
                choice.pick(choice.candidates[index])
            yield

    def _loss(self, batches: Batches, step: int) -> Tensor:
        degraded, clean = to_tensors(batches.batch_at(step), self.device)
        progress = step / (self.config.warmup + self.config.steps)
        return self._objective(self.supernet(degraded), clean, versions=batches.num_versions, progress=progress)

    def _record(self, step: int, loss: float, expected_ms: float | None) -> dict[str, float | int | None]:
        entropies = [normalised_entropy(list(entry.values())) for entry in self.probabilities().values()]
        return {
            "step": step,
            "loss": loss,
            "expected_ms": expected_ms,
            "picked_ms": None if expected_ms is None else self._picked_ms(),
            "entropy": float(np.mean(entropies)),
            **self.steering.complexity.state,
        }

    def _progress(self, step: int, loss: float | None) -> Progress:
        config, steering = self.config, self.steering
        total = config.warmup + config.steps
        return search_progress(
            step,
            total,
            loss=loss,
            learning_rate=rate_at(config.schedule, config.weights.lr, max(0, step - 1), total),
            probabilities={n: self._relaxation(c).probabilities(c.raw) for n, c in self.supernet.choices.items()},
            expected_ms=steering.expected_ms,
            budget_ms=steering.budget_ms,
            price=steering.complexity.state.get("price"),
        )

    def _picked_ms(self) -> float | None:
        """Milliseconds of the network that would be picked now, without a budget."""
        if self.steering.expected_ms is None:
            return None
        with torch.no_grad():
            return float(self.steering.expected_ms(decided(self.supernet.choices)))

    def _marker(self, identity: str) -> str:
        names = {kind: relaxation.name for kind, relaxation in sorted(self.steering.relaxations.items())}
        return f"{identity}|{type(self.steering.complexity).__name__}|{names}|{self.config.model_dump_json()}"

    def _save(self, path: Path, identity: str, step: int) -> None:
        tensors = (
            prefixed("supernet", self.supernet.state_dict())
            | prefixed("weight_optimizer", optimizer_tensors(self._weight_optimizer))
            | prefixed("raw_optimizer", optimizer_tensors(self._raw_optimizer))
        )
        # Supernet state names each raw vector once per layer that reads it; safetensors wants tensors of their own.
        unshared = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        meta = {"marker": self._marker(identity), "step": step, "complexity": self.steering.complexity.state}
        save_checkpoint(path, unshared, meta)

    def _resume(self, path: Path, identity: str) -> int:
        if not path.is_file():
            return 0
        tensors, meta = load_checkpoint(path, self.device)
        if meta["marker"] != self._marker(identity):
            raise SearchError(f"{path} belongs to a search with other settings or data; choose another folder")
        self.supernet.load_state_dict(unprefixed("supernet", tensors))
        load_optimizer_tensors(self._weight_optimizer, unprefixed("weight_optimizer", tensors))
        load_optimizer_tensors(self._raw_optimizer, unprefixed("raw_optimizer", tensors))
        self.steering.complexity.state = meta["complexity"]
        return int(meta["step"])


@contextmanager
def _frozen(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Inside, gradients flow through weights to the raw vectors but not into the weights: saves a third of backward."""
    held = list(parameters)
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)

"""Training on tiny problems: it learns, averages, resumes to the same bits, and refuses what is not its own."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import nn

from models import Network, get_space
from tasks import BatchStream, Sample, dead_leaves, get_task
from training import TrainConfig, Trained, TrainingError, load_checkpoint, train
from training.trainer import to_tensors

CPU = torch.device("cpu")
Batch = tuple[NDArray[np.float32], NDArray[np.float32]]


class KilledError(Exception):
    """Stands for a killed process: nothing catches it on the way out."""


@dataclass
class Fragile:
    """Batches that raise at one step, once."""

    stream: Any
    at: int
    seen: list[int] = field(default_factory=list)
    num_versions: int = 1

    def batch_at(self, step: int) -> Batch:
        self.seen.append(step)
        if step == self.at:
            raise KilledError(step)
        batch: Batch = self.stream.batch_at(step)
        return batch


def stream(task: str = "denoise", scale: int | None = None) -> BatchStream:
    samples = tuple(Sample(f"s/{i}", dead_leaves(np.random.default_rng(i), 64)) for i in range(3))
    return BatchStream(get_task(task, scale), samples, patch=16, batch=2, seed=1)


def network(scale: int = 1) -> Network:
    space = get_space("unet")
    config = space.parse_config({"channels": (8, 16), "blocks": 1, **space.task_config(scale)})
    torch.manual_seed(0)
    picks = {name: names[-1] for name, names in space.candidates(config).items()}  # dilated, squeeze-excitation
    return space.build(space.genotype(config, picks))


def config(**values: Any) -> TrainConfig:
    return TrainConfig.model_validate(
        {"steps": 12, "batch": 2, "patch": 16, "warmup": 2, "checkpoint_every": 4, **values}
    )


def tensors(result: Trained) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in result.network.state_dict().items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("task", "scale", "at"), [("denoise", 1, 0), ("denoise", 1, 4), ("denoise", 1, 7), ("super-resolution", 2, 11)]
)
def test_killed_and_resumed_gives_the_same_bits(tmp_path: Path, task: str, scale: int, at: int) -> None:
    batches = stream(task, scale if scale > 1 else None)
    straight = train(network(scale), batches, config(), tmp_path / "a.safetensors", CPU)
    fragile = Fragile(batches, at)
    with pytest.raises(KilledError):
        train(network(scale), fragile, config(), tmp_path / "b.safetensors", CPU)
    torch.manual_seed(99)  # whatever the new process does with torch's own randomness
    resumed_batches = Fragile(batches, -1)
    resumed = train(network(scale), resumed_batches, config(), tmp_path / "b.safetensors", CPU)
    assert resumed_batches.seen[0] == at // 4 * 4  # it does go on at the checkpoint, it does not start over
    assert equal(tensors(straight), tensors(resumed))
    assert straight.losses == resumed.losses
    ours, theirs = (load_checkpoint(tmp_path / f"{name}.safetensors") for name in "ab")
    assert equal(ours[0], theirs[0])
    assert ours[1] == theirs[1]


def test_one_other_batch_is_enough_to_differ(tmp_path: Path) -> None:
    """The planted fault of the test above: resuming one step late."""

    class Late:
        num_versions = 1

        def batch_at(self, step: int) -> Batch:
            return stream().batch_at(step + (step >= 4))

    straight = train(network(), stream(), config(), tmp_path / "a.safetensors", CPU)
    late = train(network(), Late(), config(), tmp_path / "b.safetensors", CPU)
    assert not equal(tensors(straight), tensors(late))


def test_a_lengthened_run_ends_as_if_it_had_been_long_from_the_start(tmp_path: Path) -> None:
    straight = train(network(), stream(), config(restarts=(6,)), tmp_path / "a.safetensors", CPU)
    short = train(network(), stream(), config(), tmp_path / "b.safetensors", CPU)
    lengthened = train(network(), stream(), config(restarts=(6,)), tmp_path / "b.safetensors", CPU)
    assert equal(tensors(straight), tensors(lengthened))
    assert not equal(tensors(short), tensors(lengthened))


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    first = train(network(), stream(), config(), path, CPU)
    again = train(network(), Fragile(stream(), at=-1), config(), path, CPU)
    nobody = Fragile(stream(), at=-1)
    train(network(), nobody, config(), path, CPU)
    assert nobody.seen == []
    assert equal(tensors(first), tensors(again))
    assert first.losses == again.losses


@pytest.mark.parametrize("other", [{"lr": 2e-3}, {"steps": 13}, {"seed": 5}, {"loss": "l1"}])
def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    path = tmp_path / "c.safetensors"
    train(network(), stream(), config(steps=4), path, CPU)
    with pytest.raises(TrainingError, match="belongs to a run with other settings or data; choose another folder"):
        train(network(), stream(), config(**{"steps": 4, **other}), path, CPU)


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    train(network(), stream(), config(steps=4), path, CPU, identity="genotype a")
    with pytest.raises(TrainingError, match="belongs to a run with other settings"):
        train(network(), stream(), config(steps=4), path, CPU, identity="genotype b")


def test_it_learns_to_denoise(tmp_path: Path) -> None:
    def error(model: nn.Module) -> float:
        total = 0.0
        for step in range(1000, 1004):
            degraded, clean = to_tensors(stream().batch_at(step), CPU)
            with torch.no_grad():
                total += float((model(degraded) - clean).pow(2).mean())
        return total

    start = network()
    before, identity = error(start), error(nn.Identity())
    settings = config(steps=240, lr=3e-3, ema_decay=0.95, checkpoint_every=20)
    result = train(start, stream(), settings, tmp_path / "c.safetensors", CPU)
    assert np.mean(result.losses[-3:]) < 0.85 * result.losses[0]
    assert error(result.network) < 0.3 * before
    assert error(result.network) < 0.95 * identity


def test_what_is_returned_is_the_moving_average(tmp_path: Path) -> None:
    """Recomputed by hand from the weights after every step."""
    path = tmp_path / "c.safetensors"
    model, seen = network(), []
    average: dict[str, torch.Tensor] = {name: p.detach().clone() for name, p in model.named_parameters()}

    class Watching:
        num_versions = 1

        def batch_at(self, step: int) -> Batch:
            seen.append({name: p.detach().clone() for name, p in model.named_parameters()})
            return stream().batch_at(step)

    result = train(model, Watching(), config(steps=6, ema_decay=0.3), path, CPU)
    seen.append({name: p.detach().clone() for name, p in model.named_parameters()})
    for number, weights in enumerate(seen[1:], start=1):
        decay = min(0.3, number / (number + 10))
        average = {name: decay * average[name] + (1 - decay) * weights[name] for name in weights}
    for name, parameter in result.network.named_parameters():
        assert torch.allclose(parameter, average[name], atol=1e-6), name
    assert any(not torch.allclose(p, seen[-1][name], atol=1e-6) for name, p in result.network.named_parameters())


def test_no_decay_returns_the_last_weights(tmp_path: Path) -> None:
    model = network()
    result = train(model, stream(), config(ema_decay=0.0), tmp_path / "c.safetensors", CPU)
    assert equal(tensors(result), dict(model.state_dict()))


def test_a_loss_that_explodes_stops_the_run_and_says_what_to_do(tmp_path: Path) -> None:
    class Poisoned:
        num_versions = 1

        def batch_at(self, step: int) -> Batch:
            degraded, clean = stream().batch_at(step)
            return degraded * np.float32(np.nan if step == 5 else 1.0), clean

    with pytest.raises(TrainingError, match=r"the loss is nan at step 8: lower the learning rate"):
        train(network(), Poisoned(), config(), tmp_path / "c.safetensors", CPU)
    _, meta = load_checkpoint(tmp_path / "c.safetensors")
    assert meta["step"] == 4  # the checkpoint before the fault is kept


def test_gradients_are_clipped(tmp_path: Path) -> None:
    """Adam's first moment after one step is a tenth of the gradient."""
    path = tmp_path / "c.safetensors"
    train(network(), stream(), config(steps=1, clip_norm=1e-3), path, CPU)
    state, _ = load_checkpoint(path)
    moments = [tensor for name, tensor in state.items() if name.endswith("exp_avg")]
    norm = float(torch.stack([m.pow(2).sum() for m in moments]).sum().sqrt())
    assert norm == pytest.approx(0.1 * 1e-3, rel=1e-3)


def test_gradient_values_are_clipped(tmp_path: Path) -> None:
    """With plain gradient descent a step moves no weight by more than rate * limit."""
    moves = []
    for limit in (None, 1e-4):
        start, model = network(), network()
        settings = config(steps=1, warmup=0, optimizer="sgd", lr=1.0, clip_norm=None, clip_value=limit)
        train(model, stream(), settings, tmp_path / f"{limit}.safetensors", CPU)
        pairs = zip(start.parameters(), model.parameters(), strict=True)
        moves.append(max(float((a - b).detach().abs().max()) for a, b in pairs))
    assert moves[0] > 1e-3
    assert moves[1] == pytest.approx(1e-4, rel=1e-2)


class Normalised(nn.Module):
    """Convolution, batch normalisation, convolution; what is normalised is far from mean 0 and variance 1."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.last = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = x + 0.1 * self.last(torch.relu(self.norm(20 * self.first(x) + 5)))
        return result


def normalised() -> Normalised:
    torch.manual_seed(0)
    return Normalised()


@pytest.mark.parametrize(
    "recipe",
    [
        {"optimizer": "sgd", "schedule": "poly", "lr": 0.05, "weight_decay": 4e-5, "bias_weight_decay": False,
         "bias_lr_factor": 2.0, "clip_norm": None, "clip_value": 5.0},
        {"optimizer": "sgd", "momentum": 0.0, "schedule": "oscillating", "lr": 0.025, "floor": 0.04, "oscillations": 2},
        {"optimizer": "adam", "schedule": "milestones", "milestones": (0.25, 0.5, 0.75), "betas": (0.5, 0.999)},
        {"optimizer": "adam", "schedule": "cosine", "floor": 0.1, "restarts": (4,), "loss": "mse"},
        {"optimizer": "adamw", "schedule": "cosine", "weight_decay": 0.01},
    ],
    ids=lambda recipe: "-".join((recipe["optimizer"], recipe["schedule"])),
)  # fmt: skip
def test_every_recipe_resumes_to_the_same_bits_batch_normalisation_included(
    tmp_path: Path, recipe: dict[str, Any]
) -> None:
    straight = train(normalised(), stream(), config(**recipe), tmp_path / "a.safetensors", CPU)
    with pytest.raises(KilledError):
        train(normalised(), Fragile(stream(), 7), config(**recipe), tmp_path / "b.safetensors", CPU)
    torch.manual_seed(99)
    resumed = train(normalised(), stream(), config(**recipe), tmp_path / "b.safetensors", CPU)
    assert equal(tensors(straight), tensors(resumed))
    assert straight.losses == resumed.losses
    ours, theirs = (load_checkpoint(tmp_path / f"{name}.safetensors") for name in "ab")
    assert equal(ours[0], theirs[0])
    # Planted fault: another rate in one step.
    other = train(normalised(), stream(), config(**recipe, warmup=3), tmp_path / "c.safetensors", CPU)
    assert not equal(tensors(straight), tensors(other))


def test_a_rate_follows_its_schedule(tmp_path: Path) -> None:
    """Plain gradient descent on a loss of constant gradient walks a distance that is the sum of the rates."""

    class Shift(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.bias

    class Above:
        num_versions = 1

        def batch_at(self, step: int) -> Batch:  # noqa: ARG002 - the same for all steps
            return np.full((1, 3, 8, 8), 9, np.float32), np.zeros((1, 3, 8, 8), np.float32)

    def walked(**values: Any) -> float:
        model = Shift()
        settings = config(steps=8, warmup=0, optimizer="sgd", momentum=0.0, loss="l1", lr=0.1, clip_norm=None, **values)
        train(model, Above(), settings, tmp_path / f"{len(list(tmp_path.iterdir()))}.safetensors", CPU)
        return -float(model.bias.detach())

    assert walked(schedule="milestones", milestones=(0.5, 0.75)) == pytest.approx(0.4 + 0.1 + 0.05)
    assert walked(schedule="poly", poly_power=1.0) == pytest.approx(0.1 * sum(range(1, 9)) / 8)
    assert walked(schedule="poly", poly_power=1.0, bias_lr_factor=2.0) == pytest.approx(0.2 * sum(range(1, 9)) / 8)
    assert walked() == pytest.approx(0.4)  # half the area under a constant rate
    assert walked(restarts=(4,)) == pytest.approx(0.4 + 0.1)  # another one, of half the length and half the peak


def test_versions_and_progress_reach_the_objective(tmp_path: Path) -> None:
    """L_int counts from half of the run, and pulls the outputs for one background together."""
    samples = tuple(Sample(f"s/{i}", dead_leaves(np.random.default_rng(i), 64)) for i in range(3))
    rainy = BatchStream(get_task("derain"), samples, patch=16, batch=2, seed=1, versions=True)
    losses = {}
    for start in (None, 0.0, 0.5):
        terms = [{"name": "mse"}] + ([] if start is None else [{"name": "internal", "weight": 1 / 3, "start": start}])
        result = train(network(), rainy, config(loss=terms, ema_decay=0.0), tmp_path / f"{start}.safetensors", CPU)
        losses[start] = result.losses
    assert len(losses[0.5]) == 3  # steps 0-3, 4-7, 8-11
    assert losses[0.5][0] == losses[None][0]
    assert losses[0.0][0] > losses[None][0]
    assert losses[0.5][2] > losses[None][2]
    degraded, _ = rainy.batch_at(0)
    assert len(degraded) == 6


def test_a_late_term_does_not_move_when_the_run_is_lengthened(tmp_path: Path) -> None:
    late = {"loss": [{"name": "mse"}, {"name": "tv", "weight": 10.0, "start": 0.5}]}
    straight = train(network(), stream(), config(restarts=(6,), **late), tmp_path / "a.safetensors", CPU)
    train(network(), stream(), config(**late), tmp_path / "b.safetensors", CPU)
    lengthened = train(network(), stream(), config(restarts=(6,), **late), tmp_path / "b.safetensors", CPU)
    assert equal(tensors(straight), tensors(lengthened))
    never = train(network(), stream(), config(restarts=(6,), loss="mse"), tmp_path / "c.safetensors", CPU)
    assert not equal(tensors(straight), tensors(never))


def test_every_interval_is_reported(tmp_path: Path) -> None:
    seen: list[int] = []
    result = train(
        network(), stream(), config(steps=10), tmp_path / "c.safetensors", CPU, on_interval=lambda s, _: seen.append(s)
    )
    assert seen == [4, 8, 10]
    assert len(result.losses) == 3


def test_bf16_trains_on_a_cpu(tmp_path: Path) -> None:
    result = train(network(), stream(), config(steps=4, precision="bf16"), tmp_path / "c.safetensors", CPU)
    assert np.isfinite(result.losses).all()
    assert {p.dtype for p in result.network.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"lr": 0.0}, {"ema_decay": 1.0}, {"precision": "fp8"}, {"learning_rate": 1e-3}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        config(**wrong)


def test_restarts_go_with_cosines_only() -> None:
    with pytest.raises(ValidationError, match="restarts are further cosines, which schedule 'poly' has none of"):
        config(restarts=(4,), schedule="poly")


def test_an_unknown_loss_is_refused_before_anything_runs() -> None:
    with pytest.raises(TrainingError, match="unknown loss 'l7'; known: l1,"):
        config(loss="l7")


def test_settings_come_back_from_what_is_written() -> None:
    for values in ({}, {"loss": "mse", "optimizer": "sgd", "schedule": "milestones", "milestones": (0.5,)}):
        written = config(**values)
        assert config(**written.model_dump()) == written
        assert TrainConfig.model_validate_json(written.model_dump_json()) == written

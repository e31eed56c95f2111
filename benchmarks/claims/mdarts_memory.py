"""Does a one-path search need the memory of training one network? `python -m benchmarks.claims.mdarts_memory`.

A chain of choices between convolutions at one resolution, as many choices as the U-shaped space of AutoDerain has
(20: two in each of ten blocks). One search step is an architecture update with frozen weights, then a weight update;
its peak is the larger of the two. It is compared with a training step of the network that the picks derive. The literal
NASP step runs every candidate in the architecture update, because the gradient at a zero weight needs its output.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.claims.common import Claim, Verdict, one_thread, write_claim
from benchmarks.claims.memory import gradient_bytes, hold_gradients, parameter_bytes, peak_bytes
from models import Choice, Selection, make_operation
from models.mixed import MixedOperation
from search.relaxation import Moment, ProximalOneHot, Softmax
from training import get_loss

LIMIT = 1.1
CLAIM = Claim(
    name="mdarts_memory",
    text="A one-path search needs no more activation memory than training one deraining network.",
    source="AutoDerain / MDARTS (Fu et al., VCIP 2021)",
    rule=f"activations of a search step (recompute in backward) at most {LIMIT} x those of a training step at 2, 4 and "
    "8 candidates, and the literal step above that",
)

OPERATIONS = ("conv3x3", "separable3x3", "dilated3x3", "conv5x5", "separable5x5")
"""Candidates are these in turn; beyond five they repeat, with weights of their own."""
COUNTS = (2, 4, 8)
DEPTH, CHANNELS, BATCH, PATCH = 20, 16, 4, 32
ADAM_STATES = 2

StepName = Literal["softmax", "literal NASP", "two-path", "recompute in backward"]
STEPS: tuple[StepName, ...] = ("softmax", "literal NASP", "two-path", "recompute in backward")


def candidate_names(count: int) -> tuple[str, ...]:
    """Operation of each candidate."""
    return tuple(OPERATIONS[index % len(OPERATIONS)] for index in range(count))


class Chain(nn.Module):
    """(N, 3, H, W) -> (N, 3, H, W): a convolution, `layers` each followed by ReLU, a convolution, added to the input.

    Args:
        layers: Keep channels, height and width.
        channels: Between the two convolutions.
    """

    def __init__(self, layers: list[nn.Module], channels: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.layers = nn.ModuleList(layers)
        self.tail = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Restore."""
        out = self.head(x)
        for layer in self.layers:
            out = torch.relu(layer(out))
        restored: Tensor = x + self.tail(out)
        return restored


def supernet(count: int, depth: int, channels: int) -> tuple[Chain, list[Choice]]:
    """A chain in which every layer has `count` candidates."""
    names = candidate_names(count)
    ids = tuple(f"{index}:{name}" for index, name in enumerate(names))
    choices = [Choice(f"layer{place}", "operation", ids) for place in range(depth)]
    layers: list[nn.Module] = [
        MixedOperation(c, {i: make_operation(n, channels, channels) for i, n in zip(ids, names, strict=True)})
        for c in choices
    ]
    return Chain(layers, channels), choices


def derived(picks: list[int], count: int, channels: int) -> Chain:
    """The chain of these candidates alone."""
    names = candidate_names(count)
    return Chain([make_operation(names[pick], channels, channels) for pick in picks], channels)


def all_kept(choice: Choice, index: int) -> Selection:
    """NASP to the letter: weights one-hot, straight through, and every candidate runs and stays."""
    raw = choice.raw
    one_hot = torch.zeros_like(raw.detach())
    one_hot[index] = 1.0
    return Selection(one_hot + raw - raw.detach(), tuple(range(raw.numel())))


def two_paths(choice: Choice, index: int, *, graph: bool) -> Selection:
    """ProxylessNAS: the picked candidate and one other, softmax over the pair."""
    raw = choice.raw if graph else choice.raw.detach()
    pair = [index, (index + 1) % raw.numel()]
    weights = torch.zeros_like(raw).index_put((torch.tensor(pair),), torch.softmax(raw[pair], 0))
    return Selection(weights, tuple(pair))


def decide(step: StepName, choices: list[Choice], phase: Literal["weights", "architecture"]) -> None:
    """Decide every choice as one update of this kind of search does."""
    moment = Moment(phase, 0.5, 0.0, np.random.default_rng(0))
    for choice in choices:
        index = int(choice.raw.detach().argmax())
        match step:
            case "softmax":
                choice.decide(Softmax().select(choice, moment))
            case "literal NASP" if phase == "architecture":
                choice.decide(all_kept(choice, index))
            case "two-path":
                choice.decide(two_paths(choice, index, graph=phase == "architecture"))
            case _:
                choice.decide(ProximalOneHot().select(choice, moment))


@contextmanager
def frozen(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Inside, as in an architecture update, weights get no gradient."""
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


@dataclass(frozen=True)
class Need:
    """Bytes of one step: live tensors at their peak, parameters, gradients, optimiser states (Adam)."""

    activations: int
    parameters: int
    gradients: int

    @property
    def total(self) -> int:
        """All of it; states of every parameter, because each is trained sooner or later."""
        return self.activations + self.gradients + (1 + ADAM_STATES) * self.parameters


def step_of(network: nn.Module, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    """Forward pass to the loss of this project's default objective."""
    loss = get_loss("charbonnier")
    return lambda: loss(network(x), y)


def training_need(network: nn.Module, x: Tensor, y: Tensor) -> Need:
    """Of a training step."""
    step, parameters = step_of(network, x, y), list(network.parameters())
    hold_gradients(step, parameters)
    return Need(peak_bytes(step, parameters), parameter_bytes(network), gradient_bytes(parameters))


def search_need(step: StepName, network: nn.Module, choices: list[Choice], x: Tensor, y: Tensor) -> tuple[Need, int]:
    """Of a search step, and the peak of its architecture update alone."""
    raws = {id(choice.raw) for choice in choices}
    parameters = list(network.parameters())
    weights = [p for p in parameters if id(p) not in raws]
    with frozen(weights):
        # The graph from the raw vectors belongs to one backward pass, so the choices are decided anew for each.
        def architecture() -> Tensor:
            decide(step, choices, "architecture")
            return step_of(network, x, y)()

        hold_gradients(architecture, parameters)
        architecture_peak = peak_bytes(architecture, parameters)
    decide(step, choices, "weights")
    run = step_of(network, x, y)
    hold_gradients(run, parameters)
    peak = max(architecture_peak, peak_bytes(run, parameters))
    return Need(peak, parameter_bytes(network), gradient_bytes(parameters)), architecture_peak


def measure(step: StepName, count: int, depth: int, channels: int, batch: int, patch: int) -> dict[str, str | float]:
    """One row: a kind of search at a number of candidates, against training."""
    torch.manual_seed(0)
    network, choices = supernet(count, depth, channels)
    picks = [place % count for place in range(depth)]
    for choice, pick in zip(choices, picks, strict=True):
        choice.raw.data[pick] = 1e-3
    x, y = torch.rand(batch, 3, patch, patch), torch.rand(batch, 3, patch, patch)
    trained = training_need(derived(picks, count, channels), x, y)
    searched, architecture_peak = search_need(step, network, choices, x, y)
    mib = 1 / 2**20
    return {
        "step": step,
        "candidates": count,
        "training activations MiB": trained.activations * mib,
        "search activations MiB": searched.activations * mib,
        "R activations": searched.activations / trained.activations,
        "R activations, architecture update": architecture_peak / trained.activations,
        "search parameters MiB": searched.parameters * mib,
        "search gradients MiB": searched.gradients * mib,
        "search Adam states MiB": ADAM_STATES * searched.parameters * mib,
        "R parameters": searched.parameters / trained.parameters,
        "R total": searched.total / trained.total,
    }


def slope(counts: list[float], ratios: list[float]) -> float:
    """Of a straight line through the points: how much R grows for one candidate more."""
    return float(np.polyfit(counts, ratios, 1)[0])


def main() -> None:
    """Measure all and write the result."""
    one_thread()
    rows = []
    slopes: dict[str, float] = {}
    for step in STEPS:
        found = [measure(step, count, DEPTH, CHANNELS, BATCH, PATCH) for count in COUNTS]
        slopes[step] = slope([float(c) for c in COUNTS], [float(row["R activations"]) for row in found])
        rows += [{**row, "slope of R": slopes[step]} for row in found]
    ours = [float(row["R activations"]) for row in rows if row["step"] == STEPS[-1]]
    literal = [float(row["R activations"]) for row in rows if row["step"] == "literal NASP"]
    softmax = [float(row["R activations"]) for row in rows if row["step"] == "softmax"]
    total = [float(row["R total"]) for row in rows if row["step"] == STEPS[-1]]
    verdict: Verdict = "holds" if max(ours) <= LIMIT < min(literal) else "does not hold"
    why = (
        f"R of activations at {COUNTS} candidates: recompute {_list(ours)} (slope {slopes[STEPS[-1]]:.3f}), literal "
        f"NASP {_list(literal)} (slope {slopes['literal NASP']:.2f}), softmax {_list(softmax)}. With parameters, "
        f"gradients and optimiser states of all candidates recompute needs {_list(total)} x training."
    )
    sizes = {"choices": DEPTH, "channels": CHANNELS, "batch": BATCH, "patch": PATCH, "dtype": "float32"}
    write_claim(CLAIM, verdict, why, rows, seeds=(0,), sizes=sizes)


def _list(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


if __name__ == "__main__":
    main()

"""A place in a network where one of several candidates will be picked."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

ChoiceKind = Literal["operation", "width", "module", "route", "exit"]
"""What is picked: a layer, a number of channels, a multi-scale module, a move along a path of layers, or where a
network ends."""

CHOICE_KINDS: tuple[ChoiceKind, ...] = get_args(ChoiceKind)


@dataclass(frozen=True)
class Selection:
    """How a choice is decided for one forward pass. Relaxations make it; mixed layers obey it.

    Attributes:
        weights: Relaxed weight of each candidate, (K,).
        active: Indices of the candidates that run in the forward pass.
        probe: Give the weights of inactive candidates their exact gradient by running those candidates, one at a
            time and without a graph, inside the backward pass. Costs time, not memory.
    """

    weights: Tensor
    active: tuple[int, ...]
    probe: bool = False


class Choice(nn.Module):
    """Candidates and one raw parameter vector; knows nothing of how it is relaxed.

    Args:
        choice_id: Unique within its network, e.g. `enc0.0.conv1`.
        kind: What is picked.
        candidates: Names, in the order of the raw vector.
    """

    def __init__(self, choice_id: str, kind: ChoiceKind, candidates: tuple[str, ...]) -> None:
        super().__init__()
        if len(set(candidates)) != len(candidates) or not candidates:
            raise ValueError(f"choice {choice_id}: candidates must be unique and not empty, got {candidates}")
        self.choice_id = choice_id
        self.kind: ChoiceKind = kind
        self.candidates = candidates
        self.raw = nn.Parameter(torch.zeros(len(candidates)))
        self._selection: Selection | None = None

    def decide(self, selection: Selection) -> None:
        """Set how the next forward passes treat this choice."""
        if selection.weights.shape != (len(self.candidates),):
            raise ValueError(f"choice {self.choice_id}: {len(self.candidates)} weights wanted, got {selection.weights}")
        self._selection = selection

    def pick(self, candidate: str) -> None:
        """Decide for one candidate with weight one: the supernet then computes what the derived network does."""
        index = self.candidates.index(candidate)
        weights = torch.zeros_like(self.raw)
        weights[index] = 1.0
        self.decide(Selection(weights.detach(), (index,)))

    @property
    def selection(self) -> Selection:
        """The current decision.

        Raises:
            RuntimeError: A forward pass was run before any decision.
        """
        if self._selection is None:
            raise RuntimeError(f"choice {self.choice_id} is undecided: call decide() or pick() before the forward pass")
        return self._selection

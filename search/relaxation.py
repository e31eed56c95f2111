"""From a raw parameter vector to the weights of candidates.

A relaxation knows nothing of networks or tasks, and a choice knows nothing of relaxations; the searcher brings them
together. `phase` says for which of the two alternating updates the selection is made.
"""

from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import Choice, Selection

Phase = Literal["weights", "architecture"]


class Relaxation(Protocol):
    """What every relaxation offers."""

    name: str

    def initialise(self, raw: Tensor, rng: np.random.Generator) -> None:
        """Set a raw vector, in place."""
        ...

    def select(self, choice: Choice, phase: Phase, rng: np.random.Generator, explore: float) -> Selection:
        """Decide a choice for one step; `explore` is the probability of a uniform draw, where that applies."""
        ...

    def project(self, raw: Tensor) -> None:
        """After an architecture update, put the raw vector back where it may be, in place."""
        ...

    def probabilities(self, raw: Tensor) -> Tensor:
        """Non-negative and summing to one; its argmax is the relaxation's own pick."""
        ...


class Softmax:
    """All candidates run, weighted by softmax of the raw vector (DARTS, HiNAS, CLEARER, MANAS)."""

    name = "softmax"

    def initialise(self, raw: Tensor, rng: np.random.Generator) -> None:
        """Small noise around zero: nearly uniform."""
        _fill(raw, 1e-3 * rng.standard_normal(raw.numel()))

    def select(self, choice: Choice, phase: Phase, rng: np.random.Generator, explore: float) -> Selection:  # noqa: ARG002
        """Softmax weights; they carry a graph in the architecture phase only."""
        raw = choice.raw if phase == "architecture" else choice.raw.detach()
        return Selection(torch.softmax(raw, 0), tuple(range(raw.numel())))

    def project(self, raw: Tensor) -> None:
        """Softmax needs no projection."""

    def probabilities(self, raw: Tensor) -> Tensor:
        """The softmax."""
        return torch.softmax(raw.detach(), 0)


class ProximalOneHot:
    """One candidate runs: the argmax. Its gradient is applied to a continuous copy, clipped to [0, 1].

    NASP (Yao et al., AAAI 2020), which MDARTS (AutoDerain) builds on: `a <- clip(a - lr * grad at onehot(argmax a))`.
    The gradient of the candidates that did not run is recomputed in backward (`Selection.probe`), so memory stays that
    of one network. The plain rule has no exploration: the argmax candidate alone is trained and so wins. Hence
    `explore`, the probability that a weight step trains a uniformly drawn candidate instead.
    """

    name = "proximal"

    def initialise(self, raw: Tensor, rng: np.random.Generator) -> None:
        """0.5 plus a little noise: with exact ties the order of candidates would be a hidden prior."""
        _fill(raw, 0.5 + 1e-3 * rng.standard_normal(raw.numel()))

    def select(self, choice: Choice, phase: Phase, rng: np.random.Generator, explore: float) -> Selection:
        """One-hot; in the architecture phase with a straight-through graph to the raw vector, mean gradient removed."""
        raw = choice.raw
        index = int(raw.detach().argmax())
        if phase == "weights" and rng.random() < explore:
            index = int(rng.integers(raw.numel()))
        one_hot = torch.zeros_like(raw.detach())
        one_hot[index] = 1.0
        if phase == "weights":
            return Selection(one_hot, (index,))
        # Only differences between candidates mean anything, so only they get a gradient. Without this the price of
        # latency, which is positive for every candidate, pushes all of them to zero, where order decides the tie.
        centred = raw - raw.mean()
        return Selection(one_hot + centred - centred.detach(), (index,), probe=True)

    def project(self, raw: Tensor) -> None:
        """Move the mean back to 0.5, then clip to the box [0, 1].

        The gradient has no common part, but Adam scales each entry by itself and so brings one in.
        """
        raw.data.add_(0.5 - raw.data.mean()).clamp_(0.0, 1.0)

    def probabilities(self, raw: Tensor) -> Tensor:
        """Shares of the raw vector; uniform if all of it was clipped to zero."""
        shares = raw.detach().clamp_min(1e-6)
        return shares / shares.sum()


def relaxations() -> dict[str, Relaxation]:
    """Every relaxation, by name."""
    known: tuple[Relaxation, ...] = (Softmax(), ProximalOneHot())
    return {relaxation.name: relaxation for relaxation in known}


def _fill(raw: Tensor, values: NDArray[np.float64]) -> None:
    raw.data.copy_(torch.from_numpy(values).to(raw))

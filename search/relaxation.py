"""From a raw parameter vector to the weights of candidates.

A relaxation knows nothing of networks or tasks, and a choice knows nothing of relaxations; the searcher brings them
together.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import Choice, Selection
from search.sparsest import Variant, circumradius, ordered, sparsestmax

Phase = Literal["weights", "architecture"]

REST = 0.2
"""Share of a search in which a sparsestmax at its own pace is not pushed."""


@dataclass(frozen=True)
class Moment:
    """For which update, and when in the search, a selection is made.

    Attributes:
        phase: Which of the two alternating updates.
        progress: Share of the architecture steps that are done, 0 during the warm-up, 1 at the end.
        explore: Probability of a uniformly drawn candidate in a weight step, where that applies.
        rng: Everything random comes from it.
    """

    phase: Phase
    progress: float
    explore: float
    rng: np.random.Generator


class Relaxation(Protocol):
    """What every relaxation offers.

    Attributes:
        name: What settings call it.
        probes: It wants the gradient of candidates that did not run, which single layers and widths can give; modules
            with several scales and whole branches cannot.
    """

    name: str
    probes: bool

    def initialise(self, raw: Tensor, rng: np.random.Generator) -> None:
        """Set a raw vector, in place."""
        ...

    def select(self, choice: Choice, moment: Moment) -> Selection:
        """Decide a choice for one update."""
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
    probes = False

    def initialise(self, raw: Tensor, rng: np.random.Generator) -> None:
        """Small noise around zero: nearly uniform."""
        _fill(raw, 1e-3 * rng.standard_normal(raw.numel()))

    def select(self, choice: Choice, moment: Moment) -> Selection:
        """Softmax weights; they carry a graph in the architecture phase only."""
        raw = _raw(choice, moment)
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
    probes = True

    def initialise(self, raw: Tensor, rng: np.random.Generator) -> None:
        """0.5 plus a little noise: with exact ties the order of candidates would be a hidden prior."""
        _fill(raw, 0.5 + 1e-3 * rng.standard_normal(raw.numel()))

    def select(self, choice: Choice, moment: Moment) -> Selection:
        """One-hot; in the architecture phase with a straight-through graph to the raw vector, mean gradient removed."""
        raw = choice.raw
        index = int(raw.detach().argmax())
        if moment.phase == "weights" and moment.rng.random() < moment.explore:
            index = int(moment.rng.integers(raw.numel()))
        one_hot = torch.zeros_like(raw.detach())
        one_hot[index] = 1.0
        if moment.phase == "weights":
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


class GumbelOneHot:
    """One sampled candidate runs: argmax(raw + Gumbel noise), with the softmax' gradient straight through.

    Jang et al. and Maddison et al. (ICLR 2017); the width choice of AGD and Trilevel NAS. The weight of the sampled
    candidate is exactly one, so only it carries a gradient.
    """

    name = "gumbel"
    probes = False

    def __init__(self, temperature: float = 1.0) -> None:
        self.temperature = temperature

    def initialise(self, raw: Tensor, rng: np.random.Generator) -> None:
        """Small noise around zero."""
        _fill(raw, 1e-3 * rng.standard_normal(raw.numel()))

    def select(self, choice: Choice, moment: Moment) -> Selection:
        """A fresh sample."""
        raw = _raw(choice, moment)
        noise = torch.from_numpy(moment.rng.gumbel(size=raw.numel())).to(raw)
        soft = torch.softmax((raw + noise) / self.temperature, 0)
        index = int(soft.detach().argmax())
        one_hot = torch.zeros_like(soft.detach())
        one_hot[index] = 1.0
        return Selection(one_hot + soft - soft.detach(), (index,))

    def project(self, raw: Tensor) -> None:
        """A sample needs no projection."""

    def probabilities(self, raw: Tensor) -> Tensor:
        """The probabilities of being sampled."""
        return torch.softmax(raw.detach(), 0)


class Sparsestmax:
    """Candidates in the support run; the support shrinks until one is left (Shao et al., SSN, CVPR 2019; Trilevel NAS).

    The radius grows with the search. Each choice's own schedule ends at its circumradius, so that every choice, large
    or small, hardens at the same pace; the published schedule, r = t for all, is the other one. At its own pace a
    choice also rests at radius zero for the first fifth: near the centre every push is a large one, and a vector of two
    entries has no gradient once it is pushed, so its initial noise would decide.

    Args:
        name: How it is listed.
        variant: See `search.sparsest.sparsestmax`.
        own_pace: Each choice's radius runs to its circumradius; False: r = t.
        in_order: Candidates are exits in order of depth, and their weights never rise along it.
    """

    probes = False

    def __init__(
        self,
        name: str = "sparsestmax",
        *,
        variant: Variant = "definition",
        own_pace: bool = True,
        in_order: bool = False,
    ) -> None:
        self.name = name
        self.variant: Variant = variant
        self.own_pace = own_pace
        self.in_order = in_order

    def radius(self, count: int, progress: float) -> float:
        """Least distance from the centre of the simplex."""
        if not self.own_pace:
            return progress
        return circumradius(count) * max(0.0, (progress - REST) / (1.0 - REST))

    def initialise(self, raw: Tensor, rng: np.random.Generator) -> None:
        """Small noise: equal entries have no direction in which to be pushed."""
        _fill(raw, 1e-3 * rng.standard_normal(raw.numel()))

    def select(self, choice: Choice, moment: Moment) -> Selection:
        """The sparsestmax; zero weights do not run."""
        raw = _raw(choice, moment)
        weights = self._weights(raw, moment.progress)
        support = torch.nonzero(weights.detach() > 0).flatten().tolist()
        return Selection(weights, tuple(support))

    def project(self, raw: Tensor) -> None:
        """Needs no projection."""

    def probabilities(self, raw: Tensor) -> Tensor:
        """Softmax of the raw vector: the same order as the sparsestmax, but it still tells the losers apart."""
        values = raw.detach()
        return torch.softmax(ordered(values) if self.in_order else values, 0)

    def _weights(self, raw: Tensor, progress: float) -> Tensor:
        values = ordered(raw) if self.in_order else raw
        return sparsestmax(values, self.radius(raw.numel(), progress), self.variant)


def relaxations() -> dict[str, Relaxation]:
    """Every relaxation, by name."""
    known: tuple[Relaxation, ...] = (
        Softmax(),
        ProximalOneHot(),
        GumbelOneHot(),
        Sparsestmax(),
        Sparsestmax("sparsestmax-ordered", in_order=True),
        # As published: the code's projection, and one radius for choices of all sizes.
        Sparsestmax("sparsestmax-ssn", variant="ssn", own_pace=False),
    )
    return {relaxation.name: relaxation for relaxation in known}


def _raw(choice: Choice, moment: Moment) -> Tensor:
    """The raw vector, with a graph in the architecture phase only."""
    return choice.raw if moment.phase == "architecture" else choice.raw.detach()


def _fill(raw: Tensor, values: NDArray[np.float64]) -> None:
    raw.data.copy_(torch.from_numpy(values).to(raw))

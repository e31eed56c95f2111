"""Terms that only the choices see: sure choices, and short networks."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from models import ChoiceKind
from search.sparsest import order_hinge

OrderForm = Literal["telescoping", "hinge"]
"""`telescoping`: as in the released code, sum of (next - previous), of which only leaf - root remains. `hinge`: every
step down a path costs only where it rises."""

CLAMP = 1e-6
"""Keeps 0 * log 0 out of the entropy, which drives weights to just there."""


def mean_entropy(weights: Mapping[str, Tensor], kinds: Mapping[str, ChoiceKind]) -> Tensor:
    """Sum over kinds of choices of the mean of `H10(p) = -p log10 p - (1-p) log10 (1-p)`, entry by entry.

    CLEARER (Gou et al., NeurIPS 2020) for modules; MANAS (Cai et al., TCSVT 2023) for modules and attentions.
    """
    parts = []
    for kind in dict.fromkeys(kinds[choice] for choice in weights):
        entries = torch.cat([w for choice, w in weights.items() if kinds[choice] == kind]).clamp(CLAMP, 1 - CLAMP)
        parts.append(-(entries * entries.log10() + (1 - entries) * (1 - entries).log10()).mean())
    return torch.stack(parts).sum()


def order_loss(raw: Tensor, paths: Sequence[Sequence[int]], form: OrderForm) -> Tensor:
    """Prefers exits near the root: weights should not rise from one exit of a path to the next (Trilevel NAS).

    Args:
        raw: Raw vector of the exit choice.
        paths: Indices of exits along each complete path, root first.
        form: See `OrderForm`.
    """
    along = [raw[list(path)] for path in paths]
    # The telescoping sum, told: only its ends are left.
    parts = [order_hinge(path) if form == "hinge" else path[-1] - path[0] for path in along]
    return torch.stack(parts).sum()


def shannon_entropy(probabilities: Sequence[float]) -> float:
    """Shannon entropy in nats: the logarithm of the number of candidates for a uniform choice, 0 for a sure one."""
    return -sum(p * math.log(p) for p in probabilities if p > 0)


def normalised_entropy(probabilities: Sequence[float]) -> float:
    """Shannon entropy over its largest possible value: 1 for a uniform choice, 0 for a sure one."""
    return shannon_entropy(probabilities) / math.log(max(2, len(probabilities)))

"""What training minimises: a weighted sum of terms, some of which join in later.

Published recipes are sums of a few terms: CLEARER takes the squared error alone, HiNAS adds `-log10 SSIM`, MANAS adds
`1 - SSIM`, the disagreement between several versions of one background, and a little smoothness.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from torch import Tensor

from training.errors import TrainingError
from training.ssim import ssim

TermFunction = Callable[[Tensor, Tensor, int], Tensor]
"""(restored, clean, versions), the first two (B * versions, C, H, W) -> a scalar."""

CHARBONNIER_EPSILON = 1e-3
# Below this similarity the logarithm is replaced by its tangent.
LOG_SSIM_FLOOR = 0.01


def charbonnier(restored: Tensor, clean: Tensor) -> Tensor:
    """Mean of sqrt(difference^2 + 1e-6): L1 with a smooth foot (Lai et al., LapSRN, CVPR 2017)."""
    return torch.sqrt((restored - clean) ** 2 + CHARBONNIER_EPSILON**2).mean()


def log_ssim(restored: Tensor, clean: Tensor) -> Tensor:
    """-log10 of the batch's mean SSIM (HiNAS, Zhang et al., CVPR 2020).

    SSIM may be zero or negative, where there is no logarithm. Under `LOG_SSIM_FLOOR` the tangent goes on in its place:
    a clamp alone would be flat there, and a network that starts so badly would never learn its way out.
    """
    similarity = ssim(restored, clean)
    missing = F.relu(LOG_SSIM_FLOOR - similarity)
    return missing / (LOG_SSIM_FLOOR * math.log(10.0)) - torch.log10(similarity.clamp_min(LOG_SSIM_FLOOR))


def total_variation(restored: Tensor) -> Tensor:
    """Mean absolute difference between vertical neighbours plus that between horizontal ones."""
    rows = (restored[..., 1:, :] - restored[..., :-1, :]).abs().mean()
    columns = (restored[..., 1:] - restored[..., :-1]).abs().mean()
    return rows + columns


def disagreement(restored: Tensor, versions: int) -> Tensor:
    """L_int of MANAS (Cai et al., TCSVT 2023): how far outputs for one background lie apart.

    Args:
        restored: (B * versions, C, H, W); version v of background b is at b * versions + v.
        versions: Of each background.

    Returns:
        The sum over pairs of versions of their mean squared error, averaged over backgrounds; zero for one version.
    """
    groups = restored.reshape(-1, versions, *restored.shape[1:])
    pairs = [F.mse_loss(groups[:, k], groups[:, j]) for k, j in combinations(range(versions), 2)]
    return torch.stack(pairs).sum() if pairs else restored.new_zeros(())


def _compares(loss: Callable[[Tensor, Tensor], Tensor]) -> TermFunction:
    return lambda restored, clean, _versions: loss(restored, clean)


# Terms that compare with the clean picture; the others are satisfied by any flat output and cannot stand alone.
_FIDELITY: Mapping[str, TermFunction] = MappingProxyType(
    {
        "l1": _compares(F.l1_loss),
        "mse": _compares(F.mse_loss),
        "charbonnier": _compares(charbonnier),
        "ssim": _compares(lambda restored, clean: 1.0 - ssim(restored, clean)),
        "log_ssim": _compares(log_ssim),
    }
)

LOSS_TERMS: Mapping[str, TermFunction] = MappingProxyType(
    {
        **_FIDELITY,
        "tv": lambda restored, _clean, _versions: total_variation(restored),
        "internal": lambda restored, _clean, versions: disagreement(restored, versions),
    }
)


class LossTerm(BaseModel):
    """One term of an objective.

    Attributes:
        name: Key of `LOSS_TERMS`.
        weight: Factor in front of it.
        start: Share of the run, in [0, 1), from which it counts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    start: float = Field(default=0.0, ge=0, lt=1)


def parse_objective(value: str | Sequence[LossTerm]) -> tuple[LossTerm, ...]:
    """The terms of an objective; a name alone means that one term.

    Raises:
        TrainingError: A name is unknown, or no term compares with the clean picture from the start.
    """
    terms = (LossTerm(name=value),) if isinstance(value, str) else tuple(value)
    for term in terms:
        if term.name not in LOSS_TERMS:
            raise TrainingError(f"unknown loss {term.name!r}; known: {', '.join(LOSS_TERMS)}")
    if not any(term.name in _FIDELITY and term.start == 0 for term in terms):
        raise TrainingError(
            "an objective needs a term that compares with the clean picture from the start "
            f"({', '.join(_FIDELITY)}), got {', '.join(f'{t.name} from {t.start:g}' for t in terms) or 'no term'}"
        )
    return terms


ObjectiveTerms = Annotated[
    tuple[LossTerm, ...],
    BeforeValidator(lambda value: ({"name": value},) if isinstance(value, str) else value),
    AfterValidator(parse_objective),
]
"""The type of a setting that holds an objective: a name, or a list of terms."""


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms.

    Attributes:
        terms: See `LossTerm`.

    Raises:
        TrainingError: As `parse_objective`.
    """

    terms: tuple[LossTerm, ...]

    def __post_init__(self) -> None:
        parse_objective(self.terms)

    def __call__(self, restored: Tensor, clean: Tensor, *, versions: int = 1, progress: float = 1.0) -> Tensor:
        """Evaluate the terms that count by now.

        Args:
            restored: (B * versions, C, H, W), range about [0, 1]; version v of background b is at b * versions + v.
            clean: The same shape.
            versions: Of each background in the batch.
            progress: Share of the run that lies behind, 0..1.

        Returns:
            A scalar.

        Raises:
            TrainingError: The shapes differ, the batch does not divide into versions, or patches are too small for
                SSIM.
        """
        if restored.shape != clean.shape:
            raise TrainingError(f"the network made {tuple(restored.shape)} of what should be {tuple(clean.shape)}")
        if versions < 1 or len(restored) % versions:
            raise TrainingError(f"a batch of {len(restored)} patches does not hold {versions} versions of each")
        active = (term for term in self.terms if progress >= term.start)
        return torch.stack([term.weight * LOSS_TERMS[term.name](restored, clean, versions) for term in active]).sum()


def get_loss(name: str) -> Objective:
    """The objective of one term.

    Raises:
        TrainingError: No term has this name.
    """
    return Objective(parse_objective(name))

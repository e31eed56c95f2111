"""How far predictions are from measurements."""

import math
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.stats import kendalltau


class Accuracy(BaseModel):
    """Errors relative to the measured time.

    Attributes:
        mape: Mean absolute error.
        worst: Largest absolute error.
        bias: Mean signed error; positive: predicted too slow.
        tau: Kendall's rank correlation (tau-b); None where all networks take the same, or there is only one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mape: float
    worst: float
    bias: float
    tau: float | None

    def agrees(self, other: "Accuracy") -> bool:
        """Are the two the same to the digits that a file keeps?"""
        ours, theirs = self.model_dump(), other.model_dump()
        return all(
            ours[key] == theirs[key]
            if ours[key] is None or theirs[key] is None
            else math.isclose(ours[key], theirs[key], rel_tol=1e-6, abs_tol=1e-9)
            for key in ours
        )


def accuracy(predicted: Sequence[float], measured: Sequence[float]) -> Accuracy:
    """Compare predictions with measurements of the same networks, in the same unit.

    Raises:
        ValueError: Nothing to compare, or not as many of one as of the other.
    """
    if not predicted or len(predicted) != len(measured):
        raise ValueError(f"{len(predicted)} predictions cannot be compared with {len(measured)} measurements")
    errors = np.asarray(predicted) / np.asarray(measured) - 1.0
    tau = float(kendalltau(predicted, measured).statistic) if len(predicted) > 1 else math.nan
    return Accuracy(
        mape=float(np.abs(errors).mean()),
        worst=float(np.abs(errors).max()),
        bias=float(errors.mean()),
        tau=None if math.isnan(tau) else tau,
    )

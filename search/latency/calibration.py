"""Whole networks of a space: which ones are timed, and what they say about the sum of rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import OpKey, Space, SpaceConfig
from search.budget import Budget
from search.derive import derive_picks, fastest_and_slowest
from search.latency.model import LatencyModel
from search.latency.table import Calibration, Check, Measured

CALIBRATION_NETWORKS = 10
UNSEEN_NETWORKS = 8
FINALIST_SHARES = (0.1, 0.25, 0.4, 0.55, 0.7, 0.85)
"""Budgets of the finalists, as shares of the way from the fastest to the slowest network."""

MODEL_ERROR = 0.02
"""What a sum of rows is off by even if every timing is perfect; a timing that is worse than that counts for less."""

Picks = dict[str, str]


def calibration_picks(space: Space[Any], config: SpaceConfig, seed: int) -> dict[str, Picks]:
    """Networks to calibrate on: the reference, all first and all last candidates (where allowed), random ones."""
    rng = np.random.default_rng(seed)
    found = {"reference": space.reference_picks(config)}
    candidates = space.candidates(config)
    for name, place in (("all-first", 0), ("all-last", -1)):
        picks = {choice: names[place] for choice, names in candidates.items()}
        if space.allows(config, picks):
            found[name] = picks
    while len(found) < CALIBRATION_NETWORKS:
        found[f"random-{len(found)}"] = space.random_picks(config, rng)
    return found


def unseen_picks(space: Space[Any], config: SpaceConfig, seed: int) -> dict[str, Picks]:
    """Random networks, others than those of the calibration."""
    rng = np.random.default_rng([seed, 1])
    return {f"unseen-{number}": space.random_picks(config, rng) for number in range(UNSEEN_NETWORKS)}


def finalist_picks(model: LatencyModel, size: tuple[int, int], seed: int) -> dict[str, Picks]:
    """Networks that a derivation under a budget picks, for random probabilities: what the table is used for.

    An optimiser finds whatever a table has too cheap, so these are where its error matters most.
    """
    rng = np.random.default_rng([seed, 2])
    fastest, slowest = fastest_and_slowest(model, *size)
    found: dict[str, Picks] = {}
    for share in FINALIST_SHARES:
        probabilities = {
            choice: dict(zip(names, rng.dirichlet(np.ones(len(names))).tolist(), strict=True))
            for choice, names in model.space.candidates(model.config).items()
        }
        limit = max(fastest * (1 + 1e-9), fastest + share * (slowest - fastest))
        found[f"finalist-{len(found)}"] = derive_picks(probabilities, model, Budget(limit, *size))
    return found


def sum_of_rows(space: Space[Any], config: SpaceConfig, rows: Mapping[OpKey, float], picks: Mapping[str, str]) -> float:
    """Uncalibrated milliseconds of everything that a network pays for."""
    return sum(rows[term.key] for term in space.cost_terms(config) if term.holds(picks))


def fit_calibration(sums_ms: Sequence[float], networks: Sequence[Measured]) -> Calibration:
    """The line from summed rows to whole networks: least squared errors, in units of what each timing is good for.

    Nothing of it is negative.
    """
    intercept, slope = _line(np.asarray(sums_ms), *_times(networks))
    return Calibration(intercept_ms=intercept, slope=slope, sums_ms=tuple(sums_ms), networks=tuple(networks))


def held_out(size: tuple[int, int], calibration: Calibration) -> Check:
    """Each calibration network predicted by a line fitted without it."""
    x = np.asarray(calibration.sums_ms)
    y, error = _times(calibration.networks)
    predicted = []
    for index in range(len(y)):
        keep = np.arange(len(y)) != index
        intercept, slope = _line(x[keep], y[keep], error[keep])
        predicted.append(float(intercept + slope * x[index]))
    return Check.of("held-out", size, tuple(predicted), calibration.networks)


def _times(networks: Sequence[Measured]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Milliseconds, and the relative error of each as a measure of the line: of the timing, and of the line itself."""
    error = np.hypot([entry.error for entry in networks], MODEL_ERROR)
    return np.array([entry.ms for entry in networks]), error


def _line(x: NDArray[np.float64], y: NDArray[np.float64], error: NDArray[np.float64]) -> tuple[float, float]:
    weight = 1.0 / (y * error)
    (intercept, slope), *_ = np.linalg.lstsq(np.stack([np.ones(len(x)), x], 1) * weight[:, None], y * weight)
    if intercept < 0.0 or slope <= 0.0:
        # Through the origin: a negative fixed cost would be cut off where it is used, and bias every prediction.
        return 0.0, float((x * y * weight**2).sum() / (x**2 * weight**2).sum())
    return float(intercept), float(slope)

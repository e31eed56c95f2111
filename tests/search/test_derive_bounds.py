"""Derivation between two bounds, against every network of small random problems."""

import dataclasses
import math
from typing import Any

import pytest

from search.derive import GRID, cheapest, dearest
from tests.search.problems import CONFIGS, PATHS, every_path, problem


@pytest.mark.parametrize(("name", "values"), [*PATHS, ("unet", CONFIGS[1]), ("unet", CONFIGS[2])])
@pytest.mark.parametrize("seed", range(3))
def test_no_path_between_two_bounds_is_better(name: str, values: dict[str, Any], seed: int) -> None:
    case = problem(name, values, seed)
    every = list(every_path(case.arcs))
    priced = [(case.prices.fixed + sum(case.prices.rows[key] for key in keys), case.score(s)) for _, keys, s in every]
    low, high = min(price for price, _ in priced), max(price for price, _ in priced)
    for least, most in ((0.3, 0.4), (0.7, 0.8), (0.9, 1.0), (0.98, 1.4), (0.5, math.inf), (0.0, 0.5)):
        at_least, limit = (low + share * (high - low) for share in (least, most))
        picks = case.best(limit, at_least)
        (found,) = [place for place, (other, _, _) in enumerate(every) if other == picks]
        price, score = priced[found]
        spare = len(case.probabilities) * (min(limit, 2 * high - low) - low) / GRID
        assert price <= limit + 1e-9
        # Rounding may hide what keeps a bound by less than a step for each decision, and nothing else.
        inner = [s for p, s in priced if at_least + spare <= p <= limit - spare]
        if inner:
            assert price >= at_least - 1e-9
            assert score >= max(inner) - 1e-9
        elif price < at_least:
            # Nothing is there: what comes closest to it.
            assert price >= max(p for p, _ in priced if p <= limit - spare) - spare


def test_without_a_lower_bound_less_would_be_used() -> None:
    """The planted fault: what is probable and cheap stays below the bound if nobody asks for more."""
    case = problem("unet", CONFIGS[1], 0)
    cheap = case.best(cheapest(case.arcs, case.prices))
    sure = {
        c: {name: 0.9 if name == cheap[c] else 0.1 / len(entry) for name in entry}
        for c, entry in case.probabilities.items()
    }
    told = dataclasses.replace(case, probabilities=sure)
    limit = dearest(case.arcs, case.prices) * 0.9
    assert case.price(told.best(limit)) < 0.8 * limit
    assert 0.8 * limit <= case.price(told.best(limit, 0.8 * limit)) <= limit

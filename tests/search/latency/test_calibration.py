"""Which networks are timed, and the line that is fitted to them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import OpKey, get_space, spaces
from models.search_spaces.unet import UNetSpace
from search.latency.calibration import (
    CALIBRATION_NETWORKS,
    FINALIST_SHARES,
    UNSEEN_NETWORKS,
    calibration_picks,
    finalist_picks,
    fit_calibration,
    held_out,
    sum_of_rows,
    unseen_picks,
)
from search.latency.model import LatencyModel
from search.latency.table import Measured

MakeModel = Callable[..., LatencyModel]
Rows = Callable[[int], Callable[[OpKey], float]]


def networks_taking(*ms: float) -> list[Measured]:
    return [
        Measured(id=str(i), graph="0", session=0, ms=value, error=0.0, raw_ms=value, spread=0.0, runs=3, stable=True)
        for i, value in enumerate(ms)
    ]


def test_calibration_networks_differ_and_start_with_the_reference() -> None:
    space = UNetSpace()
    wide = space.parse_config({"channels": (16, 24), "blocks": 1})
    networks = calibration_picks(space, wide, seed=0)
    assert list(networks)[:3] == ["reference", "all-first", "all-last"]
    assert networks["reference"] == space.reference_picks(wide)
    assert len({space.genotype(wide, picks).id for picks in networks.values()}) >= CALIBRATION_NETWORKS - 1
    assert calibration_picks(space, wide, seed=0) == networks
    assert calibration_picks(space, wide, seed=1) != networks


def test_networks_at_the_unseen_size_are_others() -> None:
    space = get_space("unet")
    config = space.parse_config({"channels": (16, 24), "blocks": 2})
    known = [space.genotype(config, picks).id for picks in calibration_picks(space, config, 3).values()]
    others = [space.genotype(config, picks).id for picks in unseen_picks(space, config, 3).values()]
    assert len(others) == UNSEEN_NETWORKS
    assert not set(others) & set(known)


@pytest.mark.parametrize("name", sorted(spaces()))
def test_finalists_of_every_space_keep_their_budgets_and_differ(
    name: str, make_model: MakeModel, random_rows: Rows
) -> None:
    model = make_model(get_space(name).examples[0], row_ms=random_rows(1), sizes=((64, 64),), of=name)
    finalists = finalist_picks(model, (64, 64), seed=0)
    assert len(finalists) == len(FINALIST_SHARES)
    times = [model.predict(picks, 64, 64).ms for picks in finalists.values()]
    assert times[0] < times[-1]
    assert len({model.space.genotype(model.config, picks).id for picks in finalists.values()}) > 1


def test_calibration_finds_a_planted_line() -> None:
    sums = [1.0, 2.0, 4.0, 7.0]
    fitted = fit_calibration(sums, networks_taking(*(3.0 + 0.8 * value for value in sums)))
    assert fitted.intercept_ms == pytest.approx(3.0)
    assert fitted.slope == pytest.approx(0.8)
    assert held_out((8, 8), fitted).accuracy.worst == pytest.approx(0.0, abs=1e-9)


def test_a_negative_fixed_cost_is_a_line_through_the_origin() -> None:
    """Cut off only where it is used, it would make every prediction too slow by as much."""
    sums = [4.0, 5.0, 6.0, 7.0]
    fitted = fit_calibration(sums, networks_taking(*(1.2 * value - 1.0 for value in sums)))
    assert fitted.intercept_ms == 0.0
    errors = [fitted.slope * x / (1.2 * x - 1.0) - 1.0 for x in sums]
    assert min(errors) < 0 < max(errors)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0.5, 100.0), st.floats(0.1, 10.0)), min_size=3, max_size=10))
def test_whatever_was_timed_nothing_is_negative(pairs: list[tuple[float, float]]) -> None:
    fitted = fit_calibration([x for x, _ in pairs], networks_taking(*(x * factor for x, factor in pairs)))
    assert fitted.intercept_ms >= 0
    assert fitted.slope > 0


def test_the_error_is_that_of_networks_the_line_has_not_seen() -> None:
    """Against numpy's own weighted line, fitted without the point in question."""
    sums, ms = [1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 5.0, 12.0]
    check = held_out((8, 16), fit_calibration(sums, networks_taking(*ms)))
    errors = []
    for index, (x, y) in enumerate(zip(sums, ms, strict=True)):
        others = [i for i in range(4) if i != index]
        slope, intercept = np.polyfit(
            [sums[i] for i in others], [ms[i] for i in others], 1, w=[1 / ms[i] for i in others]
        )
        if intercept < 0:
            ratios = np.array([sums[i] / ms[i] for i in others])
            slope, intercept = ratios.sum() / (ratios**2).sum(), 0.0
        errors.append(abs(intercept + slope * x - y) / y)
    assert errors[3] == pytest.approx(0.5)  # three points on a line miss the fourth by its whole distance
    assert check.accuracy.worst == pytest.approx(max(errors))
    assert check.accuracy.mape == pytest.approx(np.mean(errors))
    assert (check.kind, check.height, check.width) == ("held-out", 8, 16)


def test_the_sum_of_rows_is_what_the_picks_pay(random_rows: Rows) -> None:
    space = get_space("unet")
    config: Any = space.parse_config({"channels": (16,), "blocks": 1})
    row = random_rows(4)
    rows = {term.key: row(term.key) for term in space.cost_terms(config)}
    picks = space.reference_picks(config)
    paid = sum(row(term.key) for term in space.cost_terms(config) if term.holds(picks))
    assert sum_of_rows(space, config, rows, picks) == pytest.approx(paid)

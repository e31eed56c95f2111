"""The pure parts of the experiment: limits at equal milliseconds, draws, margins and the verdict."""

from collections.abc import Mapping

import numpy as np
import pytest

from benchmarks.claims import measured_cost_picks
from benchmarks.claims.measured_cost import ARMS, Entry, latency_margins
from benchmarks.claims.measured_cost_picks import draw_between, largest_limit
from benchmarks.claims.measured_cost_verdict import (
    Margin,
    above_line,
    independent_margin,
    joint_verdict,
    paired_margin,
    rank_among,
    verdict,
)


def _numbered(number: float) -> dict[str, str]:
    return {"network": f"{number:.9f}"}


def test_the_largest_limit_is_found_where_milliseconds_rise_with_it() -> None:
    limit, picks = largest_limit(_numbered, lambda p: 2 * float(p["network"]), 1.0, 10.0, 7.3)
    assert 3.65 - 1e-4 < limit <= 3.65
    assert 2 * float(picks["network"]) <= 7.3


def test_the_largest_limit_is_found_beyond_an_island_that_is_over_the_budget() -> None:
    # Over the budget between 3 and 5 and beyond 8: plain bisection from (1, 10) would meet 5.5, but from (1, 8)
    # it would stop at 3.
    def ms(picks: Mapping[str, str]) -> float:
        limit = float(picks["network"])
        return 9.0 if 3 < limit < 5 or limit > 8 else 1.0

    limit, _ = largest_limit(_numbered, ms, 1.0, 10.0, 5.0)
    assert limit == pytest.approx(8.0, abs=1e-3)


def test_a_limit_that_never_binds_is_the_dearest_network() -> None:
    assert largest_limit(_numbered, lambda _: 1.0, 1.0, 10.0, 5.0)[0] == 10.0


def test_no_limit_fits() -> None:
    with pytest.raises(ValueError, match="raise the budget"):
        largest_limit(_numbered, lambda _: 6.0, 1.0, 10.0, 5.0)


def test_drawn_networks_are_different_and_inside() -> None:
    rng = np.random.default_rng(0)
    found, draws = draw_between(lambda: {"network": str(rng.integers(10))}, lambda p: float(p["network"]), 2.0, 5.0, 4)
    assert sorted(p["network"] for p in found) == ["2", "3", "4", "5"]
    assert draws >= 4


def test_too_few_networks_are_an_error() -> None:
    rng = np.random.default_rng(0)
    assert measured_cost_picks.DRAWS >= 1000
    with pytest.raises(ValueError, match="only 4 of 5"):
        draw_between(lambda: {"network": str(rng.integers(10))}, lambda p: float(p["network"]), 2.0, 5.0, 5)


def test_margins_are_paired_by_seed() -> None:
    # Seeds move both by 1 dB, the arm is ahead by 0.1 in each: unpaired numbers would hide it.
    margin = paired_margin("other", [30.1, 31.1, 32.11], [30.0, 31.0, 32.0])
    assert margin.db == pytest.approx(0.31 / 3)
    assert margin.error_db == pytest.approx(0.01 / 3, abs=1e-6)
    assert margin.outcome == "won"
    # The planted fault: the same numbers in another order of seeds are no win.
    assert paired_margin("other", [30.1, 31.1, 32.11], [32.0, 30.0, 31.0]).outcome == "tie"


def test_groups_of_unequal_size_are_compared_by_their_means() -> None:
    # Errors of the means: stdev 1 over sqrt(3), stdev sqrt(2) over sqrt(2).
    margin = independent_margin("random", [3.0, 4.0, 5.0], [0.0, 2.0])
    assert margin.db == pytest.approx(3.0)
    assert margin.error_db == pytest.approx((1 / 3 + 1) ** 0.5)
    with pytest.raises(ValueError, match="two or more"):
        independent_margin("random", [3.0], [0.0, 2.0])


@pytest.mark.parametrize(("arm", "other"), [([1.0], [1.0]), ([1.0, 2.0], [1.0])])
def test_margins_need_the_same_seeds(arm: list[float], other: list[float]) -> None:
    with pytest.raises(ValueError, match="same two or more seeds"):
        paired_margin("other", arm, other)


def test_outcomes() -> None:
    outcomes = [Margin("x", db, 0.1).outcome for db in (0.3, 0.2, 0.19, 0.0, -0.19, -0.2)]
    assert outcomes == ["won", "won", "tie", "tie", "tie", "lost"]
    # Networks that are the same give no margin and no error.
    assert Margin("x", 0.0, 0.0).outcome == "tie"


def test_the_rank() -> None:
    assert rank_among(2.0, [1.0, 2.0, 3.0]) == 2
    assert rank_among(4.0, [1.0, 2.0, 3.0]) == 1
    assert rank_among(0.0, [1.0, 2.0, 3.0]) == 4


def test_one_tie_or_loss_is_enough_against_the_claim() -> None:
    won, tie, lost = Margin("a", 0.3, 0.1), Margin("b", 0.1, 0.1), Margin("c", -0.3, 0.1)
    assert verdict([won, won])[0] == "holds"
    assert verdict([won, tie])[0] == "does not hold"
    assert verdict([won, lost])[0] == "does not hold"
    assert verdict([])[0] == "does not hold"
    text = verdict([won, tie, lost])[1]
    assert text.index("ahead of a") < text.index("not told apart from b") < text.index("behind c")


def test_every_condition_must_hold() -> None:
    won, tie = [Margin("a", 0.3, 0.1)], [Margin("a", 0.1, 0.1)]
    assert joint_verdict({"x": won, "y": won})[0] == "holds"
    verdict_of_both, why = joint_verdict({"x": won, "y": tie})
    assert verdict_of_both == "does not hold"
    assert "x: Latency is clearly ahead of a" in why
    assert "y: Latency is not told apart from a" in why
    assert joint_verdict({})[0] == "does not hold"


def test_above_the_line() -> None:
    points = [(8.0, 30.0), (10.0, 30.4), (12.0, 30.8)]
    assert above_line(points, 9.0, 30.3) == pytest.approx(0.1)
    assert above_line(points, 11.0, 30.3) == pytest.approx(-0.3)
    # One network that did not learn does not move the line.
    spoilt = [*points, (9.0, 30.2), (11.0, 30.6), (12.5, 25.0)]
    assert above_line(spoilt, 9.0, 30.3) == pytest.approx(0.1, abs=0.06)


def test_margins_of_the_latency_arm() -> None:
    def entry(name: str, *db: float) -> Entry:
        return Entry(name, ({},) * len(db), db, (1.0,) * len(db))

    arms = {arm: entry(arm, 1.0, 2.0, 3.0) for arm in ARMS} | {"flops": entry("flops", 0.0, 1.0, 2.0)}
    margins = latency_margins(arms, entry("random", 0.0, 0.5))
    assert [(m.rival, m.db) for m in margins] == [("flops", 1.0), ("parameters", 0.0), ("none", 0.0), ("random", 1.75)]
    assert [m.outcome for m in margins] == ["won", "tie", "tie", "won"]

"""The arithmetic of the latency benchmark; its timings are its own."""

import pytest

from benchmarks.latency.budgets import _row
from benchmarks.latency.prediction import Trial, _factor, _line, _twofold, rows
from runtime import Timing
from search.budget import Budget
from search.contract import Attempt, Derivation
from search.latency.model import Prediction
from search.latency.table import Measured


def test_a_line_is_found_and_a_factor_is_not_a_line() -> None:
    x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    y = [3.0 + 2.0 * value for value in x]
    assert _twofold(x, y, _line) == pytest.approx(y)
    assert _twofold(x, y, _factor) != pytest.approx(y, rel=0.05)
    assert _twofold(x, [2.0 * value for value in x], _factor) == pytest.approx([2.0 * value for value in x])


def test_no_network_is_predicted_by_a_fit_that_has_seen_it() -> None:
    x, y = [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 0.04]
    predicted = _twofold(x, y, _factor)
    # The wild one spoils the predictions of the other half, and not its own.
    assert predicted[3] == pytest.approx(4.0)
    assert predicted[0] != pytest.approx(1.0, rel=0.1)


def test_every_way_to_predict_is_a_row() -> None:
    found = rows("unet", Trial((16, 32), [1.0, 2.0], 0.01, -0.02, {"table": [1.1, 2.0], "other": [2.0, 1.0]}))
    assert [row["predicted by"] for row in found] == ["table", "other"]
    assert found[0]["size"] == "32x16"
    assert found[0]["MAPE %"] == pytest.approx(5.0)
    assert found[1]["tau"] == pytest.approx(-1.0)
    assert (found[0]["noise %"], found[0]["sitting %"]) == (1.0, -2.0)


@pytest.mark.parametrize(("ms", "kept", "used"), [(9.9, "yes", "yes"), (10.3, "no", "yes"), (8.0, "yes", "no")])
def test_a_budget_is_kept_and_used_or_not(ms: float, kept: str, used: str) -> None:
    entry = Measured(id="a", graph="0", session=0, ms=9.0, error=0.0, raw_ms=9.0, spread=0.0, runs=3, stable=True)
    best = Attempt(9.5, 0.0, {}, Prediction(9.4, 0.2), entry, "kept")
    timing = Timing(ratio=ms / 2.0, error=0.0, raw_ms=ms, spread=0.0, runs=3, stable=True)

    row = _row(Budget(10.0, 8, 8), Derivation((best,), 0), timing, anchor_ms=2.0)
    assert (row["kept"], row["used"]) == (kept, used)
    assert row["again ms"] == pytest.approx(ms)
    refused = _row(Budget(10.0, 8, 8), "no network", None, anchor_ms=2.0)
    assert (refused["kept"], refused["used"], refused["note"]) == ("no", "no", "no network")

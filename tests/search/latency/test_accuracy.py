import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.latency.accuracy import accuracy

TIMES = st.lists(st.floats(0.01, 1e4), min_size=1, max_size=12)


def test_by_hand() -> None:
    found = accuracy([11.0, 18.0, 30.0], [10.0, 20.0, 30.0])
    assert found.mape == pytest.approx(0.2 / 3)
    assert found.worst == pytest.approx(0.1)
    assert found.bias == pytest.approx(0.0, abs=1e-12)
    assert found.tau == pytest.approx(1.0)
    assert accuracy([1.0, 3.0, 2.0], [1.0, 2.0, 3.0]).tau == pytest.approx(1 / 3)


@given(TIMES)
def test_perfect_predictions_have_no_error(times: list[float]) -> None:
    found = accuracy(times, times)
    assert found.mape == found.worst == found.bias == 0.0
    assert found.tau in (None, pytest.approx(1.0))


@given(TIMES, st.floats(0.5, 2.0))
def test_a_common_factor_is_all_bias(times: list[float], factor: float) -> None:
    found = accuracy([factor * ms for ms in times], times)
    assert found.bias == pytest.approx(factor - 1.0, abs=1e-9)
    assert found.mape == pytest.approx(abs(factor - 1.0), abs=1e-9)


def test_without_a_ranking_there_is_no_rank_correlation() -> None:
    assert accuracy([1.0], [2.0]).tau is None
    assert accuracy([1.0, 1.0], [2.0, 3.0]).tau is None


@pytest.mark.parametrize(("predicted", "measured"), [([], []), ([1.0], [1.0, 2.0])])
def test_nothing_to_compare_is_an_error(predicted: list[float], measured: list[float]) -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        accuracy(predicted, measured)


def test_agreement_is_to_the_digits_of_a_file() -> None:
    found = accuracy([11.0, 18.0], [10.0, 20.0])
    assert found.agrees(found.model_copy(update={"mape": found.mape + 1e-12}))
    assert not found.agrees(found.model_copy(update={"mape": found.mape + 1e-3}))
    assert not found.agrees(found.model_copy(update={"tau": None}))

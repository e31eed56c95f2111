import math

import pytest

from search import Budget, BudgetError, parse_budgets, parse_size
from search.budget import middle_budget


@pytest.mark.parametrize(
    ("text", "size"), [("512x384", (384, 512)), ("1x1", (1, 1)), (" 64x32 ", (32, 64)), ("0512x0384", (384, 512))]
)
def test_sizes_are_written_width_first(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "512", "512x", "x512", "512X512", "512*512", "0x5", "5x0", "-1x5", "1.5x2", "1x2x3"]
)
def test_other_spellings_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(BudgetError, match="WIDTHxHEIGHT in pixels, for example 512x512; got"):
        parse_size(text)


def test_a_budget_reads_as_it_is_said() -> None:
    assert str(Budget(20.0, 384, 512)) == "20ms@512x384"


@pytest.mark.parametrize("ms", [0.0, -1.0, math.nan])
def test_a_budget_is_more_than_nothing(ms: float) -> None:
    with pytest.raises(BudgetError, match="more than 0 ms"):
        Budget(ms, 8, 8)


@pytest.mark.parametrize(
    ("text", "values"),
    [("20", (20.0,)), ("5,10,20", (5.0, 10.0, 20.0)), (" 20 , 5.5", (5.5, 20.0)), ("1e2", (100.0,))],
)
def test_several_budgets_are_a_family_in_rising_order(text: str, values: tuple[float, ...]) -> None:
    assert parse_budgets(text) == values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no budget is named"),
        (" ", "no budget is named"),
        ("fast", "such as 20 or 5,10,20; got 'fast'"),
        ("5,,10", "got '' in '5,,10'"),
        ("5;10", "got '5;10'"),
        ("5,-1", "more than 0 ms, got -1"),
        ("0", "more than 0 ms, got 0"),
        ("inf", "finite number of more than 0 ms, got inf"),
        ("5,nan", "finite number of more than 0 ms, got nan"),
        ("5,10,5.0", "budget 5 ms is named twice"),
    ],
)
def test_what_is_no_budget_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(BudgetError, match=said):
        parse_budgets(text)


def test_labels_are_short_and_differ() -> None:
    assert [Budget(ms, 8, 8).label for ms in (5.0, 12.5, 5.0000001)] == ["5ms", "12.5ms", "5.0000001ms"]


def test_a_search_for_several_budgets_aims_between_them() -> None:
    assert middle_budget([Budget(5.0, 8, 9), Budget(20.0, 8, 9)]).ms == pytest.approx(10.0)
    assert middle_budget([Budget(0.1 + 0.2, 8, 9)]) == Budget(0.1 + 0.2, 8, 9)  # to the last bit

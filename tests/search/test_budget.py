import math

import pytest

from search import Budget, BudgetError, parse_size


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

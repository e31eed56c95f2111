import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.schedule import cosine, cosine_cycles


def test_it_rises_to_the_peak_and_falls_to_the_floor() -> None:
    rates = [cosine(step, 100, 2.0, warmup=10, floor=0.5) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9] == rates[10] == pytest.approx(2.0)
    assert rates[-1] == pytest.approx(0.5)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_half_way_is_half_of_the_peak() -> None:
    assert cosine(50, 101, 3.0) == pytest.approx(1.5)


@given(st.integers(1, 50), st.integers(0, 60), st.floats(1e-6, 1.0))
def test_it_stays_between_nothing_and_the_peak_whatever_the_lengths(steps: int, warmup: int, peak: float) -> None:
    for step in range(steps):
        rate = cosine(step, steps, peak, warmup=warmup)
        assert math.isfinite(rate)
        assert 0 <= rate <= peak * (1 + 1e-12)


def test_cycles_follow_one_another_at_half_the_peak() -> None:
    rates = [cosine_cycles(step, (10, 6), 1.0, warmup=2) for step in range(17)]
    assert rates[:10] == [cosine(step, 10, 1.0, warmup=2) for step in range(10)]
    assert rates[10] == 0.5
    assert rates[10:16] == sorted(rates[10:16], reverse=True)
    assert rates[16] == 0.0

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from training import ScheduleConfig, rate_at
from training.schedule import cosine, cosine_cycles, milestones, oscillating, poly


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


def test_cycles_fall_to_their_share_of_the_floor() -> None:
    rates = [cosine_cycles(step, (10, 6), 1.0, floor=0.2) for step in range(16)]
    assert rates[9] == pytest.approx(0.2)
    assert rates[10] == pytest.approx(0.5)
    assert rates[15] == pytest.approx(0.1)


def test_poly_by_hand() -> None:
    rates = [poly(step, 10, 2.0, power=2.0) for step in range(10)]
    assert rates == pytest.approx([2.0 * (1 - step / 10) ** 2 for step in range(10)])
    warmed = [poly(step, 14, 2.0, power=2.0, warmup=4) for step in range(14)]
    assert warmed == pytest.approx([0.5, 1.0, 1.5, 2.0, *rates])
    assert poly(10, 10, 2.0) == poly(99, 10, 2.0) == 0.0
    assert poly(10, 10, 2.0, floor=0.5) == 0.5


def test_milestones_halve_the_rate() -> None:
    rates = [milestones(step, 20, 1.0, (0.1, 0.35, 0.9), warmup=0) for step in range(20)]
    assert rates == [1.0] * 2 + [0.5] * 5 + [0.25] * 11 + [0.125] * 2
    assert [milestones(step, 20, 1.0, (0.1, 0.35, 0.9), warmup=2) for step in range(20)] == [0.5, *rates[1:]]


def test_the_search_schedule_of_hinas() -> None:
    """As in its dossier: epochs of which there are 100, a cosine of period 20 under a falling envelope."""
    for epoch in range(100):
        expected = 0.001 + 0.024 * (1 + math.cos(math.pi * epoch / 10)) / 2 * (1 - epoch / 100) ** 0.9
        assert oscillating(epoch, 100, 0.025, 0.001, 5) == pytest.approx(expected)
        # The same in steps, 7 to an epoch, and through the settings.
        config = ScheduleConfig(schedule="oscillating", floor=0.04)
        assert rate_at(config, 0.025, 7 * epoch, 700) == pytest.approx(expected)
    tops = [oscillating(epoch, 100, 0.025, 0.001, 5) for epoch in (0, 20, 40, 60, 80)]
    assert tops == sorted(tops, reverse=True)
    assert oscillating(30, 100, 0.025, 0.001, 5) == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, lambda s: cosine(s, 20, 0.1)),
        ({"warmup": 4, "floor": 0.1}, lambda s: cosine(s, 20, 0.1, warmup=4, floor=0.01)),
        ({"schedule": "poly", "poly_power": 2.0, "warmup": 4}, lambda s: poly(s, 20, 0.1, power=2.0, warmup=4)),
        ({"schedule": "poly", "floor": 0.5}, lambda s: poly(s, 20, 0.1, floor=0.05)),
        (
            {"schedule": "milestones", "milestones": (0.5,), "warmup": 4},
            lambda s: milestones(s, 20, 0.1, (0.5,), warmup=4),
        ),
        (
            {"schedule": "oscillating", "oscillations": 2, "floor": 0.5, "poly_power": 1.5, "warmup": 4},
            lambda s: oscillating(s, 20, 0.1, 0.05, 2, 1.5, warmup=4),
        ),
    ],
)
def test_settings_pick_the_function_and_reach_it(values: dict[str, Any], expected: Any) -> None:
    config = ScheduleConfig.model_validate(values)
    assert [rate_at(config, 0.1, step, 20) for step in range(20)] == pytest.approx([expected(s) for s in range(20)])
    assert ScheduleConfig.model_validate(config.model_dump()) == config
    # Planted fault: no setting may be without effect.
    for name in values.keys() - {"schedule", "milestones"}:
        less = ScheduleConfig.model_validate({key: value for key, value in values.items() if key != name})
        rates, others = ([rate_at(c, 0.1, step, 20) for step in range(20)] for c in (config, less))
        assert rates != others, name


def test_restarts_are_the_cycles() -> None:
    config = ScheduleConfig(warmup=2)
    rates = [rate_at(config, 1.0, step, 10, (6,)) for step in range(16)]
    assert rates == [cosine_cycles(step, (10, 6), 1.0, warmup=2) for step in range(16)]


@given(
    st.sampled_from([{}, {"schedule": "poly"}, {"schedule": "milestones", "milestones": (0.3, 0.6)},
                     {"schedule": "oscillating", "floor": 0.3}]),
    st.integers(1, 40), st.integers(0, 60), st.floats(1e-6, 1.0),
)  # fmt: skip
def test_no_schedule_leaves_zero_to_peak(values: dict[str, Any], total: int, warmup: int, peak: float) -> None:
    config = ScheduleConfig.model_validate({**values, "warmup": warmup})
    for step in range(total):
        rate = rate_at(config, peak, step, total)
        assert math.isfinite(rate)
        assert 0 <= rate <= peak * (1 + 1e-12)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"milestones": (0.5,)}, "milestones do nothing under schedule 'cosine'"),
        ({"schedule": "milestones"}, "needs milestones"),
        ({"schedule": "milestones", "milestones": (0.5, 0.5)}, "rising shares"),
        ({"schedule": "milestones", "milestones": (0.5, 0.25)}, "rising shares"),
        ({"schedule": "milestones", "milestones": (0.5, 1.0)}, "between 0 and 1"),
        ({"schedule": "milestones", "milestones": (0.5,), "floor": 0.1}, "floor does nothing"),
        ({"poly_power": 2.0}, "poly_power does nothing under schedule 'cosine'"),
        ({"schedule": "poly", "oscillations": 3}, "oscillations do nothing under schedule 'poly'"),
        ({"floor": 1.0}, "floor"),
        ({"schedule": "linear"}, "schedule"),
        ({"period": 3}, "period"),
    ],
)
def test_settings_that_do_nothing_or_are_out_of_range_are_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        ScheduleConfig.model_validate(wrong)

"""Prices: exact on picks, differentiable on weights, honest between sizes."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import OpKey
from runtime import SizeContract, plan_tiles
from search import TableError
from search.latency.model import LatencyModel
from search.latency.table import Check, LatencyTable, Measured

MakeModel = Callable[..., LatencyModel]
MakeTable = Callable[..., LatencyTable]
Rows = Callable[[int], Callable[[OpKey], float]]


def random_picks(model: LatencyModel, seed: int) -> dict[str, str]:
    rng = np.random.default_rng(seed)
    return {c: names[int(rng.integers(len(names)))] for c, names in model.space.candidates(model.config).items()}


def one_hot(model: LatencyModel, picks: dict[str, str]) -> dict[str, torch.Tensor]:
    names = model.space.candidates(model.config)
    return {c: torch.eye(len(names[c]))[names[c].index(pick)] for c, pick in picks.items()}


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000), size=st.sampled_from([(16, 16), (32, 32), (24, 40), (64, 8), (100, 100)]))
def test_expectation_of_a_pick_is_its_prediction(
    make_model: MakeModel, random_rows: Rows, seed: int, size: tuple[int, int]
) -> None:
    model = make_model(row_ms=random_rows(seed))
    picks = random_picks(model, seed)
    expected = model.expectation(*size)(one_hot(model, picks))
    assert float(expected) == pytest.approx(model.predict(picks, *size).ms, rel=1e-5)


def test_prediction_is_the_calibrated_sum_of_the_rows_that_are_paid(make_model: MakeModel, random_rows: Rows) -> None:
    rows = random_rows(3)
    model = make_model(row_ms=rows, intercept=2.0, slope=1.5)
    picks = random_picks(model, 0)
    total = 2.0
    for term in model.space.cost_terms(model.config):
        if term.holds(picks):
            total += 1.5 * rows(term.key)
    assert model.predict(picks, 32, 32).ms == pytest.approx(total)
    other = {**picks, "encoder0.0.conv1": "separable3x3" if picks["encoder0.0.conv1"] == "conv3x3" else "conv3x3"}
    assert model.predict(other, 32, 32).ms != pytest.approx(total)


@pytest.mark.parametrize("size", [(32, 32), (48, 24)])
def test_gradient_equals_finite_differences(make_model: MakeModel, random_rows: Rows, size: tuple[int, int]) -> None:
    model = make_model({"channels": (16, 24), "blocks": 1}, row_ms=random_rows(5))
    expected = model.expectation(*size)
    torch.manual_seed(0)
    weights = {
        choice: torch.softmax(torch.randn(len(names)), 0).requires_grad_()
        for choice, names in model.space.candidates(model.config).items()
    }
    gradients = torch.autograd.grad(expected(weights), list(weights.values()))
    # The expectation is linear in each single weight, so a wide step is exact and loses no digits.
    for (choice, weight), gradient in zip(weights.items(), gradients, strict=True):
        for index in range(weight.numel()):
            sides = []
            for step in (0.5, -0.5):
                moved = {name: w.detach().clone() for name, w in weights.items()}
                moved[choice][index] += step
                sides.append(float(expected(moved)))
            assert float(gradient[index]) == pytest.approx(sides[0] - sides[1], abs=2e-4), (choice, index)


def test_uniform_weights_expect_the_mean_over_all_networks(make_model: MakeModel, random_rows: Rows) -> None:
    model = make_model({"channels": (16,), "blocks": 1, "convolutions": ("conv3x3", "conv5x5")}, row_ms=random_rows(1))
    candidates = model.space.candidates(model.config)
    uniform = {choice: torch.full((len(names),), 1 / len(names)) for choice, names in candidates.items()}
    every = [
        model.predict(dict(zip(candidates, names, strict=True)), 32, 32).ms
        for names in itertools.product(*candidates.values())
    ]
    assert float(model.expectation(32, 32)(uniform)) == pytest.approx(np.mean(every), rel=1e-5)


def test_between_sizes_a_power_of_the_pixels_outside_a_line(make_table: MakeTable) -> None:
    """Rows that cost eight times as much for four times the pixels."""
    table = make_table(sizes=((16, 16), (32, 32)), intercept=0.0)
    small = table.sizes[0]
    halved = tuple(row.model_copy(update={"ms": row.ms / 2}) for row in small.rows)
    model = LatencyModel(
        table.model_copy(update={"sizes": (small.model_copy(update={"rows": halved}), table.sizes[1])})
    )
    picks = random_picks(model, 0)
    first, last = (model.predict(picks, side, side).ms for side in (16, 32))
    assert last == pytest.approx(8 * first)
    middle = model.predict(picks, 16, 32).ms
    assert middle == pytest.approx(first * 2**1.5)
    assert middle < (first + last) / 2
    assert model.predict(picks, 32, 16).ms == pytest.approx(middle)
    # Nobody knows whether it goes on like that, so beyond the measured sizes it does not.
    assert model.predict(picks, 64, 64).ms == pytest.approx(last + (4096 - 1024) / (1024 - 256) * (last - first))
    assert model.predict(picks, 8, 8).ms == 0.0  # the line has crossed zero


def test_a_row_that_is_free_at_one_size_is_a_line(make_table: MakeTable) -> None:
    table = make_table(sizes=((16, 16), (32, 32)), intercept=0.0)
    free = tuple(row.model_copy(update={"ms": 0.0}) for row in table.sizes[0].rows)
    sizes = (table.sizes[0].model_copy(update={"rows": free}), table.sizes[1])
    model = LatencyModel(table.model_copy(update={"sizes": sizes}))
    picks = random_picks(model, 0)
    assert model.predict(picks, 16, 32).ms == pytest.approx(model.predict(picks, 32, 32).ms / 3)


def test_one_size_only_is_in_proportion_to_pixels(make_model: MakeModel) -> None:
    model = make_model(sizes=((32, 32),))
    picks = random_picks(model, 0)
    assert model.predict(picks, 64, 32).ms == pytest.approx(2 * model.predict(picks, 32, 32).ms)


def test_never_negative(make_model: MakeModel) -> None:
    model = make_model(sizes=((16, 16), (32, 32)), row_ms=lambda _: 0.001, intercept=5.0)
    prices = model.prices(4, 4)
    assert prices.fixed >= 0
    assert all(ms >= 0 for ms in prices.rows.values())


def check(kind: str, size: tuple[int, int], error: float) -> Check:
    entry = Measured(id="a", graph="0", session=0, ms=1.0, error=0.0, raw_ms=1.0, spread=0.0, runs=3, stable=True)
    return Check.of(kind, size, (1.0 + error,), (entry,))  # type: ignore[arg-type]


def test_the_error_goes_with_the_prediction(make_model: MakeModel) -> None:
    model = make_model(error=0.05)
    prediction = model.predict(random_picks(model, 0), 32, 32)
    assert prediction.error_ms == pytest.approx(0.05 * prediction.ms)
    assert "±" in str(prediction)


def test_the_error_is_the_worst_of_the_checks_that_apply(make_table: MakeTable) -> None:
    table = make_table(sizes=((16, 16), (32, 32), (64, 64)))
    checks = (
        check("held-out", (16, 16), 0.01),
        check("held-out", (32, 32), 0.02),
        check("held-out", (64, 64), 0.05),
        check("optimum", (64, 64), 0.03),
        check("unseen-size", (48, 44), 0.08),
    )
    model = LatencyModel(table.model_copy(update={"checks": checks}))
    assert model.relative_error(16, 16) == pytest.approx(0.03)  # the optimum counts everywhere
    assert model.relative_error(64, 64) == pytest.approx(0.05)
    assert model.relative_error(24, 24) == pytest.approx(0.08)
    # Beyond the measured sizes it grows: nobody has looked there.
    assert model.relative_error(128, 64) == pytest.approx(0.16)
    assert model.relative_error(8, 16) == pytest.approx(0.16)
    with pytest.raises(TableError, match="its error is not known"):
        LatencyModel(table.model_copy(update={"checks": ()})).relative_error(32, 32)


def test_a_picture_is_priced_in_tiles_overlap_included(make_model: MakeModel) -> None:
    model = make_model(sizes=((16, 16), (32, 32)))
    picks = random_picks(model, 0)
    contract = SizeContract(multiple=4, minimum=4, tile=(32, 32), overlap=8, scale=1)
    tile = model.predict(picks, 32, 32)
    whole, tiles = model.predict_picture(picks, 100, 60, contract)
    assert tiles == len(plan_tiles(100, 60, contract)) == 4 * 3
    assert whole.ms == pytest.approx(tiles * tile.ms)
    assert whole.error_ms == pytest.approx(tiles * tile.error_ms)
    # Without overlap there would be fewer pixels to run.
    assert whole.ms > model.predict(picks, 100, 60).ms
    small, one = model.predict_picture(picks, 20, 14, contract)
    assert one == 1
    assert small.ms == pytest.approx(model.predict(picks, 20, 16).ms)  # rounded up to the multiple


@pytest.mark.parametrize("size", [(8, 8), (16, 16), (20, 20), (32, 32), (40, 48), (64, 64), (96, 96)])
def test_planted_proportional_times_are_met_at_any_size(make_model: MakeModel, size: tuple[int, int]) -> None:
    model = make_model(sizes=((64, 64), (16, 16), (32, 32), (16, 64)))
    picks = random_picks(model, 0)
    pixels = size[0] * size[1]
    assert model.predict(picks, *size).ms == pytest.approx(pixels / 1024 * model.predict(picks, 32, 32).ms)


@pytest.mark.parametrize(
    "values",
    [
        {"attentions": ("squeeze_excitation",)},
        {"convolutions": ("conv5x5",)},
        {"widths": (1.0,), "convolutions": ("conv3x3",)},
    ],
)
def test_what_is_paid_whatever_is_picked_is_fixed(make_model: MakeModel, values: dict[str, Any]) -> None:
    model = make_model({"channels": (16,), "blocks": 1, **values}, intercept=2.0)
    always = [term for term in model.terms if not term.when]
    assert model.prices(32, 32).fixed == pytest.approx(2.0 + len(always))
    picks = random_picks(model, 0)
    assert float(model.expectation(32, 32)(one_hot(model, picks))) == pytest.approx(model.predict(picks, 32, 32).ms)


def test_a_missing_row_is_refused_by_name_with_the_remedy(make_table: MakeTable) -> None:
    table = make_table()
    size = table.sizes[1]
    cut = size.model_copy(update={"rows": size.rows[1:]})
    gone = size.rows[0]
    with pytest.raises(TableError, match=rf"no row at 32x32 for: {gone.operation} .*`millisight latency measure"):
        LatencyModel(table.model_copy(update={"sizes": (table.sizes[0], cut)}))

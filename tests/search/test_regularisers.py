"""Entropy and order, against numbers worked out by hand."""

import math
from collections.abc import Mapping, Sequence

import pytest
import torch

from models import ChoiceKind
from search.regularisers import OrderForm, mean_entropy, normalised_entropy, order_loss

EVEN = 2 * 0.5 * math.log10(2)  # H10 at one half: 0.30103
QUARTER = 0.25 * math.log10(4) + 0.75 * math.log10(4 / 3)  # at a quarter, and at three quarters: 0.24422


def entropy(weights: Mapping[str, Sequence[float]], kinds: dict[str, ChoiceKind]) -> float:
    return float(mean_entropy({name: torch.tensor(values) for name, values in weights.items()}, kinds))


def test_entropy_by_hand() -> None:
    assert entropy({"a": (0.5, 0.5)}, {"a": "module"}) == pytest.approx(EVEN, abs=1e-6)
    assert entropy({"a": (0.25, 0.75)}, {"a": "module"}) == pytest.approx(QUARTER, abs=1e-6)
    # The mean is over all entries of a kind, so a large choice counts more than a small one.
    thirds = (1 / 3 * math.log10(3) + 2 / 3 * math.log10(1.5)) * 3
    both = entropy({"a": (0.5, 0.5), "b": (1 / 3, 1 / 3, 1 / 3)}, {"a": "module", "b": "module"})
    assert both == pytest.approx((2 * EVEN + thirds) / 5, abs=1e-6)


def test_kinds_are_averaged_by_themselves_and_added() -> None:
    weights = {"a": (0.5, 0.5), "b": (0.25, 0.75), "c": (0.25, 0.75)}
    apart = entropy(weights, {"a": "module", "b": "operation", "c": "operation"})
    assert apart == pytest.approx(EVEN + QUARTER, abs=1e-6)
    assert apart != pytest.approx(entropy(weights, {"a": "module", "b": "module", "c": "module"}))


@pytest.mark.parametrize("values", [(0.0, 1.0), (1.0, 0.0, 0.0), (1e-9, 1 - 1e-9)])
def test_sure_choices_have_none_and_their_gradient_is_finite(values: tuple[float, ...]) -> None:
    weights = torch.tensor(values, requires_grad=True)
    found = mean_entropy({"a": weights}, {"a": "module"})
    assert 0 <= float(found.detach()) < 1e-4
    (gradient,) = torch.autograd.grad(found, weights)
    assert torch.isfinite(gradient).all()


def test_without_the_clamp_there_is_no_number() -> None:
    """The planted fault of the test above."""
    sure = torch.tensor([0.0, 1.0])
    assert torch.isnan((sure * sure.log10()).sum())


def test_entropy_pushes_away_from_the_middle() -> None:
    weights = torch.tensor([0.4, 0.6], requires_grad=True)
    (gradient,) = torch.autograd.grad(mean_entropy({"a": weights}, {"a": "module"}), weights)
    assert gradient[0] > 0 > gradient[1]


RAW = (0.5, 0.2, 0.9, 0.4)
PATHS = ((0, 1, 2), (0, 3))


@pytest.mark.parametrize(
    ("form", "expected", "slope"),
    [
        # Of each path only leaf - root is left: (0.9 - 0.5) + (0.4 - 0.5); the root is on both.
        ("telescoping", 0.3, (-2.0, 0.0, 1.0, 1.0)),
        # Only the step from 0.2 up to 0.9 counts.
        ("hinge", 0.7, (0.0, -1.0, 1.0, 0.0)),
    ],
)
def test_order_by_hand(form: OrderForm, expected: float, slope: tuple[float, ...]) -> None:
    raw = torch.tensor(RAW, requires_grad=True)
    loss = order_loss(raw, PATHS, form)
    assert float(loss.detach()) == pytest.approx(expected)
    (gradient,) = torch.autograd.grad(loss, raw)
    assert gradient.tolist() == pytest.approx(list(slope))


def test_the_telescoping_form_does_not_see_the_middle_of_a_path() -> None:
    other = torch.tensor([0.5, 7.0, 0.9, 0.4])
    assert float(order_loss(other, PATHS, "telescoping")) == pytest.approx(0.3)
    assert float(order_loss(other, PATHS, "hinge")) == pytest.approx(6.5)


def test_a_falling_path_costs_nothing_under_the_hinge() -> None:
    assert float(order_loss(torch.tensor([3.0, 2.0, 1.0]), ((0, 1, 2),), "hinge")) == 0.0


@pytest.mark.parametrize(
    ("values", "expected"),
    [((0.25,) * 4, 1.0), ((1.0, 0.0), 0.0), ((1.0,), 0.0), ((0.5, 0.5, 0.0, 0.0), 0.5)],
)
def test_normalised_entropy(values: tuple[float, ...], expected: float) -> None:
    assert normalised_entropy(values) == pytest.approx(expected)

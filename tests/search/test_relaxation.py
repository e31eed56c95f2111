"""Properties that every relaxation has, and those that make each what it is."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models import Choice
from search.relaxation import Phase, ProximalOneHot, Relaxation, Softmax, relaxations

RELAXATIONS = sorted(relaxations())
VECTORS = st.lists(st.floats(-3, 3, width=32), min_size=2, max_size=6)


def choice_of(values: list[float]) -> Choice:
    choice = Choice("c", "operation", tuple(f"op{index}" for index in range(len(values))))
    choice.raw.data = torch.tensor(values)
    return choice


def by_name(name: str) -> Relaxation:
    return relaxations()[name]


@pytest.mark.parametrize("name", RELAXATIONS)
@settings(deadline=None)
@given(values=VECTORS)
def test_probabilities_are_a_distribution_and_projecting_puts_the_vector_where_it_may_be(
    name: str, values: list[float]
) -> None:
    relaxation, choice = by_name(name), choice_of(values)
    relaxation.project(choice.raw)
    # Projecting changes no order, but may end in a tie at the edge of the box.
    order = torch.tensor(values).argsort()
    assert (choice.raw.detach()[order].diff() >= 0).all()
    probabilities = relaxation.probabilities(choice.raw)
    assert float(probabilities.min()) >= 0
    assert float(probabilities.sum()) == pytest.approx(1.0, abs=1e-5)
    # The most probable candidate is the one with the largest raw value (up to ties).
    raw = choice.raw.detach()
    assert float(raw[int(probabilities.argmax())]) == pytest.approx(float(raw.max()), abs=1e-5)
    assert not probabilities.requires_grad


@pytest.mark.parametrize("name", RELAXATIONS)
@pytest.mark.parametrize("phase", ["weights", "architecture"])
@settings(deadline=None)
@given(values=VECTORS, seed=st.integers(0, 1000), explore=st.floats(0, 1))
def test_selection_weighs_only_what_runs_and_sums_to_one(
    name: str, phase: Phase, values: list[float], seed: int, explore: float
) -> None:
    relaxation, choice = by_name(name), choice_of(values)
    relaxation.project(choice.raw)
    selection = relaxation.select(choice, phase, np.random.default_rng(seed), explore)
    assert float(selection.weights.detach().sum()) == pytest.approx(1.0, abs=1e-5)
    assert float(selection.weights.detach().min()) >= 0
    resting = set(range(len(values))) - set(selection.active)
    assert all(float(selection.weights[index].detach()) == 0 for index in resting)
    assert selection.weights.requires_grad == (phase == "architecture")
    choice.decide(selection)


@pytest.mark.parametrize("name", RELAXATIONS)
def test_start_is_nearly_uniform_without_ties_and_depends_on_the_seed_alone(name: str) -> None:
    relaxation = by_name(name)
    starts = []
    for seed in (0, 0, 1):
        choice = choice_of([9.0] * 5)
        relaxation.initialise(choice.raw, np.random.default_rng(seed))
        starts.append(choice.raw.detach().clone())
        assert relaxation.probabilities(choice.raw).sub(0.2).abs().max() < 0.01
        assert len(set(choice.raw.tolist())) == 5
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])


def picks(explore: float, phase: Phase, draws: int = 2000) -> NDArray[np.float64]:
    choice = choice_of([0.1, 0.9, 0.4, 0.2])
    rng = np.random.default_rng(0)
    found = [ProximalOneHot().select(choice, phase, rng, explore).active[0] for _ in range(draws)]
    return np.asarray(np.bincount(found, minlength=4) / draws)


def test_without_exploring_the_argmax_is_trained() -> None:
    assert picks(0.0, "weights", 50).tolist() == [0, 1, 0, 0]


def test_exploring_fully_draws_uniformly() -> None:
    assert np.abs(picks(1.0, "weights") - 0.25).max() < 0.04


def test_exploring_partly_draws_in_proportion() -> None:
    assert np.abs(picks(0.4, "weights") - np.array([0.1, 0.7, 0.1, 0.1])).max() < 0.04


def test_the_architecture_update_never_explores() -> None:
    assert picks(1.0, "architecture", 50).tolist() == [0, 1, 0, 0]


def test_proximal_gradient_goes_straight_through_to_the_raw_vector_less_its_mean() -> None:
    choice = choice_of([0.1, 0.9, 0.4])
    selection = ProximalOneHot().select(choice, "architecture", np.random.default_rng(0), 0.0)
    assert selection.probe
    assert selection.weights.tolist() == pytest.approx([0.0, 1.0, 0.0])
    (gradient,) = torch.autograd.grad((selection.weights * torch.tensor([3.0, 5.0, 7.0])).sum(), choice.raw)
    assert gradient.tolist() == pytest.approx([-2.0, 0.0, 2.0])


def test_what_all_candidates_cost_alike_moves_no_proximal_choice() -> None:
    """Else a price on latency, which every candidate pays, clips the whole vector to zero and the order decides."""
    choice = choice_of([0.3, 0.2])
    for _ in range(100):
        selection = ProximalOneHot().select(choice, "architecture", np.random.default_rng(0), 0.0)
        (gradient,) = torch.autograd.grad((selection.weights * torch.tensor([6.0, 5.0])).sum(), choice.raw)
        choice.raw.data -= 0.01 * gradient
        ProximalOneHot().project(choice.raw)
    assert int(choice.raw.argmax()) == 1
    assert choice.raw[1] > choice.raw[0] + 0.3


def test_proximal_projects_into_the_box() -> None:
    choice = choice_of([-0.5, 0.25, 1.5])
    ProximalOneHot().project(choice.raw)
    assert choice.raw.tolist() == pytest.approx([0.0, 1 / 3, 1.0])


def test_a_common_drift_is_taken_back() -> None:
    """Adam scales each entry by itself and so moves all of them; only what differs may stay."""
    choice = choice_of([0.1, 0.2, 0.3])
    ProximalOneHot().project(choice.raw)
    assert choice.raw.tolist() == pytest.approx([0.4, 0.5, 0.6])


def test_a_vector_clipped_to_nothing_is_uniform() -> None:
    assert ProximalOneHot().probabilities(torch.zeros(4)).tolist() == pytest.approx([0.25] * 4)


def test_softmax_runs_everything_and_never_projects() -> None:
    choice = choice_of([-2.0, 0.0, 3.0])
    selection = Softmax().select(choice, "weights", np.random.default_rng(0), 1.0)
    assert selection.active == (0, 1, 2)
    assert not selection.probe
    assert torch.allclose(selection.weights, torch.softmax(choice.raw, 0))
    before = choice.raw.detach().clone()
    Softmax().project(choice.raw)
    assert torch.equal(choice.raw, before)

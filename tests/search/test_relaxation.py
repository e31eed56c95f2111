"""Properties that every relaxation has, and those that make each what it is."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models import Choice, make_operation
from models.mixed import MixedOperation
from search.relaxation import (
    REST,
    GumbelOneHot,
    Moment,
    Phase,
    ProximalOneHot,
    Relaxation,
    Softmax,
    Sparsestmax,
    relaxations,
)
from search.sparsest import circumradius, ordered

RELAXATIONS = sorted(relaxations())
IN_ORDER = "sparsestmax-ordered"
SPARSEST = [name for name in RELAXATIONS if name.startswith("sparsestmax")]
VECTORS = st.lists(st.floats(-3, 3, width=32), min_size=2, max_size=6)
PHASES: tuple[Phase, ...] = ("weights", "architecture")


def choice_of(values: list[float]) -> Choice:
    choice = Choice("c", "operation", tuple(f"op{index}" for index in range(len(values))))
    choice.raw.data = torch.tensor(values)
    return choice


def by_name(name: str) -> Relaxation:
    return relaxations()[name]


def moment(phase: Phase = "architecture", progress: float = 0.5, explore: float = 0.0, seed: int = 0) -> Moment:
    return Moment(phase, progress, explore, np.random.default_rng(seed))


def test_these_are_all() -> None:
    assert set(relaxations()) == {"softmax", "proximal", "gumbel", *SPARSEST}
    assert len(SPARSEST) == 3
    assert [name for name in RELAXATIONS if by_name(name).probes] == ["proximal"]


@pytest.mark.parametrize("name", RELAXATIONS)
@settings(deadline=None, max_examples=50)
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
    assert not probabilities.requires_grad
    # The most probable candidate is the one with the largest raw value (up to ties): of the pooled ones, for exits.
    raw = ordered(choice.raw.detach()) if name == IN_ORDER else choice.raw.detach()
    assert float(raw[int(probabilities.argmax())]) == pytest.approx(float(raw.max()), abs=1e-5)


@pytest.mark.parametrize("name", RELAXATIONS)
@pytest.mark.parametrize("phase", PHASES)
@settings(deadline=None, max_examples=50)
@given(values=VECTORS, seed=st.integers(0, 1000), explore=st.floats(0, 1), progress=st.floats(0, 1))
def test_selection_weighs_only_what_runs_and_sums_to_one(
    name: str, phase: Phase, values: list[float], seed: int, explore: float, progress: float
) -> None:
    relaxation, choice = by_name(name), choice_of(values)
    relaxation.project(choice.raw)
    selection = relaxation.select(choice, moment(phase, progress, explore, seed))
    assert float(selection.weights.detach().sum()) == pytest.approx(1.0, abs=1e-5)
    assert float(selection.weights.detach().min()) >= 0
    resting = set(range(len(values))) - set(selection.active)
    assert len(selection.active) + len(resting) == len(values)
    assert all(float(selection.weights[index].detach()) == 0 for index in resting)
    assert selection.weights.requires_grad == (phase == "architecture")
    assert selection.probe == (relaxation.probes and phase == "architecture")
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


@pytest.mark.parametrize("name", RELAXATIONS)
def test_the_architecture_phase_alone_moves_the_raw_vector(name: str) -> None:
    choice = choice_of([0.4, 0.6, 0.5])
    relaxation = by_name(name)
    weights = relaxation.select(choice, moment("architecture", 0.1)).weights
    (gradient,) = torch.autograd.grad((weights * torch.tensor([1.0, 3.0, 9.0])).sum(), choice.raw)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().sum() > 0
    assert float(gradient.sum()) == pytest.approx(0.0, abs=1e-4)  # only differences between candidates mean anything
    resting = relaxation.select(choice, moment("weights", 0.1)).weights
    assert resting.grad_fn is None


def frequencies(
    relaxation: Relaxation, explore: float, phase: Phase, draws: int = 2000, values: list[float] | None = None
) -> NDArray[np.float64]:
    choice = choice_of(values or [0.1, 0.9, 0.4, 0.2])
    now = moment(phase, 0.5, explore)  # one generator for all draws
    found = [relaxation.select(choice, now).active[0] for _ in range(draws)]
    return np.asarray(np.bincount(found, minlength=choice.raw.numel()) / draws)


class TestProximal:
    def test_without_exploring_the_argmax_is_trained(self) -> None:
        assert frequencies(ProximalOneHot(), 0.0, "weights", 50).tolist() == [0, 1, 0, 0]

    def test_exploring_fully_draws_uniformly(self) -> None:
        assert np.abs(frequencies(ProximalOneHot(), 1.0, "weights") - 0.25).max() < 0.04

    def test_exploring_partly_draws_in_proportion(self) -> None:
        assert np.abs(frequencies(ProximalOneHot(), 0.4, "weights") - np.array([0.1, 0.7, 0.1, 0.1])).max() < 0.04

    def test_the_architecture_update_never_explores(self) -> None:
        assert frequencies(ProximalOneHot(), 1.0, "architecture", 50).tolist() == [0, 1, 0, 0]

    def test_gradient_goes_straight_through_to_the_raw_vector_less_its_mean(self) -> None:
        choice = choice_of([0.1, 0.9, 0.4])
        selection = ProximalOneHot().select(choice, moment())
        assert selection.probe
        assert selection.weights.tolist() == pytest.approx([0.0, 1.0, 0.0])
        (gradient,) = torch.autograd.grad((selection.weights * torch.tensor([3.0, 5.0, 7.0])).sum(), choice.raw)
        assert gradient.tolist() == pytest.approx([-2.0, 0.0, 2.0])

    def test_what_all_candidates_cost_alike_moves_no_choice(self) -> None:
        """Else a price on latency, which every candidate pays, clips the whole vector to zero: the order decides."""
        choice = choice_of([0.3, 0.2])
        for _ in range(100):
            selection = ProximalOneHot().select(choice, moment())
            (gradient,) = torch.autograd.grad((selection.weights * torch.tensor([6.0, 5.0])).sum(), choice.raw)
            choice.raw.data -= 0.01 * gradient
            ProximalOneHot().project(choice.raw)
        assert int(choice.raw.argmax()) == 1
        assert choice.raw[1] > choice.raw[0] + 0.3

    def test_projects_into_the_box(self) -> None:
        choice = choice_of([-0.5, 0.25, 1.5])
        ProximalOneHot().project(choice.raw)
        assert choice.raw.tolist() == pytest.approx([0.0, 1 / 3, 1.0])

    def test_a_common_drift_is_taken_back(self) -> None:
        """Adam scales each entry by itself and so moves all of them; only what differs may stay."""
        choice = choice_of([0.1, 0.2, 0.3])
        ProximalOneHot().project(choice.raw)
        assert choice.raw.tolist() == pytest.approx([0.4, 0.5, 0.6])

    def test_a_vector_clipped_to_nothing_is_uniform(self) -> None:
        assert ProximalOneHot().probabilities(torch.zeros(4)).tolist() == pytest.approx([0.25] * 4)


def test_softmax_runs_everything_and_never_projects() -> None:
    choice = choice_of([-2.0, 0.0, 3.0])
    selection = Softmax().select(choice, moment("weights", explore=1.0))
    assert selection.active == (0, 1, 2)
    assert not selection.probe
    assert torch.allclose(selection.weights, torch.softmax(choice.raw, 0))
    before = choice.raw.detach().clone()
    Softmax().project(choice.raw)
    assert torch.equal(choice.raw, before)


class TestGumbel:
    VALUES = (0.0, 1.5, -1.0, 0.5)

    @pytest.mark.parametrize("phase", PHASES)
    @pytest.mark.parametrize("temperature", [0.3, 1.0])
    def test_samples_follow_the_softmax_at_any_temperature(self, phase: Phase, temperature: float) -> None:
        found = frequencies(GumbelOneHot(temperature), 0.0, phase, 4000, list(self.VALUES))
        expected = torch.softmax(torch.tensor(self.VALUES), 0).numpy()
        assert np.abs(found - expected).max() < 0.03
        # The comparison can fail: the uniform distribution is far from it.
        assert np.abs(found - 0.25).max() > 0.2

    def test_the_sampled_weight_is_exactly_one(self) -> None:
        choice = choice_of(list(self.VALUES))
        for seed in range(20):
            selection = GumbelOneHot().select(choice, moment(seed=seed))
            (index,) = selection.active
            assert float(selection.weights[index].detach()) == pytest.approx(1.0, abs=1e-6)

    @pytest.mark.parametrize("seed", range(4))
    def test_the_gradient_of_a_layer_comes_through_the_sampled_weight_alone(self, seed: int) -> None:
        names = ("conv3x3", "separable3x3", "conv5x5")
        torch.manual_seed(0)
        layer = MixedOperation(
            Choice("c", "operation", names), {name: make_operation(name, 4, 4) for name in names}
        )  # fmt: skip
        raw = layer.choice.raw
        raw.data = torch.tensor([0.3, -0.2, 0.1])
        selection = GumbelOneHot().select(layer.choice, moment(seed=seed))
        layer.choice.decide(selection)
        x = torch.rand(1, 4, 6, 6)
        layer(x).square().sum().backward()
        # By hand: the noisy softmax' row of the sampled candidate, times what that candidate's weight is worth.
        (index,) = selection.active
        noisy = raw.detach() + torch.from_numpy(np.random.default_rng(seed).gumbel(size=3)).float()
        soft = torch.softmax(noisy, 0)
        row = soft[index] * (torch.eye(3)[index] - soft)
        with torch.no_grad():
            worth = 2 * layer.candidates[names[index]](x).square().sum()
        assert raw.grad is not None
        assert torch.allclose(raw.grad, worth * row, rtol=1e-4, atol=1e-5)
        for name, candidate in layer.candidates.items():
            ran = any(parameter.grad is not None for parameter in candidate.parameters())
            assert ran == (name == names[index])


class TestSparsestmax:
    @pytest.mark.parametrize("name", SPARSEST)
    @pytest.mark.parametrize("count", range(2, 9))
    def test_every_choice_ends_exactly_one_hot_at_its_argmax(self, name: str, count: int) -> None:
        values = np.random.default_rng(count).standard_normal(count).tolist()
        selection = by_name(name).select(choice_of(values), moment(progress=1.0))
        # In order nothing is above the first: at best, others are pooled with it.
        winner = 0 if name == IN_ORDER else int(np.argmax(values))
        assert selection.active == (winner,)
        assert selection.weights.tolist() == torch.eye(count)[winner].tolist()

    def test_own_pace_is_the_share_of_the_circumradius_that_lies_behind(self) -> None:
        for count in (2, 4, 9):
            assert [Sparsestmax().radius(count, t) for t in (0.0, REST, 0.6, 1.0)] == pytest.approx(
                [0.0, 0.0, circumradius(count) / 2, circumradius(count)]
            )

    def test_the_published_radius_is_the_progress_whatever_the_size(self) -> None:
        ssn = by_name("sparsestmax-ssn")
        assert isinstance(ssn, Sparsestmax)
        assert [ssn.radius(count, 0.3) for count in (2, 4, 9)] == [0.3, 0.3, 0.3]

    def test_by_the_published_radius_small_choices_harden_long_before_large_ones(self) -> None:
        def alive(name: str, count: int, progress: float) -> int:
            choice = choice_of([0.001 * n for n in range(count)])
            return len(by_name(name).select(choice, moment(progress=progress)).active)

        late = math.sqrt(0.5) + 0.01  # the circumradius of two candidates lies behind, that of eight does not
        assert (alive("sparsestmax-ssn", 2, late), alive("sparsestmax", 2, late)) == (1, 2)
        assert min(alive("sparsestmax-ssn", 8, late), alive("sparsestmax", 8, late)) > 1

    @pytest.mark.parametrize("name", SPARSEST)
    @settings(deadline=None, max_examples=50)
    @given(values=VECTORS, progress=st.floats(0, 1))
    def test_what_has_weight_runs(self, name: str, values: list[float], progress: float) -> None:
        selection = by_name(name).select(choice_of(values), moment(progress=progress))
        assert list(selection.active) == [n for n, weight in enumerate(selection.weights.tolist()) if weight > 0]

    @settings(deadline=None, max_examples=50)
    @given(values=VECTORS, progress=st.floats(0, 1))
    def test_it_is_as_far_from_uniform_as_the_progress_asks(self, values: list[float], progress: float) -> None:
        weights = Sparsestmax().select(choice_of(values), moment(progress=progress)).weights.detach()
        count = len(values)
        assert float((weights - 1 / count).norm()) >= Sparsestmax().radius(count, progress) - 1e-4

    @settings(deadline=None, max_examples=50)
    @given(values=VECTORS, progress=st.floats(0, 1))
    def test_weights_of_the_ordered_form_never_rise(self, values: list[float], progress: float) -> None:
        relaxation, choice = by_name(IN_ORDER), choice_of(values)
        weights = relaxation.select(choice, moment(progress=progress)).weights.detach()
        assert float(weights.diff().max()) <= 1e-5
        assert float(relaxation.probabilities(choice.raw).diff().max()) <= 1e-6

    def test_the_plain_form_does_rise(self) -> None:
        """The planted fault of the test above."""
        weights = Sparsestmax().select(choice_of([0.0, 0.3]), moment(progress=0.2)).weights.detach()
        assert float(weights.diff().max()) > 0.1

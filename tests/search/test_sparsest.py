"""Sparsestmax against its published vectors, two other ways to compute it, and a grid; the ordered forms."""

import functools
import itertools
import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from search.sparsest import SparsestError, Variant, circumradius, order_hinge, ordered, sparsemax, sparsestmax

VARIANTS: tuple[Variant, ...] = ("definition", "ssn")
VALUES = st.floats(-2, 2, width=32)
VECTORS = st.lists(VALUES, min_size=1, max_size=9)
# The vectors that a sphere treats specially: many equal entries.
COARSE = st.lists(st.integers(-3, 3).map(lambda value: value / 4), min_size=1, max_size=7)
SHARES = st.floats(0, 1)
DTYPES = st.sampled_from([torch.float32, torch.float64])


def vector(values: Sequence[float], grad: bool = False) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def from_centre(p: Tensor) -> float:
    return float((p - 1 / len(p)).norm())


def recursion(z: Tensor, radius: float, variant: Variant) -> tuple[Tensor, Tensor]:
    """Point and Jacobian by the recursion as SSN writes it: project, push, multiply, again. Own code, no autograd."""
    count = len(z)

    def project(q: Tensor) -> tuple[Tensor, Tensor]:
        ranked = q.sort(descending=True).values
        k = max(j for j in range(1, count + 1) if 1 + j * ranked[j - 1] > ranked[:j].sum())
        p = (q - (ranked[:k].sum() - 1) / k).clamp_min(0)
        s = (p > 0).to(q.dtype)
        return p, torch.diag(s) - torch.outer(s, s) / s.sum()

    p, jacobian = project(z)
    centre = torch.full_like(z, 1 / count) if variant == "definition" else (p > 0) / (p > 0).sum()
    while float(p.max()) < 1 - 1e-12 and float((p - centre).norm()) < radius - 1e-12:
        v = p - centre
        q = centre + radius * v / v.norm()
        jacobian = radius / v.norm() * (torch.eye(count).to(z) - torch.outer(v, v) / v.dot(v)) @ jacobian
        if float(q.min()) >= 0:
            return q, jacobian
        p, step = project(q)
        jacobian = step @ jacobian
        inner = (p > 0) / (p > 0).sum()
        radius = math.sqrt(max(radius**2 - float((inner - centre).square().sum()), 0))
        centre = inner
    return p, jacobian


def nearest_by_temperature(z: Tensor, radius: float) -> Tensor:
    """The minimiser by duality: the Lagrangian of the distance constraint is minimised by sparsemax(z / t), t <= 1.

    The distance from the centre grows as t falls, so bisection finds the t that meets the constraint.
    """
    low, high = 0.0, 1.0
    if from_centre(sparsemax(z)) >= radius:
        return sparsemax(z)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if from_centre(sparsemax(z / middle)) >= radius else (low, middle)
    return sparsemax(z / high)


def jacobian_of(z: Tensor, radius: float, variant: Variant) -> Tensor:
    z = z.detach().requires_grad_()
    p = sparsestmax(z, radius, variant)
    return torch.stack([torch.autograd.grad(entry, z, retain_graph=True)[0] for entry in p])


def margin(values: Sequence[float]) -> float:
    """Smallest gap between entries."""
    ranked = sorted(values)
    return min((b - a for a, b in itertools.pairwise(ranked)), default=1.0)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("radius", "expected"),
    [
        (0.0, (0.3375, 0.2875, 0.2375, 0.1375)),
        (0.1, (0.3375, 0.2875, 0.2375, 0.1375)),
        (0.3, (0.4275, 0.3261, 0.2246, 0.0218)),
        (0.5, (0.6220, 0.3333, 0.0447, 0.0)),
        (0.7, (0.8464, 0.1536, 0.0, 0.0)),
        (0.86, (0.9948, 0.0052, 0.0, 0.0)),
        (0.87, (1.0, 0.0, 0.0, 0.0)),
        (5.0, (1.0, 0.0, 0.0, 0.0)),
    ],
)
def test_known_vectors_with_dense_sparsemax(variant: Variant, radius: float, expected: tuple[float, ...]) -> None:
    result = sparsestmax(vector((0.30, 0.25, 0.20, 0.10)), radius, variant)
    assert result.tolist() == pytest.approx(expected, abs=5.1e-5)


@pytest.mark.parametrize(
    ("variant", "radius", "expected", "within"),
    [
        ("definition", 0.6, (0.7345, 0.2655, 0.0, 0.0), 5.1e-5),
        ("ssn", 0.6, (0.9243, 0.0757, 0.0, 0.0), 5.1e-5),
        ("definition", 0.75, (0.895, 0.105, 0.0, 0.0), 5.1e-4),
        ("ssn", 0.75, (1.0, 0.0, 0.0, 0.0), 1e-9),
    ],
)
def test_known_vectors_where_the_variants_differ(
    variant: Variant, radius: float, expected: tuple[float, ...], within: float
) -> None:
    assert sparsestmax(vector((0.9, 0.6, -0.5, -0.9)), radius, variant).tolist() == pytest.approx(expected, abs=within)


def test_circumradius() -> None:
    known = {1: 0.0, 2: 0.707, 3: 0.816, 4: 0.866, 5: 0.894, 9: 0.943, 55: 0.991}
    assert {count: circumradius(count) for count in known} == pytest.approx(known, abs=5.1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
@settings(deadline=None)
@given(values=VECTORS | COARSE, share=SHARES, dtype=DTYPES)
def test_a_distribution_in_the_order_of_z_at_the_asked_distance(
    variant: Variant, values: list[float], share: float, dtype: torch.dtype
) -> None:
    z = torch.tensor(values, dtype=dtype)
    radius = share * circumradius(len(values))
    p = sparsestmax(z, radius, variant)
    assert p.dtype == dtype
    assert float(p.sum()) == pytest.approx(1, abs=1e-5)
    assert float(p.min()) >= 0
    assert (p[z.argsort(stable=True, descending=True)].diff() <= 1e-6).all()
    asked = max(radius, from_centre(sparsemax(z)))
    if variant == "definition":
        assert from_centre(p) == pytest.approx(asked, abs=1e-5)
    else:
        assert from_centre(p) >= asked - 1e-5


@pytest.mark.parametrize("variant", VARIANTS)
@settings(deadline=None)
@given(values=VECTORS | COARSE, beyond=st.sampled_from([0.0, 0.1, math.inf]), dtype=DTYPES)
def test_one_hot_at_the_argmax_from_the_circumradius_on_and_without_gradient(
    variant: Variant, values: list[float], beyond: float, dtype: torch.dtype
) -> None:
    z = torch.tensor(values, dtype=dtype, requires_grad=True)
    p = sparsestmax(z, circumradius(len(values)) + beyond, variant)
    assert p.tolist() == [float(index == values.index(max(values))) for index in range(len(values))]
    (grad,) = torch.autograd.grad((p * torch.arange(1.0, len(values) + 1)).sum(), z)
    assert grad.tolist() == [0.0] * len(values)


@settings(deadline=None)
@given(values=VECTORS | COARSE)
def test_radius_zero_is_sparsemax_which_leaves_the_simplex_alone(values: list[float]) -> None:
    p = sparsemax(vector(values))
    assert torch.equal(sparsestmax(vector(values), 0.0), p)
    torch.testing.assert_close(sparsemax(p), p, rtol=0, atol=1e-12)
    # Optimal: what was taken off is the same for all that stay, and no less than what those at zero had.
    taken = vector(values) - p
    assert float(taken[p > 0].max() - taken[p > 0].min()) < 1e-9
    assert float(taken.max() - taken[p > 0].max()) < 1e-9


@pytest.mark.parametrize("variant", VARIANTS)
@settings(deadline=None)
@given(values=VECTORS, share=st.floats(0, 0.999))
def test_point_and_jacobian_are_those_of_the_recursion(variant: Variant, values: list[float], share: float) -> None:
    assume(margin(values) > 1e-3)
    z, radius = vector(values), share * circumradius(len(values))
    point, jacobian = recursion(z, radius, variant)
    torch.testing.assert_close(sparsestmax(z, radius, variant), point, rtol=0, atol=1e-5)
    # Next to a change of support rounding decides on which side of the kink the Jacobian is taken.
    assume(float(point[point > 0].min()) > 1e-4)
    assume(abs(from_centre(sparsemax(z)) - radius) > 1e-6)
    torch.testing.assert_close(jacobian_of(z, radius, variant), jacobian, rtol=1e-5, atol=1e-5)


@settings(deadline=None)
@given(values=VECTORS, share=st.floats(0, 0.999))
def test_the_definition_is_the_nearest_point_for_any_size(values: list[float], share: float) -> None:
    assume(margin(values) > 1e-3)
    z, radius = vector(values), share * circumradius(len(values))
    torch.testing.assert_close(sparsestmax(z, radius), nearest_by_temperature(z, radius), rtol=0, atol=1e-6)


@functools.cache
def grid(steps: int = 200) -> Tensor:
    first, second = torch.triu_indices(steps + 1, steps + 1)
    return torch.stack((first, second - first, steps - second), 1).double() / steps


def excess_over_grid(z: Tensor, radius: float, variant: Variant) -> float:
    """How much further from z the result is than the best point of a fine grid, in squared distance."""
    allowed = grid()[(grid() - 1 / 3).norm(dim=1) >= radius - 1e-12]
    p = sparsestmax(z, radius, variant)
    assert from_centre(p) >= radius - 1e-7
    return float((p - z).square().sum() - (allowed - z).square().sum(1).min())


@settings(deadline=None)
@given(values=st.lists(VALUES, min_size=3, max_size=3) | st.just([0.5, 0.5, 0.5]), share=SHARES)
def test_no_point_of_a_grid_is_nearer_than_the_definition(values: list[float], share: float) -> None:
    assert excess_over_grid(vector(values), share * circumradius(3), "definition") < 1e-6


def test_the_grid_would_tell_the_published_code_from_the_definition() -> None:
    z = vector((0.9, 0.6, -0.5))
    assert excess_over_grid(z, 0.7, "ssn") > 0.01
    assert excess_over_grid(z, 0.7, "definition") < 1e-6
    assert not torch.allclose(sparsestmax(z, 0.7, "ssn"), nearest_by_temperature(z, 0.7), atol=1e-2)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("radius", [0.0, 0.3, 0.5, 0.6, 0.7])
@pytest.mark.parametrize("values", [(0.30, 0.25, 0.20, 0.10), (0.9, 0.6, -0.5, -0.9), (0.2, 0.5, 0.45, 0.1, 0.3)])
def test_gradient_by_finite_differences(variant: Variant, radius: float, values: tuple[float, ...]) -> None:
    def weights(z: Tensor) -> Tensor:
        return sparsestmax(z, radius, variant)

    assert torch.autograd.gradcheck(weights, (vector(values, grad=True),))


def test_gradient_is_zero_outside_the_support_and_sums_to_zero_within() -> None:
    jacobian = jacobian_of(vector((0.30, 0.25, 0.20, 0.10)), 0.5, "definition")
    assert float(jacobian.abs().max()) > 0.5
    assert torch.equal(jacobian[3], torch.zeros(4, dtype=torch.float64))
    assert torch.equal(jacobian[:, 3], torch.zeros(4, dtype=torch.float64))
    assert float(jacobian.sum(1).abs().max()) < 1e-12


@pytest.mark.parametrize("variant", VARIANTS)
def test_at_a_vertex_before_the_circumradius_the_gradient_is_zero(variant: Variant) -> None:
    z = vector((3.0, 0.5, 0.2))
    assert sparsestmax(z, 0.3, variant).tolist() == [1.0, 0.0, 0.0]
    assert torch.equal(jacobian_of(z, 0.3, variant), torch.zeros(3, 3, dtype=torch.float64))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("noise", [0.0, 1e-30, 1e-8, 1e-6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_entries_are_finite_and_pushed_to_the_first(
    variant: Variant, count: int, noise: float, dtype: torch.dtype
) -> None:
    z = (0.1 - noise * torch.arange(count, dtype=dtype)).requires_grad_()
    radius = 0.8 * circumradius(count)
    p = sparsestmax(z, radius, variant)
    assert from_centre(p.detach()) == pytest.approx(radius, abs=1e-5)
    assert int(p.argmax()) == 0
    (grad,) = torch.autograd.grad(p[0], z)
    assert torch.isfinite(grad).all()
    # A vector that starts equal is not stuck: raising the first entry still raises the first weight.
    assert noise > 1e-30 or count == 1 or float(grad[0]) > 0
    assert torch.equal(p, sparsestmax(z, radius, variant))


def test_a_pushed_pair_has_no_gradient() -> None:
    assert sparsestmax(vector((0.6, 0.5)), 0.4)[0] < 0.8
    assert float(jacobian_of(vector((0.6, 0.5)), 0.4, "definition").abs().max()) < 1e-12
    assert float(jacobian_of(vector((0.6, 0.5)), 0.0, "definition").abs().max()) == pytest.approx(0.5)


def test_equal_entries_at_the_top_share_a_face_before_one_of_them_wins() -> None:
    z = vector((0.2, 0.5, 0.5))
    assert sparsestmax(z, math.sqrt(1 / 2 - 1 / 3) - 1e-3).tolist() == pytest.approx((0.0, 0.5, 0.5), abs=2e-3)
    assert sparsestmax(z, 0.7).tolist() == pytest.approx((0.0, 0.9, 0.1), abs=0.1)
    assert sparsestmax(z, circumradius(3)).tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("scale", [1e-20, 1e20, 3e38])
def test_extreme_entries_stay_on_the_simplex(scale: float) -> None:
    z = torch.tensor([-1.0, 0.5, 1.0]).mul(scale).requires_grad_()
    p = sparsestmax(z, 0.5)
    (grad,) = torch.autograd.grad(p[2], z)
    assert float(p.detach().sum()) == pytest.approx(1, abs=1e-6)
    assert int(p.argmax()) == 2
    assert torch.isfinite(grad).all()


def nearest_ordered(z: Tensor) -> Tensor:
    """The quadratic programme by enumeration: every way to cut z into runs, each at its mean, if that is ordered."""
    best: tuple[float, Tensor] | None = None
    for cuts in itertools.product((False, True), repeat=len(z) - 1):
        edges = [0, *(index + 1 for index, cut in enumerate(cuts) if cut), len(z)]
        runs = [z[start:stop] for start, stop in itertools.pairwise(edges)]
        candidate = torch.cat([run.mean().expand(len(run)) for run in runs])
        distance = float((candidate - z).square().sum())
        if bool((candidate.diff() <= 1e-12).all()) and (best is None or distance < best[0]):
            best = (distance, candidate)
    assert best is not None
    return best[1]


@settings(deadline=None)
@given(values=st.lists(VALUES, min_size=1, max_size=6) | COARSE)
def test_ordered_is_the_nearest_non_increasing_vector(values: list[float]) -> None:
    z = vector(values)
    result = ordered(z)
    assert (result.diff() <= 0).all()
    assert float(result.mean()) == pytest.approx(float(z.mean()), abs=1e-12)
    torch.testing.assert_close(result, nearest_ordered(z), rtol=0, atol=1e-6)
    descending = z.sort(descending=True).values
    assert torch.equal(ordered(descending), descending)


def test_the_reference_would_tell_sorting_from_projecting() -> None:
    z = vector((0.1, 0.4, 0.3))
    assert float((z.sort(descending=True).values - nearest_ordered(z)).abs().max()) > 0.1
    assert ordered(z).tolist() == pytest.approx([0.8 / 3] * 3)


def test_ordered_shares_the_gradient_within_a_pool() -> None:
    z = vector((0.9, 0.1, 0.4, 0.3, -0.2), grad=True)
    assert torch.autograd.gradcheck(ordered, (z,))
    (grad,) = torch.autograd.grad(ordered(z)[1], z)
    assert grad.tolist() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 0])


@pytest.mark.parametrize("variant", VARIANTS)
@settings(deadline=None)
@given(values=VECTORS | COARSE, share=SHARES, dtype=DTYPES)
def test_sparsestmax_of_an_ordered_vector_is_ordered(
    variant: Variant, values: list[float], share: float, dtype: torch.dtype
) -> None:
    p = sparsestmax(ordered(torch.tensor(values, dtype=dtype)), share * circumradius(len(values)), variant)
    assert (p.diff() <= 0).all()


def test_order_hinge_sees_every_step() -> None:
    z = vector((0.5, 0.1, 0.4, 0.45, 0.2), grad=True)
    (grad,) = torch.autograd.grad(order_hinge(z), z)
    assert float(order_hinge(z.detach())) == pytest.approx(0.35)
    assert grad.tolist() == [0, -1, 0, 1, 0]
    # A comparison of the ends alone, as the telescoping sum makes, finds nothing here.
    assert float(z.detach()[-1] - z.detach()[0]) < 0
    assert float(order_hinge(ordered(z.detach()))) == 0
    assert float(order_hinge(vector((0.3,)))) == 0


@pytest.mark.parametrize(
    ("z", "radius", "message"),
    [
        (torch.zeros(2, 3), 0.1, "shape"),
        (torch.zeros(0), 0.1, "at least one entry"),
        (torch.zeros(3, dtype=torch.int64), 0.1, "float type"),
        (torch.tensor([0.1, math.nan]), 0.1, "not finite"),
        (torch.tensor([0.1, math.inf]), 0.1, "not finite"),
        (torch.zeros(3), -0.1, "radius"),
        (torch.zeros(3), math.nan, "radius"),
    ],
)
def test_what_cannot_be_projected_is_refused(z: Tensor, radius: float, message: str) -> None:
    with pytest.raises(SparsestError, match=message):
        sparsestmax(z, radius)


def test_an_unknown_variant_and_an_empty_simplex_are_refused() -> None:
    with pytest.raises(SparsestError, match="definition, ssn"):
        sparsestmax(torch.zeros(3), 0.1, "paper")  # type: ignore[arg-type]
    with pytest.raises(SparsestError, match="count of 1 or more"):
        circumradius(0)

"""Sparsestmax: weights that are pushed to one-hot by a growing radius, and the ordered form for nested exits.

`sparsestmax(z; r)` is the point of the simplex nearest to z among those at least r away from the simplex centre
(SSN, Shao et al., CVPR 2019, section 3). r = 0 is sparsemax; r = `circumradius(K)` leaves the vertices alone. A search
raises r over time, so its weights end one-hot without a rounding step. Trilevel NAS (Wu et al., 2021) uses the ordered
form, where mass sits on a prefix of the entries.

How it is computed. Sparsemax and the push both act inside a face of the simplex, and pushing, restricting to a smaller
face and pushing again ends where pushing z once in the smaller face would: at `centre + r_face * v / ||v||`, with v the
centred entries of z in that face. So the rounds below only decide the face, without a graph, and autograd sees one
push. With the face, its centre and radius constant, that is the product of Jacobians that the recursion would give.

Everything here is for one choice: vectors of a few entries, any float type, any device. The size of the face is read by
the host.
"""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from search.errors import SearchError

Variant = Literal["definition", "ssn"]
"""`definition`: the nearest point. `ssn`: what the code published with SSN computes; it hardens earlier."""


class SparsestError(SearchError):
    """A vector, radius or variant that sparsestmax and its relatives cannot take."""


def circumradius(count: int) -> float:
    """Distance from the centre of the simplex of `count` entries to its vertices: sqrt((K-1)/K)."""
    if count < 1:
        raise SparsestError(f"A simplex of {count} entries does not exist; give a count of 1 or more.")
    return math.sqrt((count - 1) / count)


def sparsemax(z: Tensor) -> Tensor:
    """Euclidean projection onto the simplex (Martins and Astudillo, ICML 2016).

    Args:
        z: (K,), finite floats of any range.

    Returns:
        (K,), non-negative, summing to 1, with exact zeros. Its gradient is centred within the support and zero outside.

    Raises:
        SparsestError: z is no such vector.
    """
    _check(z)
    return _projected(z, _support(z.detach()))


def sparsestmax(z: Tensor, radius: float, variant: Variant = "definition") -> Tensor:
    """Nearest point of the simplex that is at least `radius` from its centre (SSN, section 3).

    Equal entries have no direction to be pushed in, and every point of the sphere is then equally near. Entries within
    one machine epsilon count as equal; they are pushed towards the largest of them (the first, if exactly equal), so
    the result has the asked distance and its order does not contradict that of z. The gradient there is sparsemax's
    within the face, finite and able to tell the entries apart. Elsewhere the push scales gradients by r / ||v||, which
    is large, though bounded, for nearly equal entries: start from noise, or clip. Two entries that are pushed have no
    gradient at all, as the radius alone sets them: a choice between two is frozen from its first push on.

    Args:
        z: (K,), finite floats of any range.
        radius: 0 or more, in the simplex's own units; above `circumradius(K)` it counts as that.
        variant: `definition`, or `ssn`: the published code measures the full radius from the centre of sparsemax's
            face. The two agree while sparsemax has no zeros; after that `ssn` pushes further than asked.

    Returns:
        (K,), non-negative, summing to 1. One-hot at the argmax from the circumradius on. At a vertex the gradient is 0.

    Raises:
        SparsestError: z is no such vector, radius is negative or not a number, or variant is unknown.
    """
    _check(z)
    if not radius >= 0:
        raise SparsestError(f"The radius of sparsestmax is {radius}; give 0 (sparsemax) to the circumradius (one-hot).")
    if variant not in get_args(Variant):
        raise SparsestError(f"Sparsestmax has no variant {variant!r}; choose one of {', '.join(get_args(Variant))}.")
    values = z.detach()
    if radius >= circumradius(len(z)) - torch.finfo(z.dtype).eps:
        return _projected(z, _corner(values, torch.ones_like(values, dtype=torch.bool)))

    support = _support(values)
    start = len(z) if variant == "definition" else _size(support)
    distance = float(_centred(values, support).norm())
    if _size(support) == 1 or distance >= _face_radius(radius, start, support):
        return _projected(z, support)
    while True:
        point = _pushed(values, support, _face_radius(radius, start, support))
        if float(point.min()) >= 0:
            return _pushed(z, support, _face_radius(radius, start, support))
        # A negative entry never stays; saying so as well makes every round lose one, whatever the rounding.
        support = support & _support(point.masked_fill(~support, -math.inf)) & (point > 0)


def ordered(z: Tensor) -> Tensor:
    """Nearest non-increasing vector, by pooling adjacent violators; each pool gets its mean, and shares its gradient.

    The hard ordered form for nested exits: sparsestmax of the result is non-increasing too, so mass sits on a prefix.
    Trilevel NAS speaks of sorting and gives no formula; this is our reading of it.

    Args:
        z: (K,), finite floats of any range.

    Returns:
        (K,), non-increasing, with the mean of z; z itself where it is ordered already.

    Raises:
        SparsestError: z is no such vector.
    """
    _check(z)
    pools: list[tuple[int, int, Tensor]] = []
    for index in range(len(z)):
        start, mean = index, z[index]
        while pools and bool(pools[-1][2] < mean):
            start = pools.pop()[0]
            mean = z[start : index + 1].mean()
        pools.append((start, index + 1, mean))
    return torch.cat([mean.expand(stop - start) for start, stop, mean in pools])


def order_hinge(z: Tensor) -> Tensor:
    """The soft ordered form: sum over j of max(0, z[j+1] - z[j]), a scalar; 0 exactly where z is non-increasing.

    Trilevel's own loss telescopes to a comparison of the two ends; this one looks at every step.

    Raises:
        SparsestError: z is no vector of finite floats.
    """
    _check(z)
    return torch.relu(z[1:] - z[:-1]).sum()


def _check(z: Tensor) -> None:
    if z.dim() != 1 or len(z) < 1:
        raise SparsestError(f"Got a tensor of shape {tuple(z.shape)}; give one vector (K,) with at least one entry.")
    if not z.is_floating_point():
        raise SparsestError(f"Got a vector of {z.dtype}; convert it to a float type.")
    if not bool(torch.isfinite(z).all()):
        raise SparsestError(f"Got entries that are not finite: {z.detach().tolist()}; look for a step that diverged.")


def _size(support: Tensor) -> int:
    return int(support.sum())


def _support(values: Tensor) -> Tensor:
    """(K,) bool: where sparsemax of the values is positive. Equal values are all in or all out."""
    shifted = values - values.max()
    ranked = shifted.sort(descending=True).values
    counts = torch.arange(1, len(values) + 1, dtype=values.dtype, device=values.device)
    kept = int((1 + counts * ranked > ranked.cumsum(0)).sum())
    return shifted >= ranked[kept - 1]


def _corner(values: Tensor, support: Tensor) -> Tensor:
    """(K,) bool: the first of the largest values in the support, alone."""
    index = values.masked_fill(~support, -math.inf).argmax()
    return torch.arange(len(values), device=values.device) == index


def _centred(z: Tensor, support: Tensor) -> Tensor:
    """(K,): z minus its mean over the support; 0 outside it.

    Shifted by the maximum first: differences of near values are exact, so equal entries give exact zeros.
    """
    shifted = torch.where(support, z - z.detach().max(), 0)
    return torch.where(support, shifted - shifted.sum() / support.sum(), 0)


def _projected(z: Tensor, support: Tensor) -> Tensor:
    """Projection onto the face of the support, known to lie inside it but for rounding; for one entry exactly 1."""
    return torch.where(support, 1 / _size(support) + _centred(z, support), 0).clamp_min(0)


def _face_radius(radius: float, start: int, support: Tensor) -> float:
    """Radius, around the centre of the support's face, of the sphere given around that of a face of `start` entries.

    By Pythagoras: the two centres are sqrt(1/m - 1/start) apart, at right angles to the smaller face.
    """
    return math.sqrt(max(radius**2 - (1 / _size(support) - 1 / start), 0.0))


def _pushed(z: Tensor, support: Tensor, radius: float) -> Tensor:
    """The point of the support's plane at `radius` from its centre in the direction of z; may have negative entries."""
    count = _size(support)
    if count == 1:
        return _projected(z, support)
    values, centred = z.detach(), _centred(z, support)
    if float(values[support].max() - values[support].min()) > torch.finfo(z.dtype).eps:
        return torch.where(support, 1 / count + radius * centred / centred.norm(), 0)
    towards = (_corner(values, support).to(z.dtype) - 1 / count) / circumradius(count)
    # Adds zero, and with it sparsemax's gradient: the push itself has none where it has no direction.
    return torch.where(support, 1 / count + radius * towards + (centred - centred.detach()), 0)

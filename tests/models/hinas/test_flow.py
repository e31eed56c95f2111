import itertools
import math

import pytest
import torch

from models.hinas.config import HiNASConfig
from models.hinas.flow import Step, flow, two_steps
from models.mixed import Weight

LAYERS = 4


def random_routes(seed: int) -> list[dict[Step, float]]:
    """Routes out of layers 0..3 among three levels, each level's summing to one."""
    generator = torch.Generator().manual_seed(seed)
    tables: list[dict[Step, float]] = []
    for _ in range(LAYERS):
        table: dict[Step, float] = {}
        for level in range(3):
            steps = [(level, after) for after in (level - 1, level, level + 1) if 0 <= after < 3]
            weights = torch.softmax(torch.randn(len(steps), generator=generator, dtype=torch.float64), 0)
            table |= dict(zip(steps, weights.tolist(), strict=True))
        tables.append(table)
    return tables


def probability(path: tuple[int, ...], routes: list[dict[Step, float]]) -> float:
    return math.prod(table[step] for table, step in zip(routes, itertools.pairwise(path), strict=False))


@pytest.mark.parametrize("seed", range(4))
def test_occupancy_and_shares_are_those_of_all_paths_enumerated(seed: int) -> None:
    routes = random_routes(seed)
    occupancy: dict[int, Weight] = {0: 1.0}
    before: dict[Step, Weight] = {}
    for layer in range(1, LAYERS + 1):
        tensors = {step: torch.tensor(weight) for step, weight in routes[layer - 1].items()}
        occupancy, shares = flow(occupancy, tensors)
        paths = HiNASConfig(layers=LAYERS).paths(layer)
        standing = {h: sum(probability(p, routes) for p in paths if p[-1] == h) for h in {p[-1] for p in paths}}
        assert occupancy.keys() == standing.keys()
        for level, expected in standing.items():
            assert float(occupancy[level]) == pytest.approx(expected, abs=1e-6)
        for a, b in shares:
            came = sum(probability(p, routes) for p in paths if p[-2:] == (a, b))
            assert float(shares[a, b]) == pytest.approx(came / standing[b], abs=1e-6)
        if before:
            over_two = two_steps(before, shares)
            assert over_two.keys() == {(p[-3], p[-1]) for p in paths}
            for a, c in over_two:
                came = sum(probability(p, routes) for p in paths if (p[-3], p[-1]) == (a, c))
                assert float(over_two[a, c]) == pytest.approx(came / standing[c], abs=1e-6)
        before = shares


def test_weighing_by_the_routes_alone_would_not_average() -> None:
    """The released code's weights: what comes into a level sums to anything but one."""
    (first, second, *_) = random_routes(0)
    _, shares = flow(flow({0: 1.0}, {s: torch.tensor(w) for s, w in first.items()})[0], second)
    assert float(shares[0, 1] + shares[1, 1]) == pytest.approx(1.0)
    assert abs(second[0, 1] + second[1, 1] - 1.0) > 0.1


def test_nothing_comes_from_where_nobody_stands() -> None:
    one, none = torch.tensor(1.0), torch.tensor(0.0)
    occupancy, shares = flow({0: one}, {(0, 0): one, (1, 1): one, (1, 2): one})
    assert occupancy.keys() == {0}
    assert shares.keys() == {(0, 0)}
    # A weight that has underflowed is active still; it must neither count nor become NaN.
    occupancy, shares = flow({0: one, 1: none, 2: none}, {(0, 0): one, (1, 0): one, (1, 1): one, (2, 1): one})
    assert (float(shares[0, 0]), float(shares[1, 0])) == (1.0, 0.0)
    assert (float(shares[1, 1]), float(shares[2, 1]), float(occupancy[1])) == (0.0, 0.0, 0.0)


def test_plain_numbers_stay_plain() -> None:
    """Else a derived network would multiply and divide by one."""
    occupancy, shares = flow({0: 1.0}, {(0, 1): 1.0})
    assert (occupancy, shares) == ({1: 1.0}, {(0, 1): 1.0})
    assert two_steps({(0, 0): 1.0}, shares) == {(0, 1): 1.0}
    assert all(type(weight) is float for weight in (*occupancy.values(), *shares.values()))

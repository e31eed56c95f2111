"""Planted row costs come back out of the times of chains."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from models import OpKey, get_space
from search.latency.chains import LONG, Chain, plan_chains, solve_rows

Rows = Callable[[int], Callable[[OpKey], float]]

CONFIGS: tuple[dict[str, Any], ...] = (
    {"channels": (16, 24), "blocks": 1},
    {"channels": (8, 16, 32), "blocks": 2, "widths": (0.25, 0.5, 1.0)},
    {"channels": (16,), "blocks": 1, "widths": (1.0,)},
)


def plan(values: dict[str, Any]) -> list[list[Chain]]:
    space = get_space("unet")
    return plan_chains(space.carriers(space.parse_config(values)))


def chain_times(groups: list[list[Chain]], row: Callable[[OpKey], float]) -> dict[str, float]:
    """`fixed(group) + length * sum(rows)`, as a perfect clock would see it."""
    times: dict[str, float] = {}
    for number, group in enumerate(groups):
        for chain in group:
            assert chain.id not in times
            times[chain.id] = 0.7 + 0.3 * number + chain.length * sum(row(key) for key in chain.carrier.keys)
    return times


@pytest.mark.parametrize("values", CONFIGS)
@pytest.mark.parametrize("seed", [0, 1])
def test_planted_costs_are_recovered(values: dict[str, Any], seed: int, random_rows: Rows) -> None:
    planted = random_rows(seed)

    def row(key: OpKey) -> float:
        return 3.0 + planted(key)  # far from zero, where rows are clipped

    groups = plan(values)
    found = solve_rows(groups, chain_times(groups, row))
    space = get_space("unet")
    config = space.parse_config(values)
    assert set(found) >= {term.key for term in space.cost_terms(config)}
    shared = 0
    for key, ms in found.items():
        if key.in_channels == key.out_channels:
            assert ms == pytest.approx(row(key), rel=1e-6), str(key)
        else:
            shared += abs(ms - row(key)) > 1e-6
    # Into and out of a narrower width only the sum is known, and only the sum is ever used.
    for first, second in itertools.product(found, found):
        if (first.in_channels, first.out_channels, first.divisor) == (
            second.out_channels,
            second.in_channels,
            second.divisor,
        ):
            assert found[first] + found[second] == pytest.approx(row(first) + row(second), rel=1e-6)
    assert (shared > 0) == (len(values.get("widths", (0.5, 1.0))) > 1)


def test_a_wrong_time_is_seen(random_rows: Rows) -> None:
    groups = plan(CONFIGS[2])
    times = chain_times(groups, random_rows(0))
    times[groups[0][-1].id] *= 1.5
    found = solve_rows(groups, times)
    assert any(ms != pytest.approx(random_rows(0)(key), rel=1e-3) for key, ms in found.items())


def test_rows_are_never_negative() -> None:
    groups = plan(CONFIGS[0])
    times = {chain.id: 1.0 if chain.length > 1 else 5.0 for group in groups for chain in group}
    assert min(solve_rows(groups, times).values()) == 0.0


def test_one_chain_a_group_fixes_the_cost_of_stem_and_tail() -> None:
    for group in plan(CONFIGS[0]):
        assert [chain.length for chain in group] == [1] + [LONG] * (len(group) - 1)
        assert len({(chain.carrier.channels, chain.carrier.divisor) for chain in group}) == 1


def test_a_chain_is_a_network_with_seeded_weights() -> None:
    chain = plan(CONFIGS[0])[0][1]
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    module, again = chain.module(), chain.module()
    assert torch.equal(torch.random.get_rng_state(), before)
    x = torch.rand(1, 3, 12, 10)
    assert module(x).shape == x.shape
    assert torch.equal(module(x), again(x))

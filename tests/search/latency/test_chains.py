"""Planted row costs come back out of the times of chains."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from export import export_onnx
from models import OpKey, get_space, spaces
from runtime import Target, open_engine
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
            assert ms == pytest.approx(row(key), rel=1e-4), str(key)
        else:
            shared += abs(ms - row(key)) > 1e-2
    # Into and out of a narrower width only the sum is known, and only the sum is ever used.
    for first, second in itertools.product(found, found):
        if (first.in_channels, first.out_channels, first.divisor) == (
            second.out_channels,
            second.in_channels,
            second.divisor,
        ):
            assert found[first] + found[second] == pytest.approx(row(first) + row(second), rel=1e-4)
    assert (shared > 0) == (len(values.get("widths", (0.5, 1.0))) > 1)


def test_a_wrong_time_is_seen(random_rows: Rows) -> None:
    groups = plan(CONFIGS[2])
    times = chain_times(groups, random_rows(0))
    times[groups[0][-1].id] *= 1.5
    found = solve_rows(groups, times)
    assert any(ms != pytest.approx(random_rows(0)(key), rel=1e-3) for key, ms in found.items())


def test_rows_are_never_negative_and_still_fit_best() -> None:
    """Cutting an unconstrained solution off at zero would leave the other rows where they were."""
    groups = plan(CONFIGS[2])
    times = {chain.id: 1.0 if chain.length > 1 else 5.0 for group in groups for chain in group}
    found = solve_rows(groups, times)
    assert min(found.values()) == pytest.approx(0.0, abs=1e-9)
    assert all(ms >= 0.0 for ms in found.values())
    assert max(found.values()) < 0.5  # a chain of four takes 1 ms


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


EXAMPLES = [(name, number) for name, space in spaces().items() for number in range(len(space.examples))]


def example(name: str, number: int) -> tuple[Any, Any, list[list[Chain]]]:
    space = get_space(name)
    config = space.parse_config(space.examples[number])
    return space, config, plan_chains(space.carriers(config))


@pytest.mark.parametrize(("name", "number"), EXAMPLES)
def test_whole_networks_are_predicted_exactly_from_planted_costs(name: str, number: int, random_rows: Rows) -> None:
    """Single rows may be told apart only in sums; of every network the sum is right."""
    planted = random_rows(number)

    def row(key: OpKey) -> float:
        return 3.0 + planted(key)  # far from zero, where rows are clipped

    space, config, groups = example(name, number)
    found = solve_rows(groups, chain_times(groups, row))
    rng = np.random.default_rng(number)
    sums = set()
    for _ in range(12):
        picks = space.random_picks(config, rng)
        paid = [term.key for term in space.cost_terms(config) if term.holds(picks)]
        expected = sum(map(row, paid))
        assert sum(found[key] for key in paid) == pytest.approx(expected, rel=1e-4)
        sums.add(round(expected, 6))
    assert len(sums) > 1


@pytest.mark.parametrize("name", sorted(spaces()))
def test_a_carrier_that_was_timed_wrongly_spoils_the_sums(name: str, random_rows: Rows) -> None:
    """The planted fault of the test above."""
    space, config, groups = example(name, 0)
    times = chain_times(groups, random_rows(0))
    wrong = {chain: ms * (1.5 if place % 3 == 0 else 1.0) for place, (chain, ms) in enumerate(times.items())}
    spoilt = solve_rows(groups, wrong)
    picks = space.random_picks(config, np.random.default_rng(0))
    paid = [term.key for term in space.cost_terms(config) if term.holds(picks)]
    assert sum(spoilt[key] for key in paid) != pytest.approx(sum(map(random_rows(0), paid)), rel=1e-2)


MULTI_SCALE = [
    (name, chain)
    for name, number in (("clearer", 1), ("manas", 0))
    for group in example(name, number)[2]
    for chain in group
    if chain.carrier.branches > 1
]


@pytest.mark.parametrize(("name", "chain"), MULTI_SCALE, ids=lambda part: part if isinstance(part, str) else part.id)
def test_a_chain_of_several_scales_runs_in_the_engine_as_in_torch(name: str, chain: Chain) -> None:
    del name
    coarsest = 2 ** (chain.carrier.branches - 1)
    x = np.random.default_rng(0).random((1, 3, 2 * coarsest, 3 * coarsest), dtype=np.float32)
    module = chain.module().eval()
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()
    engine = open_engine(export_onnx(module, multiple=coarsest), Target("cpu", "onnxruntime", "fp32", 1))
    assert expected.shape == x.shape
    assert np.abs(engine.run(x) - expected).max() < 1e-4


def test_scales_of_a_chain_are_all_joined_in_its_output() -> None:
    chain = next(chain for _, chain in MULTI_SCALE if chain.carrier.branches > 2)
    module = chain.module().eval()
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        before = module(x)
        for tail in module.get_submodule("tail"):  # type: ignore[attr-defined]
            weight = tail[0].weight
            kept = weight.clone()
            weight.zero_()
            assert not torch.allclose(module(x), before)
            weight.copy_(kept)

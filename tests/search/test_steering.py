"""From the names of a run to what steers its search."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from models import OpKey, Supernet, get_space, num_parameters
from search import METHODS, Budget, Method, RunConfig
from search.complexity import (
    BudgetPrice,
    Complexity,
    DecoupledFlops,
    NoComplexity,
    ParameterProximal,
    WeightedShares,
)
from search.config import Plan
from search.derive import fastest_and_slowest
from search.latency.model import LatencyModel
from search.searcher import Steering
from search.steering import static_target, steering

MakeModel = Callable[..., LatencyModel]
TARGET = "cpu-onnxruntime-fp32-1t"
SIZE = (32, 32)
METHOD = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)


def plan_of(method: str, **values: Any) -> Plan:
    config = {"task": "denoise", "target": TARGET, "preset": "smoke", "method": method, **values}
    return Plan(RunConfig.model_validate(config))


def planted(plan: Plan, make_model: MakeModel) -> LatencyModel:
    def row(key: OpKey) -> float:
        return 0.5 + (sum(key.operation.encode()) % 7) + key.out_channels / 64

    return make_model(plan.space_config.model_dump(mode="json"), row_ms=row, of=plan.space.name)


def steer(
    make_model: MakeModel, method: str, share: float = 0.5, **values: Any
) -> tuple[Plan, Steering, Supernet, Budget]:
    """With a budget at this share of the way from the fastest to the slowest network."""
    plan = plan_of(method, **values)
    model = planted(plan, make_model)
    fastest, slowest = fastest_and_slowest(model, *SIZE)
    budget = Budget(fastest + share * (slowest - fastest), *SIZE)
    supernet = plan.space.supernet(plan.searched_config)
    return plan, steering(plan, supernet, model, budget), supernet, budget


def uniform(supernet: Supernet) -> dict[str, torch.Tensor]:
    return {name: torch.softmax(choice.raw, 0) for name, choice in supernet.choices.items()}


@METHOD
def test_latency_is_priced_against_the_budget(method: Method, make_model: MakeModel) -> None:
    plan, found, supernet, budget = steer(make_model, method.name, search={"price_rate": 0.3, "price_max": 2.0})
    term = found.complexity
    assert isinstance(term, BudgetPrice)
    assert (term.target, term.rate, term.limit) == (budget.ms, 0.3, 2.0)
    assert term.expected is found.expected_ms
    assert found.relaxations == plan.relaxations
    assert set(found.exit_paths) == set(plan.space.exit_order(plan.space_config))
    assert bool(found.exit_paths) == (method.name == "trilevel")
    assert float(term.expected(uniform(supernet)).detach()) > 0


PAPERS: dict[str, type[Complexity]] = {
    "autoderain": ParameterProximal,
    "hinas": NoComplexity,
    "manas": WeightedShares,
    "clearer": WeightedShares,
    "trilevel": DecoupledFlops,
}


@METHOD
@pytest.mark.parametrize("complexity", ["paper", "none"])
def test_whatever_is_paid_for_milliseconds_are_still_shown(
    method: Method, complexity: str, make_model: MakeModel
) -> None:
    _, found, supernet, _ = steer(make_model, method.name, complexity=complexity)
    assert type(found.complexity) is (PAPERS[method.name] if complexity == "paper" else NoComplexity)
    assert found.expected_ms is not None
    for choice in supernet.choices.values():
        choice.raw.data.fill_(0.5)
    total = float(found.complexity.combine(torch.tensor(0.5), torch.tensor(0.25), uniform(supernet)).detach())
    # Trilevel's weight starts at 1e-20.
    assert (total == pytest.approx(0.75)) == (
        PAPERS[method.name] in (NoComplexity, DecoupledFlops) or complexity == "none"
    )


@pytest.mark.parametrize(
    ("name", "complexity", "unit"),
    [(name, "parameters", "parameters") for name in ("autoderain", "hinas", "clearer")]
    + [("trilevel", "flops", "MACs")],
)
def test_counted_costs_are_held_to_as_large_a_share_as_the_budget(
    name: str, complexity: str, unit: Any, make_model: MakeModel
) -> None:
    targets = []
    for share in (0.0, 0.5, 1.0, 2.0):
        with torch.device("meta"):
            plan, found, _, budget = steer(make_model, name, share, complexity=complexity)
        term = found.complexity
        assert isinstance(term, BudgetPrice)
        if share == 0.5:
            assert term.target == static_target(plan, planted(plan, make_model), budget, unit)
        targets.append(term.target)
    low, middle, high, beyond = targets
    assert middle == pytest.approx((low + high) / 2)
    assert beyond == pytest.approx(high)  # a budget over the slowest network is no reason to aim above the largest
    assert low < high


def test_counted_parameters_run_from_the_smallest_to_the_largest_network(make_model: MakeModel) -> None:
    plan = plan_of("clearer")
    sizes = []
    for word in ("fusion", "parallel"):
        picks = {
            choice: next(name for name in names if name.startswith(word))
            for choice, names in plan.space.candidates(plan.space_config).items()
        }
        sizes.append(num_parameters(plan.space.build(plan.space.genotype(plan.space_config, picks))))
    model = planted(plan, make_model)
    fastest, slowest = fastest_and_slowest(model, *SIZE)
    found = [static_target(plan, model, Budget(ms, *SIZE), "parameters") for ms in (fastest, slowest + 1.0)]
    assert found == pytest.approx(sizes)


def test_where_all_networks_take_equally_long_every_size_is_allowed(make_model: MakeModel) -> None:
    plan = plan_of("clearer")
    model = make_model(plan.space_config.model_dump(mode="json"), row_ms=lambda _: 1.0, of="clearer")
    fastest, slowest = fastest_and_slowest(model, *SIZE)
    assert fastest == slowest
    target = static_target(plan, model, Budget(fastest, *SIZE), "parameters")
    other = static_target(plan, model, Budget(10 * fastest, *SIZE), "parameters")
    assert target == other


def test_a_supernet_of_half_the_channels_is_priced_as_what_is_derived(make_model: MakeModel) -> None:
    """HiNAS: the expectation is over the choices, which both have; the prices are those of the wider network."""
    space = get_space("hinas")
    wide = space.examples[3]
    model = make_model(wide, of="hinas")
    narrow = space.supernet(space.parse_config(wide | {"channels": 2}))
    full = space.supernet(space.parse_config(wide))
    expected = model.expectation(*SIZE)
    assert float(expected(uniform(narrow)).detach()) == float(expected(uniform(full)).detach())

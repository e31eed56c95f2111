"""From a run's names to what steers its search: relaxations, complexity term, expected milliseconds."""

from models import Supernet
from search.budget import Budget
from search.complexity import BudgetPrice, Complexity, NoComplexity
from search.config import Plan
from search.costs import Expectation, StaticUnit, static_prices
from search.derive import cheapest, dearest, fastest_and_slowest
from search.latency.model import LatencyModel
from search.methods import Searched
from search.searcher import Steering

UNITS: dict[str, StaticUnit] = {"parameters": "parameters", "flops": "MACs"}


def steering(plan: Plan, supernet: Supernet, model: LatencyModel, budget: Budget) -> Steering:
    """Everything that the plan's method adds to a plain search of this supernet.

    Whatever the search pays for, its log shows expected milliseconds, and derivation keeps the budget.
    """
    expected_ms = model.expectation(budget.height, budget.width)
    return Steering(
        relaxations=plan.relaxations,
        complexity=_complexity(plan, supernet, model, budget, expected_ms),
        expected_ms=expected_ms,
        exit_paths=plan.space.exit_order(plan.space_config),
        budget_ms=budget.ms,
    )


def _complexity(
    plan: Plan, supernet: Supernet, model: LatencyModel, budget: Budget, expected_ms: Expectation
) -> Complexity:
    name, settings = plan.config.complexity, plan.preset.search
    match name:
        case "latency":
            return BudgetPrice(expected_ms, supernet.choices, budget.ms, settings.price_rate, settings.price_max)
        case "parameters" | "flops":
            prices = static_prices(plan.space, plan.space_config, UNITS[name], budget.height, budget.width)
            expected = Expectation(prices, model.terms, plan.space.candidates(plan.space_config))
            target = static_target(plan, model, budget, UNITS[name])
            return BudgetPrice(expected, supernet.choices, target, settings.price_rate, settings.price_max)
        case "paper":
            return plan.method.paper_complexity(Searched(plan.space, plan.space_config, supernet))
        case "none":
            return NoComplexity()


def static_target(plan: Plan, model: LatencyModel, budget: Budget, unit: StaticUnit) -> float:
    """As far from the cheapest to the dearest network in this unit as the budget is in milliseconds."""
    fastest, slowest = fastest_and_slowest(model, budget.height, budget.width)
    share = min(1.0, max(0.0, (budget.ms - fastest) / (slowest - fastest))) if slowest > fastest else 1.0
    prices = static_prices(plan.space, plan.space_config, unit, budget.height, budget.width)
    arcs = plan.space.trellis(plan.space_config)
    low, high = cheapest(arcs, prices), dearest(arcs, prices)
    return low + share * (high - low)

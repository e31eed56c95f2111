"""Each complexity term against numbers worked out by hand."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from models import Choice, ChoiceKind, CostTerm, OpKey
from search import SearchError, get_complexity
from search.complexity import (
    Bounds,
    BudgetPrice,
    DecoupledFlops,
    NoComplexity,
    ParameterProximal,
    WeightedShares,
)
from search.costs import Expectation, Prices

CANDIDATES = {"op": ("cheap", "dear"), "width": ("4", "8"), "exit": ("near", "far")}
KINDS: dict[str, ChoiceKind] = {"op": "operation", "width": "width", "exit": "exit"}
# 2 for the cheap operation and 10 for the dear one at full width; half of that at half width; 1 always.
TERMS = (
    CostTerm(OpKey("cheap", 8, 4, 1), (("op", ("cheap",)), ("width", ("4",)))),
    CostTerm(OpKey("cheap", 8, 8, 1), (("op", ("cheap",)), ("width", ("8",)))),
    CostTerm(OpKey("dear", 8, 4, 1), (("op", ("dear",)), ("width", ("4",)))),
    CostTerm(OpKey("dear", 8, 8, 1), (("op", ("dear",)), ("width", ("8",)))),
)
PRICES = Prices("MACs", 1.0, dict(zip((term.key for term in TERMS), (1.0, 2.0, 5.0, 10.0), strict=True)))
LOSS, REGULARISER = torch.tensor(0.5), torch.tensor(0.25)


def expectation(terms: tuple[CostTerm, ...] = TERMS) -> Expectation:
    return Expectation(PRICES, terms, CANDIDATES)


def weights(op: float = 0.25, width: float = 0.5, far: float = 0.0) -> dict[str, Tensor]:
    """By the weight of the dear operation, of the full width and of the far exit."""
    return {
        name: torch.tensor([1 - share, share], requires_grad=True)
        for name, share in (("op", op), ("width", width), ("exit", far))
    }


def choices(dear: bool = True, full: bool = False) -> dict[str, Choice]:
    """Choices whose largest raw entry picks the dear operation or the full width."""
    found = {name: Choice(name, KINDS[name], names) for name, names in CANDIDATES.items()}
    for name, second in (("op", dear), ("width", full), ("exit", False)):
        found[name].raw.data = torch.tensor([0.0, 1.0] if second else [1.0, 0.0])
    return found


def test_an_unknown_complexity_lists_what_is_known() -> None:
    with pytest.raises(SearchError, match="unknown complexity 'size'; known: latency, parameters, flops, paper, none"):
        get_complexity("size")
    assert get_complexity("flops") == "flops"


def test_no_complexity_is_loss_and_regulariser() -> None:
    term = NoComplexity()
    assert float(term.combine(LOSS, REGULARISER, weights()).detach()) == 0.75
    assert term.state == {}


class TestBudgetPrice:
    # Expected at the weights above: 1 + 0.75 * 1.5 + 0.25 * 7.5
    EXPECTED = 4.0
    # The dear operation at half width: 1 + 5.
    PICKED = 6.0

    def price(self, target: float = 2.0, rate: float = 0.1, limit: float = 5.0, dear: bool = True) -> BudgetPrice:
        return BudgetPrice(expectation(), choices(dear), target, rate=rate, limit=limit)

    def test_the_first_update_costs_nothing_and_starts_the_ascent_on_what_would_be_picked(self) -> None:
        term = self.price()
        total = term.combine(LOSS, REGULARISER, weights())
        assert float(expectation()(weights()).detach()) == pytest.approx(self.EXPECTED)
        assert float(total.detach()) == pytest.approx(0.75 / 0.5)  # over the mean loss, which is the first loss
        assert term.state == pytest.approx({"price": 0.1 * (self.PICKED / 2.0 - 1), "mean_loss": 0.5})

    def test_the_second_adds_price_times_expected_excess_over_a_moving_mean(self) -> None:
        term = self.price()
        term.combine(LOSS, REGULARISER, weights())
        total = term.combine(torch.tensor(1.5), REGULARISER, weights())
        mean = 0.5 + 0.1 * (1.5 - 0.5)
        assert float(total.detach()) == pytest.approx(1.75 / mean + 0.2 * (self.EXPECTED / 2.0 - 1))
        assert term.state == pytest.approx({"price": 0.4, "mean_loss": mean})

    def test_the_price_rises_over_the_target_falls_under_it_and_stays_in_bounds(self) -> None:
        term = self.price(target=3.0, rate=1.0, limit=2.5)
        prices = []
        for _ in range(4):
            term.combine(LOSS, REGULARISER, weights())
            prices.append(term.state["price"])
        assert prices == pytest.approx([1.0, 2.0, 2.5, 2.5])
        term.choices = choices(dear=False)  # picks 2.0 of 8.0: the excess is -0.75, whatever is expected
        term.target = 8.0
        for _ in range(5):
            term.combine(LOSS, REGULARISER, weights())
            prices.append(term.state["price"])
        assert prices[4:] == pytest.approx([1.75, 1.0, 0.25, 0.0, 0.0])

    def test_its_gradient_points_to_what_is_cheap_in_proportion_to_the_price(self) -> None:
        term = self.price()
        term.state = {"price": 3.0, "mean_loss": 0.5}
        relaxed = weights()
        term.combine(LOSS, REGULARISER, relaxed).backward()  # type: ignore[no-untyped-call]
        assert relaxed["op"].grad is not None
        assert relaxed["op"].grad.tolist() == pytest.approx([3.0 / 2.0 * 1.5, 3.0 / 2.0 * 7.5])

    def test_a_perfect_batch_does_not_divide_by_zero(self) -> None:
        term = self.price()
        assert torch.isfinite(term.combine(torch.tensor(0.0), torch.tensor(0.0), weights()))


class TestWeightedShares:
    def test_by_hand(self) -> None:
        shares = {"a": (0.7, 0.3), "b": (0.7, 0.3), "e": (0.5, 0.1, 0.0)}
        kinds: dict[str, ChoiceKind] = {"a": "module", "b": "module", "e": "operation"}
        relaxed = {"a": torch.tensor([1.0, 0.0]), "b": torch.tensor([0.5, 0.5]), "e": torch.tensor([0.2, 0.5, 0.3])}
        term = WeightedShares(0.1, shares, kinds)
        # Modules: mean of 0.7 and 0.5. Operations: 0.1 + 0.05. Kinds are averaged apart and added.
        assert float(term.combine(LOSS, REGULARISER, relaxed)) == pytest.approx(0.75 + 0.1 * (0.6 + 0.15))
        assert term.state == {}

    def test_choices_without_shares_are_left_alone(self) -> None:
        term = WeightedShares(1.0, {"op": (0.7, 0.3)}, KINDS)
        relaxed = weights()
        term.combine(LOSS, REGULARISER, relaxed).backward()  # type: ignore[no-untyped-call]
        assert relaxed["op"].grad is not None
        assert relaxed["op"].grad.tolist() == pytest.approx([0.7, 0.3])
        assert relaxed["width"].grad is None


class TestParameterProximal:
    def test_by_hand(self) -> None:
        choice, other = Choice("a", "operation", ("x", "y")), Choice("b", "operation", ("x", "y"))
        choice.raw.data = torch.tensor([0.5, 0.25])
        other.raw.data = torch.tensor([9.0, 9.0])
        # 'b' has no parameters anywhere and is not named.
        term = ParameterProximal(2.0, {"a": choice, "b": other}, {"a": (30.0, 10.0)})
        total = term.combine(LOSS, REGULARISER, {})
        assert float(total.detach()) == pytest.approx(0.75 + 2.0 * (0.75 * 0.25 + 0.25 * 0.0625))
        total.backward()  # type: ignore[no-untyped-call]
        assert choice.raw.grad is not None
        assert choice.raw.grad.tolist() == pytest.approx([2.0 * 0.75 * 2 * 0.5, 2.0 * 0.25 * 2 * 0.25])
        assert other.raw.grad is None


class TestDecoupledFlops:
    BOUNDS = Bounds(low=10.0, high=20.0)

    def term(self, cost: float = 15.0, start: float = 0.5, every: int = 3) -> DecoupledFlops:
        def derived_cost(_: Mapping[str, Tensor]) -> float:
            return cost

        return DecoupledFlops(expectation(), KINDS, derived_cost, self.BOUNDS, start, every)

    def test_each_family_is_priced_with_the_other_frozen(self) -> None:
        total = self.term().combine(LOSS, REGULARISER, weights(op=0.25, width=0.5))
        of_operations = 1 + 0.75 * 2.0 + 0.25 * 10.0  # at the widest
        of_widths = 1 + 0.5 * (0.5 * 1.0 + 0.5 * 5.0) + 0.5 * (0.5 * 2.0 + 0.5 * 10.0)  # at uniform operations
        assert float(total.detach()) == pytest.approx(0.75 + 0.5 * (2 / 7 * of_operations + 5 / 7 * of_widths))

    def test_the_gradient_of_a_family_does_not_see_what_the_other_does(self) -> None:
        gradients = []
        for op, width in ((0.25, 0.5), (0.9, 0.5), (0.25, 0.1)):
            relaxed = weights(op=op, width=width)
            self.term().combine(LOSS, REGULARISER, relaxed).backward()  # type: ignore[no-untyped-call]
            found = [relaxed[name].grad for name in ("op", "width")]
            assert all(entry is not None for entry in found)
            gradients.append(torch.cat([entry for entry in found if entry is not None]).tolist())
        assert gradients[0] == pytest.approx([0.5 * 2 / 7 * 2, 0.5 * 2 / 7 * 10, 0.5 * 5 / 7 * 3, 0.5 * 5 / 7 * 6])
        assert gradients[1] == pytest.approx(gradients[0])
        assert gradients[2] == pytest.approx(gradients[0])

    def test_together_one_family_would_move_the_other(self) -> None:
        """The planted fault of the test above: the expectation without freezing."""
        slopes = []
        for width in (0.5, 0.1):
            relaxed = weights(width=width)
            (gradient,) = torch.autograd.grad(expectation()(relaxed), relaxed["op"])
            slopes.append(gradient.tolist())
        assert slopes[0] != pytest.approx(slopes[1])

    def test_where_the_network_ends_scales_the_cost_and_is_not_moved_by_it(self) -> None:
        far = (*TERMS, CostTerm(OpKey("dear", 8, 8, 1), (("exit", ("far",)), ("op", ("dear",)))))
        term = DecoupledFlops(expectation(far), KINDS, lambda _: 15.0, self.BOUNDS, 0.5)
        relaxed = weights(far=0.5)
        total = term.combine(LOSS, REGULARISER, relaxed)
        plain = self.term().combine(LOSS, REGULARISER, weights())
        # 10 at weight 0.5 of the exit: by the weight of the dear operation, and at uniform operations.
        extra = 0.5 * (2 / 7 * 10 * 0.5 * 0.25 + 5 / 7 * 10 * 0.5 * 0.5)
        assert float((total - plain).detach()) == pytest.approx(extra)
        total.backward()  # type: ignore[no-untyped-call]
        assert relaxed["exit"].grad is None

    @pytest.mark.parametrize(("cost", "factor"), [(21.0, 2.0), (20.0, 1.0), (10.0, 1.0), (9.0, 0.5)])
    def test_the_weight_doubles_over_the_bounds_and_halves_under_them_every_so_often(
        self, cost: float, factor: float
    ) -> None:
        term = self.term(cost, start=1.0, every=3)
        found = []
        for _ in range(6):
            term.combine(LOSS, REGULARISER, weights())
            found.append(term.state["weight"])
        assert found == [1.0, 1.0, factor, factor, factor, factor**2]
        assert term.state["updates"] == 6

    def test_the_state_is_all_that_a_resumed_search_needs(self) -> None:
        straight, first = self.term(25.0), self.term(25.0)
        values = [float(straight.combine(LOSS, REGULARISER, weights()).detach()) for _ in range(8)]
        for _ in range(4):
            first.combine(LOSS, REGULARISER, weights())
        second = self.term(25.0)
        second.state = dict(first.state)
        assert [float(second.combine(LOSS, REGULARISER, weights()).detach()) for _ in range(4)] == values[4:]
        assert values[4] != values[0]

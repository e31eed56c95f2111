"""From a table to the milliseconds of any network of its space, at any size, exact or differentiable."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models import CostTerm, OpKey, Space, SpaceConfig, get_space
from search.errors import TableError
from search.latency.table import LatencyTable, SizeTable


@dataclass(frozen=True)
class Prediction:
    """Milliseconds and the table's own held-out error at this size, as plus or minus milliseconds."""

    ms: float
    error_ms: float

    def __str__(self) -> str:
        return f"{self.ms:.4g} ms ± {self.error_ms:.2g}"


@dataclass(frozen=True)
class PricedTerm:
    """Milliseconds paid when every (choice, candidate) of `when`, which is never empty, is picked.

    Calibrated: with the fixed milliseconds they add up to the network.
    """

    ms: float
    when: tuple[tuple[str, str], ...]


class LatencyModel:
    """A table bound to its space.

    Raises:
        TableError: The table lacks a row that the space can ask for.
    """

    def __init__(self, table: LatencyTable) -> None:
        self.table = table
        self.space: Space[Any] = get_space(table.space)
        self.config: SpaceConfig = self.space.parse_config(table.space_config)
        self._terms: tuple[CostTerm, ...] = self.space.cost_terms(self.config)
        self._rows = {(size.height, size.width): _row_ms(size) for size in table.sizes}
        for (height, width), rows in self._rows.items():
            missing = sorted({str(term.key) for term in self._terms if term.key not in rows})
            if missing:
                raise TableError(
                    f"the table has no row at {width}x{height} for: {', '.join(missing)}; "
                    f"measure again with `millisight latency measure --target {table.target}`"
                )

    def priced(self, height: int, width: int) -> tuple[float, tuple[PricedTerm, ...]]:
        """(fixed ms, terms) at an input size; what is paid whatever is picked is fixed.

        At a measured size the table's rows are used as they are; elsewhere each row is a straight line in pixels
        through the two nearest measured sizes (one size only: in proportion to pixels).
        """
        blend = self._blend(height, width)
        fixed = max(0.0, sum(share * size.calibration.intercept_ms for share, size in blend))
        terms = []
        for term in self._terms:
            ms = sum(
                share * size.calibration.slope * self._rows[(size.height, size.width)][term.key]
                for share, size in blend
            )
            if term.when:
                terms.append(PricedTerm(max(0.0, ms), term.when))
            else:
                fixed += max(0.0, ms)
        return fixed, tuple(terms)

    def predict(self, picks: Mapping[str, str], height: int, width: int) -> Prediction:
        """What a network costs at an input size."""
        fixed, terms = self.priced(height, width)
        ms = fixed + sum(t.ms for t in terms if all(picks[choice] == name for choice, name in t.when))
        return Prediction(ms, ms * self.relative_error)

    @property
    def relative_error(self) -> float:
        """Mean held-out relative error over the measured sizes."""
        return sum(size.calibration.mape for size in self.table.sizes) / len(self.table.sizes)

    def _blend(self, height: int, width: int) -> list[tuple[float, SizeTable]]:
        pixels = height * width
        for size in self.table.sizes:
            if (size.height, size.width) == (height, width):
                return [(1.0, size)]
        ordered = sorted(self.table.sizes, key=lambda size: abs(size.height * size.width - pixels))
        first = ordered[0]
        area = first.height * first.width
        second = next((size for size in ordered[1:] if size.height * size.width != area), None)
        if second is None:
            return [(pixels / area, first)]
        share = (pixels - area) / (second.height * second.width - area)
        return [(1.0 - share, first), (share, second)]


class ExpectedLatency:
    """Differentiable expectation of the milliseconds under relaxed weights, at one size.

    `E = fixed + sum over terms of ms * product of the weights of its picks` (methods: FBNet, ProxylessNAS; the product
    arises where an operation's shape is itself a choice).
    """

    def __init__(self, model: LatencyModel, height: int, width: int) -> None:
        self._fixed, terms = model.priced(height, width)
        candidates = model.space.candidates(model.config)
        self._terms = [
            (term.ms, tuple((choice, candidates[choice].index(name)) for choice, name in term.when)) for term in terms
        ]

    def __call__(self, weights: Mapping[str, Tensor]) -> Tensor:
        """Expected ms, a scalar with a graph to every weight.

        Args:
            weights: Choice id -> (K,) weights that sum to one.
        """
        first = next(iter(weights.values()))
        total = torch.full((), self._fixed, dtype=torch.float32, device=first.device)
        for ms, when in self._terms:
            part = torch.full_like(total, ms)
            for choice, index in when:
                part = part * weights[choice][index]
            total = total + part
        return total


def _row_ms(size: SizeTable) -> dict[OpKey, float]:
    return {OpKey(row.operation, row.in_channels, row.out_channels, row.divisor): row.ms for row in size.rows}

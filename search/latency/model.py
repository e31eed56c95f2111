"""From a table to the milliseconds of any network of its space, at any size."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models import CostTerm, OpKey, Space, SpaceConfig, get_space
from search.costs import Expectation, Prices
from search.errors import TableError
from search.latency.table import LatencyTable, SizeTable


@dataclass(frozen=True)
class Prediction:
    """Milliseconds and the table's own held-out error at this size, as plus or minus milliseconds."""

    ms: float
    error_ms: float

    def __str__(self) -> str:
        return f"{self.ms:.4g} ms ± {self.error_ms:.2g}"


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

    @property
    def terms(self) -> tuple[CostTerm, ...]:
        """The space's cost terms."""
        return self._terms

    def prices(self, height: int, width: int) -> Prices:
        """Calibrated milliseconds at an input size: with the fixed part, rows add up to the network.

        At a measured size the table's rows are used as they are; elsewhere each row is a straight line in pixels
        through the two nearest measured sizes (one size only: in proportion to pixels).
        """
        blend = self._blend(height, width)
        rows = {
            key: max(
                0.0,
                sum(
                    share * size.calibration.slope * self._rows[(size.height, size.width)][key] for share, size in blend
                ),
            )
            for key in {term.key for term in self._terms}
        }
        fixed = max(0.0, sum(share * size.calibration.intercept_ms for share, size in blend))
        fixed += sum(rows[term.key] for term in self._terms if not term.when)
        return Prices("ms", fixed, rows)

    def predict(self, picks: Mapping[str, str], height: int, width: int) -> Prediction:
        """What a network costs at an input size."""
        ms = self.prices(height, width).of(self._terms, picks)
        return Prediction(ms, ms * self.relative_error)

    def expectation(self, height: int, width: int) -> Expectation:
        """Differentiable milliseconds under relaxed weights at an input size."""
        return Expectation(self.prices(height, width), self._terms, self.space.candidates(self.config))

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


def _row_ms(size: SizeTable) -> dict[OpKey, float]:
    return {OpKey(row.operation, row.in_channels, row.out_channels, row.divisor): row.ms for row in size.rows}

"""From a table to the milliseconds of any network of its space, at any size."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models import CostTerm, OpKey, Space, SpaceConfig, get_space
from runtime import SizeContract, plan_tiles
from search.costs import Expectation, Prices
from search.errors import TableError
from search.latency.table import REMEDY, LatencyTable, SizeTable


@dataclass(frozen=True)
class Prediction:
    """Milliseconds, and the table's own error there as plus or minus milliseconds."""

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
                    f"measure again with `{REMEDY} --target {table.target}`"
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
        """What a network costs for one (height, width) input."""
        ms = self.prices(height, width).of(self._terms, picks)
        return Prediction(ms, ms * self.relative_error(height, width))

    def predict_picture(
        self, picks: Mapping[str, str], height: int, width: int, contract: SizeContract
    ) -> tuple[Prediction, int]:
        """What a network costs for a whole picture that is run in tiles, overlap included, and the number of tiles.

        The engine's time only: decoding, padding and blending are not a matter of the network.
        """
        tiles = plan_tiles(height, width, contract)
        each = self.predict(picks, tiles[0].height, tiles[0].width)
        return Prediction(each.ms * len(tiles), each.error_ms * len(tiles)), len(tiles)

    def expectation(self, height: int, width: int) -> Expectation:
        """Differentiable milliseconds under relaxed weights at an input size."""
        return Expectation(self.prices(height, width), self._terms, self.space.candidates(self.config))

    def relative_error(self, height: int, width: int) -> float:
        """The error to expect at a size: the largest mean error that the table's checks found for such a prediction.

        At a measured size these are its held-out networks and the networks derived under budgets (an optimiser finds
        what a table has too cheap, so they are worse than random ones); elsewhere the networks at unseen sizes too.
        Outside the range of the measured sizes the error grows in proportion to the pixels.

        Raises:
            TableError: The table was never checked.
        """
        if not self.table.checks:
            raise TableError(f"the table has no checks, so its error is not known; {REMEDY} makes one that has")
        used = {(size.height, size.width) for _, size in self._blend(height, width)}
        measured = (height, width) in self._rows
        errors = [
            check.accuracy.mape
            for check in self.table.checks
            if check.kind == "optimum"
            or (check.kind == "held-out" and (check.height, check.width) in used)
            or (check.kind == "unseen-size" and not measured)
        ]
        pixels, areas = height * width, [size.height * size.width for size in self.table.sizes]
        beyond = max(1.0, pixels / max(areas), min(areas) / pixels)
        return max(errors) * beyond

    def _blend(self, height: int, width: int) -> list[tuple[float, SizeTable]]:
        """Measured sizes and their shares, which sum to one, but for a single size."""
        pixels = height * width
        for size in self.table.sizes:
            if (size.height, size.width) == (height, width):
                return [(1.0, size)]
        ordered = sorted(self.table.sizes, key=lambda size: size.height * size.width)
        areas = [size.height * size.width for size in ordered]
        if areas[0] == areas[-1]:
            return [(pixels / areas[0], ordered[0])]
        larger = [n for n, area in enumerate(areas) if area > areas[0]]
        upper = next((n for n in larger if areas[n] >= pixels), larger[-1])
        lower = max(n for n, area in enumerate(areas) if area < areas[upper])
        share = (pixels - areas[lower]) / (areas[upper] - areas[lower])
        return [(1.0 - share, ordered[lower]), (share, ordered[upper])]


def _row_ms(size: SizeTable) -> dict[OpKey, float]:
    return {OpKey(row.operation, row.in_channels, row.out_channels, row.divisor): row.ms for row in size.rows}

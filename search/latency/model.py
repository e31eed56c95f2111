"""From a table to the milliseconds of any network of its space, at any size."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from models import CostTerm, Space, SpaceConfig, get_space
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
        self._rows = {(size.height, size.width): size.row_ms for size in table.sizes}
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

        At a measured size the table's rows are used as they are. Between two sizes each row, and the fixed part, is a
        power of the pixels: from size to size what a pixel costs changes by the share of fixed overhead and by what
        still fits into caches, smoothly on a logarithmic scale. Outside of the measured sizes it is a straight line in
        pixels through the two nearest (one size only: in proportion to pixels).
        """
        at = self._between(height, width)
        rows = {
            key: at(lambda size, key=key: size.calibration.slope * self._rows[(size.height, size.width)][key])  # type: ignore[misc]
            for key in {term.key for term in self._terms}
        }
        fixed = at(lambda size: size.calibration.intercept_ms)
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
        used = {(size.height, size.width) for size in self._neighbours(height, width)}
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

    def _neighbours(self, height: int, width: int) -> tuple[SizeTable, ...]:
        """The measured size itself, or the two nearest in pixels, smaller one first; one if there is only one."""
        for size in self.table.sizes:
            if (size.height, size.width) == (height, width):
                return (size,)
        ordered = sorted(self.table.sizes, key=_pixels)
        larger = [size for size in ordered if _pixels(size) > _pixels(ordered[0])]
        if not larger:
            return (ordered[0],)
        upper = next((size for size in larger if _pixels(size) >= height * width), larger[-1])
        return max((size for size in ordered if _pixels(size) < _pixels(upper)), key=_pixels), upper

    def _between(self, height: int, width: int) -> Callable[[Callable[[SizeTable], float]], float]:
        """How a cost goes over to this size from what it is at the measured ones."""
        pixels, found = height * width, self._neighbours(height, width)
        if len(found) == 1:
            scale = 1.0 if (found[0].height, found[0].width) == (height, width) else pixels / _pixels(found[0])
            return lambda cost: scale * cost(found[0])
        low, high = found
        linear = (pixels - _pixels(low)) / (_pixels(high) - _pixels(low))
        logarithmic = math.log(pixels / _pixels(low)) / math.log(_pixels(high) / _pixels(low))

        def at(cost: Callable[[SizeTable], float]) -> float:
            first, second = cost(low), cost(high)
            if 0.0 < linear < 1.0 and first > 0.0 and second > 0.0:
                return float(first ** (1.0 - logarithmic) * second**logarithmic)
            return max(0.0, (1.0 - linear) * first + linear * second)

        return at


def _pixels(size: SizeTable) -> int:
    return size.height * size.width

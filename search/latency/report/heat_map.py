"""Operations by shapes: what every row costs at the largest size, and what the smallest size says otherwise."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from models import OpKey
from search.latency.report.facts import Facts, size_label, size_of
from search.latency.report.picture import ALARM, INK, Picture, new_figure, plain, short

Shape = tuple[int, int, int]
"""(divisor, channels in, channels out)"""
Grid = np.ma.MaskedArray[tuple[int, int], np.dtype[np.float64]]

DECADES = 3
"""Colours reach so many decades down from the dearest cell; what is cheaper has the colour of the cheapest."""
MOST_RATIO = 2.0
"""The colours of the second panel reach from one over this to this."""
SIDE_BY_SIDE = 6
"""Up to so many columns the two panels stand side by side."""
ANNOTATED = 26
"""Up to so many columns there is room for a number in each cell."""
SMALL_LETTERS = 18
"""From so many columns on the numbers are smaller."""
CELL = 0.36
"""Height of a cell in inches."""


@dataclass(frozen=True)
class _Frame:
    """Names of rows and columns."""

    operations: tuple[str, ...]
    shapes: tuple[Shape, ...]

    def grid(self, values: dict[OpKey, float]) -> Grid:
        """(operations, shapes), masked where there is no value."""
        found: Grid = np.ma.MaskedArray(np.zeros((len(self.operations), len(self.shapes))), mask=True)
        for key, value in values.items():
            found[self.operations.index(key.operation), self.shapes.index(_shape(key))] = value
        return found


def heat_map(facts: Facts) -> Picture:
    """The figure: the largest size in milliseconds, and the smallest beside it per pixel, if there are two sizes.

    The largest size, since its timings are the least noisy and since budgets are mostly meant for it. The others are
    nearly in proportion to pixels; where they are not is what the second panel shows.
    """
    small, large = size_of(facts.sizes[0]), size_of(facts.sizes[-1])
    prices = facts.rows[large]
    frame = _Frame(_ordered(facts.keys, prices), tuple(sorted({_shape(key) for key in facts.keys})))
    figure, panels = _panels(frame, 1 if small == large else 2)

    grid = frame.grid(prices)
    image = _cells(panels[0], frame, grid, "viridis", _price_norm(grid), short)
    _colour_bar(figure, panels[0], image, "ms")
    panels[0].set_title(f"ms at {size_label(large)}", pad=22)
    if len(panels) > 1:
        share = (large[0] * large[1]) / (small[0] * small[1])
        both = {key: ms for key, ms in facts.rows[small].items() if ms > 0 and prices.get(key, 0.0) > 0}
        ratios = frame.grid({key: share * ms / prices[key] for key, ms in both.items()})
        image = _cells(
            panels[1], frame, ratios, "PuOr_r", LogNorm(1 / MOST_RATIO, MOST_RATIO, clip=True), "{:.2f}".format
        )
        _colour_bar(figure, panels[1], image, "times as dear")
        panels[1].set_title(f"ms per pixel: {size_label(small)} over {size_label(large)}", pad=22)
        _mark(panels[1], frame, {*facts.missing[small], *facts.missing[large]})
    _mark(panels[0], frame, set(facts.missing[large]))
    return Picture("heat-map", "What each operation costs", _alt(facts, frame), _caption(len(panels) > 1), figure)


def _alt(facts: Facts, frame: _Frame) -> str:
    prices = facts.rows[size_of(facts.sizes[-1])]
    text = f"Heat map of {len(frame.operations)} operations by {len(frame.shapes)} shapes. "
    if prices:
        dearest = max(prices, key=lambda key: prices[key])
        text += f"The dearest cell is {dearest} with {prices[dearest]:.4g} ms. "
    return text + "The table of rows below has every number."


def _caption(compared: bool) -> str:
    text = (
        "Each row is an operation, the dearest on top; each column a shape, channels in → out at a fraction of the "
        f"input's resolution. Colours are logarithmic if the prices differ by more than ten, over {DECADES} decades at "
        "most. Hatched: the space does not ask for this operation at this shape, which is not the same as cheap. A "
        "question mark: it does, and the table has no price. Rows are as solved from the chains; a prediction "
        "multiplies them by the slope of the calibration."
    )
    if compared:
        text += (
            " The other panel compares the time per pixel at the smallest size with that at the largest: 1 means in "
            "proportion to pixels, more means a fixed cost at small sizes, less that large ones no longer fit a cache. "
            "Cheap rows are noisy there. Where either price is zero there is no ratio."
        )
    return text


def _shape(key: OpKey) -> Shape:
    return key.divisor, key.in_channels, key.out_channels


def _ordered(keys: tuple[OpKey, ...], prices: dict[OpKey, float]) -> tuple[str, ...]:
    """Operations by their mean price, dearest first; those without any price last."""
    means = {}
    for operation in sorted({key.operation for key in keys}):
        found = [ms for key, ms in prices.items() if key.operation == operation]
        means[operation] = sum(found) / len(found) if found else -1.0
    return tuple(sorted(means, key=lambda operation: -means[operation]))


def _panels(frame: _Frame, count: int) -> tuple[Figure, list[Axes]]:
    beside = len(frame.shapes) <= SIDE_BY_SIDE
    height = CELL * len(frame.operations) + 1.4
    figure = new_figure(height if beside else height * count)
    # Two columns even for one panel, so that a few cells are not stretched over the whole width.
    grid = figure.add_gridspec(1, 2) if beside else figure.add_gridspec(count, 1)
    return figure, [figure.add_subplot(grid[number]) for number in range(count)]


def _price_norm(grid: Grid) -> Normalize:
    found = grid.compressed()
    top = float(found.max(initial=0.0)) or 1.0
    bottom = max(float(found[found > 0].min(initial=top)), top / 10**DECADES)
    return LogNorm(bottom, top, clip=True) if top > 10 * bottom else Normalize(0.0, top)


def _cells(
    axes: Axes, frame: _Frame, grid: Grid, colours: str, norm: Normalize, told: Callable[[float], str]
) -> AxesImage:
    image = axes.imshow(grid, cmap=colours, norm=norm, aspect="auto", interpolation="nearest")
    many = len(frame.shapes) > 12
    names = [f"{inside}→{outside}" for _, inside, outside in frame.shapes]
    axes.set_xticks(range(len(names)), names, rotation=50 if many else 0, ha="right" if many else "center")
    if many:
        for label in axes.get_xticklabels():
            label.set_rotation_mode("anchor")
    axes.set_yticks(range(len(frame.operations)), [plain(name, 26) for name in frame.operations])
    axes.set_xlabel("channels in → out")
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(frame.operations) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    for edge in axes.spines.values():
        edge.set_visible(False)
    for row, column in zip(*np.nonzero(np.ma.getmaskarray(grid)), strict=True):
        corner = (column - 0.5, row - 0.5)
        patch = Rectangle(corner, 1, 1, facecolor="#f4f5f7", edgecolor="#d0d5dc", hatch="////", linewidth=0)
        axes.add_patch(patch).set_in_layout(False)
    _divisors(axes, frame)
    if len(frame.shapes) <= ANNOTATED:
        _annotate(axes, grid, image, told)
    return image


def _divisors(axes: Axes, frame: _Frame) -> None:
    """A heading over the columns of each resolution, and lines between them."""
    start = 0
    for divisor, group in groupby(frame.shapes, key=lambda shape: shape[0]):
        count = len(list(group))
        middle, above = start + (count - 1) / 2, axes.get_xaxis_transform()
        axes.annotate(
            f"at 1/{divisor}", (middle, 1.0), xycoords=above, xytext=(0, 4), textcoords="offset points", ha="center"
        )
        if start:
            axes.axvline(start - 0.5, color=INK, linewidth=1.2)
        start += count


def _annotate(axes: Axes, grid: Grid, image: AxesImage, told: Callable[[float], str]) -> None:
    colours = image.to_rgba(grid)
    size = 8.5 if grid.shape[1] <= SMALL_LETTERS else 7.0
    for row, column in zip(*np.nonzero(~np.ma.getmaskarray(grid)), strict=True):
        luminance = float(colours[row, column, :3] @ (0.299, 0.587, 0.114))
        ink = "white" if luminance < 0.5 else INK
        number = axes.text(column, row, told(float(grid[row, column])), ha="center", va="center", color=ink)
        number.set_fontsize(size)
        # Within the axes anyway; measuring hundreds of them takes seconds.
        number.set_in_layout(False)


def _mark(axes: Axes, frame: _Frame, absent: set[OpKey]) -> None:
    for key in absent:
        place = (frame.shapes.index(_shape(key)), frame.operations.index(key.operation))
        axes.text(*place, "?", ha="center", va="center", color=ALARM, fontsize=11, fontweight="bold")


def _colour_bar(figure: Figure, axes: Axes, image: AxesImage, unit: str) -> None:
    rows = len(axes.get_yticks())
    bar = figure.colorbar(image, ax=axes, label=unit, pad=0.01, aspect=1.6 * max(9, rows))
    if isinstance(image.norm, LogNorm):
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        bar.ax.yaxis.set_minor_locator(NullLocator())
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))

"""One figure of the report, and what all of them share: colours, letters, axes."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from search.latency.report.facts import Size, size_label

WIDTH, DPI = 12.0, 120
"""Inches, and pixels per inch: 1440 pixels wide."""

NARROW = 8.0
"""A log axis that reaches less far up than times this has ticks at even distances."""

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5b5b5b")
"""Okabe and Ito's colours, which hold in weak colour vision, less the yellow that is too pale for a thin line."""
INK, PALE, ALARM = "#1d2430", "#9aa5b4", "#d55e00"

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "text.parse_math": False,  # names come from a file
    "font.size": 9.0,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.edgecolor": PALE,
    "axes.grid": False,
    "axes.axisbelow": True,
    "grid.color": "#e3e7ec",
    "grid.linewidth": 0.8,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.linewidth": 0.8,
}
"""What differs from matplotlib's defaults."""


@dataclass(frozen=True)
class Picture:
    """A figure with its words.

    Attributes:
        name: Of its file, without suffix, and its id in the page.
        title: Heading in the page.
        alt: What is to be seen, for those who do not see it.
        caption: How to read it.
        figure: The figure.
    """

    name: str
    title: str
    alt: str
    caption: str
    figure: Figure

    def png(self) -> bytes:
        """The figure as a PNG file."""
        content = io.BytesIO()
        FigureCanvasAgg(self.figure)
        self.figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
        return content.getvalue()


def new_figure(height: float) -> Figure:
    """An empty figure of the report's width and so many inches of height."""
    figure = Figure(figsize=(WIDTH, height), facecolor="white")
    figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    return figure


def plain(text: str, most: int = 44) -> str:
    """Text from a file as a label: one line, no longer than `most` letters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def short(value: float) -> str:
    """Three significant digits without an exponent where that is readable."""
    if value == 0 or not 1e-4 <= abs(value) < 1e5:
        return f"{value:.2g}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def percent(value: float) -> str:
    """A share in percent, with two significant digits below ten."""
    return f"{100 * value:.1f} %" if abs(value) >= 0.00995 else f"{100 * value:.2g} %"


def logarithmic(axis: Axis) -> None:
    """Ticks with numbers as people write them; the axis has its log scale and its data already."""
    low, high = axis.get_view_interval()
    # Over a narrow range 1, 2 and 5 may all be outside.
    wide = LogLocator(subs=(1.0, 2.0, 5.0), numticks=12)
    axis.set_major_locator(wide if high > NARROW * low else MaxNLocator(nbins=6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def pixel_axis(axes: Axes, sizes: Sequence[Size]) -> None:
    """Log axis of pixels with a tick, with its name, for each size."""
    axes.set_xscale("log")
    areas = sorted({height * width for height, width in sizes})
    names = ["\n".join(size_label(size) for size in sizes if size[0] * size[1] == area) for area in areas]
    axes.set_xticks(areas, names)
    axes.set_xticks([], minor=True)
    axes.set_xlim(areas[0] / 1.5, areas[-1] * 1.5)
    axes.set_xlabel("input (axis: pixels, logarithmic)")


def say(axes: Axes, text: str) -> None:
    """A sentence in place of a plot that has nothing to show."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, fontsize=11, wrap=True)

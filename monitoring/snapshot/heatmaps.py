"""A histogram over time: darker where more observations fell into a bucket."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import FixedFormatter, FixedLocator
from numpy.typing import NDArray

from monitoring.panels import DashboardError, Panel
from monitoring.snapshot.canvas import Box, Canvas
from monitoring.snapshot.curves import Curve
from monitoring.snapshot.graphs import time_axis
from monitoring.snapshot.units import text
from monitoring.variables import Window

__all__ = ["bucket_counts", "draw_heatmap"]

_SIZE, _MOST_LABELS = 10.0, 7


def bucket_counts(
    panel: Panel, curves: Sequence[Curve], window: Window
) -> tuple[list[float], NDArray[np.float64], NDArray[np.float64]]:
    """How many observations each bucket had at each step.

    Args:
        panel: For messages.
        curves: One for each `le`, cumulative as Prometheus has them.
        window: Their time.

    Returns:
        Upper edges of the buckets, ascending, the last one infinite; edges of the steps, Unix seconds; and counts of
        shape (buckets, steps), NaN where nothing was seen.

    Raises:
        DashboardError: A series has no label `le`.
    """
    by_edge: dict[float, Curve] = {}
    for curve in curves:
        if "le" not in curve.series.labels:
            raise DashboardError(f"Panel '{panel.title}': a heat map needs series by `le`, got {curve.name}.")
        by_edge[float(curve.series.labels["le"])] = curve
    edges = sorted(by_edge)
    steps = round((window.end - window.start) // window.step_s) + 1
    cumulative: NDArray[np.float64] = np.full((len(edges), steps), np.nan)
    for row, edge in enumerate(edges):
        for moment, value in by_edge[edge].series.points:
            column = round((moment - window.start) / window.step_s)
            if 0 <= column < steps:
                cumulative[row, column] = value
    below = np.vstack([np.zeros(steps), cumulative[:-1]])
    counts = cumulative - below
    # Rates of neighbouring buckets may differ by rounding alone.
    counts[~(counts > 1e-9)] = np.nan
    times = window.start + window.step_s * np.arange(-0.5, steps)
    return edges, times, counts


def draw_heatmap(canvas: Canvas, panel: Panel, curves: Sequence[Curve], window: Window, box: Box) -> None:
    """Draw the buckets of a histogram into a place, cut to those that were hit."""
    edges, times, counts = bucket_counts(panel, curves, window)
    hit = np.flatnonzero(np.isfinite(counts).any(axis=1))
    if len(hit) == 0:
        canvas.text(box.x + box.width / 2, box.y + box.height / 2, "nothing was observed", align="center")
        return
    first, last = max(int(hit[0]) - 1, 0), min(int(hit[-1]) + 1, len(edges) - 1)
    unit = panel.options.get("yAxis", {}).get("unit") or str(panel.config.defaults.get("unit", ""))
    labels = ["∞" if math.isinf(edge) else text(edge, unit) for edge in edges[first : last + 1]]
    left = 8 + max(canvas.measure(label, _SIZE) for label in labels)
    plot = box.inside(left, 2, 4, 20)
    axes = canvas.axes(plot)
    rows = np.arange(last - first + 2, dtype=np.float64)
    values = np.sqrt(counts[first : last + 1])
    axes.pcolormesh(times, rows, values, cmap="Oranges", vmin=0, vmax=float(np.nanmax(values)), linewidth=0)
    every = math.ceil(len(labels) / _MOST_LABELS)
    # A label stands at the upper edge of its bucket.
    axes.yaxis.set_major_locator(FixedLocator(list(rows[1::every])))
    axes.yaxis.set_major_formatter(FixedFormatter(labels[::every]))
    axes.set_ylim(0, rows[-1])
    time_axis(axes, window, plot.width)

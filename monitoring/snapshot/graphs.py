"""Panels over time: lines, areas and stacks with their thresholds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from monitoring.fields import Look
from monitoring.panels import DashboardError, Panel
from monitoring.snapshot import palette
from monitoring.snapshot.canvas import Box, Canvas
from monitoring.snapshot.curves import Curve
from monitoring.snapshot.legend import Entry, draw_legend, height_of, short
from monitoring.snapshot.units import Scale, number, scale_for, tick_decimals
from monitoring.variables import Window

__all__ = ["draw_graph", "time_axis", "value_axis"]

Floats = NDArray[np.float64]

_TICKS_S = (
    5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800,
    604_800,
)  # fmt: skip
_SIZE, _TICK_MARGIN = 10.0, 16.0
# A line is broken where this many steps are missing.
_GAP_STEPS = 1.5
_MOST_AXES = 2


def draw_graph(canvas: Canvas, panel: Panel, curves: Sequence[Curve], window: Window, box: Box) -> None:
    """Draw a panel over time into a place.

    Args:
        canvas: The page.
        panel: What it wants.
        curves: What its queries gave; some.
        window: Its time.
        box: Its place, below the title.

    Raises:
        DashboardError: Its series have more than two units.
    """
    entries = short(canvas, panel, _entries(curves), box.width)
    legend = height_of(canvas, panel, entries, box)
    whole = box.inside(0, 2, 4, 20 + legend)
    sides = list(dict.fromkeys(_side(curve.look) for curve in curves))
    if len(sides) > _MOST_AXES:
        raise DashboardError(f"Panel '{panel.title}' wants axes for {len(sides)} units; two are drawn, left and right.")
    drawn = [(canvas.axes(whole), side) for side in sides]
    margins = [0.0, 0.0]
    for index, (axes, side) in enumerate(drawn):
        labels = _draw_side(axes, entries, side, window)
        margins[index] = 8 + max((canvas.measure(label, _SIZE) for label in labels), default=0.0)
    plot = whole.inside(margins[0], 0, margins[1], 0)
    for index, (axes, _) in enumerate(drawn):
        canvas.move(axes, plot)
        time_axis(axes, window, plot.width)
        if index:
            axes.yaxis.tick_right()
            axes.xaxis.set_major_locator(NullLocator())
            axes.grid(visible=False)
    bottom = Box(box.x, box.y + box.height - legend, box.width, legend)
    draw_legend(canvas, panel, entries, bottom)


def time_axis(axes: Axes, window: Window, width: float) -> None:
    """Times of the day below axes, in UTC."""
    axes.set_xlim(window.start, window.end)
    room = max(2.0, width / 45)
    step = next((step for step in _TICKS_S if window.seconds / step <= room), _TICKS_S[-1])
    first = math.ceil(window.start / step) * step
    # Not so near an end that it runs into what stands beside the axes.
    margin = _TICK_MARGIN * window.seconds / width
    ticks = [float(tick) for tick in range(first, math.floor(window.end) + 1, step) if tick - window.start > margin]
    form = "%H:%M:%S" if step < 60 else "%H:%M" if window.seconds <= 172_800 else "%d.%m."
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: datetime.fromtimestamp(tick, UTC).strftime(form)))
    axes.grid(visible=True, color=palette.GRID, linewidth=0.6)


def value_axis(axes: Axes, scale: Scale, *, logarithmic: bool = False) -> list[str]:
    """Values beside axes, which are divided by the scale already.

    Returns:
        The words that stand there.
    """
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(10, (1.0,), numticks=6))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        # Bytes are counted in twos.
        steps = [1, 2, 4, 5, 8, 10] if scale.suffix.endswith("iB") else [1, 2, 2.5, 5, 10]
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=steps, min_n_ticks=2))
    low, high = axes.get_ylim()
    ticks = [float(tick) for tick in axes.get_yticks() if low <= tick <= high]
    decimals = tick_decimals(ticks)
    labels = [(f"{tick:g}" if logarithmic else number(tick, decimals)) + scale.suffix for tick in ticks]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(FixedFormatter(labels))
    return labels


def _entries(curves: Sequence[Curve]) -> list[Entry]:
    brothers: dict[str, int] = {}
    found = []
    for index, curve in enumerate(curves):
        brother = brothers.setdefault(curve.query.ref, 0)
        brothers[curve.query.ref] += 1
        color = palette.of_series(curve.look, index, curve.last, brother)
        found.append(Entry(curve, curve.name, color))
    return found


def _side(look: Look) -> tuple[str, str]:
    """What shares an axis: the same side and the same unit."""
    return ("right" if look.custom.axis == "right" else "left", look.unit)


def _scale(curves: Sequence[Curve]) -> Scale:
    values = [abs(value) for curve in curves for _, value in curve.series.points if math.isfinite(value)]
    look = curves[0].look
    ends = [abs(end) for end in (look.max, look.custom.soft_max) if end is not None]
    return scale_for(look.unit, max([*values, *ends], default=0.0))


def _draw_side(axes: Axes, entries: Sequence[Entry], side: tuple[str, str], window: Window) -> list[str]:
    """Draw what shares an axis; the words beside it."""
    mine = [entry for entry in entries if _side(entry.curve.look) == side]
    look, scale = mine[0].curve.look, _scale([entry.curve for entry in mine])
    axes.set_xlim(window.start, window.end)
    for stacking, group in groupby(sorted(mine, key=lambda e: e.curve.look.custom.stacking.mode), _stacking):
        if stacking == "none":
            for entry in group:
                _line(axes, entry, *_points(entry.curve, window, scale.divisor))
        else:
            _stack(axes, list(group), window, scale.divisor, percent=stacking == "percent")
    _limits(axes, look, scale)
    _thresholds(axes, look, scale)
    percent = Scale(1.0, "%") if look.custom.stacking.mode == "percent" else scale
    return value_axis(axes, percent, logarithmic=look.custom.scale.type == "log")


def _stacking(entry: Entry) -> str:
    return entry.curve.look.custom.stacking.mode


def _line(axes: Axes, entry: Entry, times: Floats, values: Floats) -> None:
    custom = entry.curve.look.custom
    style: str | tuple[int, tuple[float, ...]] = "-"
    if custom.style.fill != "solid":
        style = (0, (4.0, 2.5)) if custom.style.fill == "dash" else (0, (1.0, 2.0))
    lonely = np.isfinite(values).sum() == 1
    marker = "o" if custom.draw == "points" or lonely else ""
    width = 0.0 if custom.draw == "points" else 0.75 * max(custom.width, 1.3)
    axes.plot(times, values, color=entry.color, linewidth=width, linestyle=style, marker=marker, markersize=2.5)
    if custom.fill_opacity:
        axes.fill_between(times, values, 0, color=entry.color, alpha=custom.fill_opacity / 100, linewidth=0)


def _stack(axes: Axes, entries: Sequence[Entry], window: Window, divisor: float, *, percent: bool) -> None:
    times = _grid(window)
    layers = [np.nan_to_num(_on_grid(entry.curve, window, divisor)) for entry in entries]
    if percent:
        total = np.maximum(np.sum(layers, axis=0), 1e-300)
        layers = [100 * layer / total for layer in layers]
    floor = np.zeros_like(times)
    for entry, layer in zip(entries, layers, strict=True):
        opacity = entry.curve.look.custom.fill_opacity / 100
        axes.fill_between(times, floor, floor + layer, color=entry.color, alpha=opacity, linewidth=0)
        # Where nothing is, no line lies on those below.
        axes.plot(times, np.where(layer > 0, floor + layer, np.nan), color=entry.color, linewidth=0.75)
        floor = floor + layer


def _grid(window: Window) -> Floats:
    count = round((window.end - window.start) // window.step_s) + 1
    return window.start + window.step_s * np.arange(count, dtype=np.float64)


def _on_grid(curve: Curve, window: Window, divisor: float) -> Floats:
    """Values at every step of the window, NaN where there is none."""
    grid = np.full(len(_grid(window)), np.nan)
    for moment, value in curve.series.points:
        index = round((moment - window.start) / window.step_s)
        if 0 <= index < len(grid) and math.isfinite(value):
            grid[index] = value / divisor
    return grid


def _points(curve: Curve, window: Window, divisor: float) -> tuple[Floats, Floats]:
    """Times and values, with a NaN where points are missing so that no line goes across."""
    times, values = list[float](), list[float]()
    for moment, value in curve.series.points:
        if times and moment - times[-1] > _GAP_STEPS * window.step_s:
            times.append(moment - window.step_s)
            values.append(math.nan)
        times.append(moment)
        values.append(value / divisor if math.isfinite(value) else math.nan)
    return np.array(times), np.array(values)


def _limits(axes: Axes, look: Look, scale: Scale) -> None:
    if look.custom.scale.type == "log":
        return
    low, high = axes.get_ylim()
    softs = look.custom.soft_min, look.custom.soft_max
    if softs[0] is not None:
        low = min(low, softs[0] / scale.divisor) if low < 0 else softs[0] / scale.divisor
    if softs[1] is not None:
        high = max(high, softs[1] / scale.divisor)
    low = look.min / scale.divisor if look.min is not None else low
    high = look.max / scale.divisor if look.max is not None else high
    axes.set_ylim(low, high if high > low else low + 1)


def _thresholds(axes: Axes, look: Look, scale: Scale) -> None:
    style = look.custom.thresholds.mode
    if style == "off":
        return
    low, high = axes.get_ylim()
    for step in look.thresholds.steps:
        if step.value is None or step.color == "transparent":
            continue
        level = step.value / scale.divisor
        if "line" in style or "dash" in style:
            dash: str | tuple[int, tuple[float, ...]] = (0, (4.0, 2.5)) if "dash" in style else "-"
            axes.axhline(level, color=palette.shade(step.color), linewidth=1.0, linestyle=dash)
        if "area" in style:
            axes.axhspan(level, max(high, level), color=palette.shade(step.color), alpha=0.08, linewidth=0)
    axes.set_ylim(low, high)

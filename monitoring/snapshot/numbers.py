"""Panels of values: a number seen from afar with its course behind it, and bars beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from monitoring.panels import Panel
from monitoring.snapshot import palette
from monitoring.snapshot.canvas import Box, Canvas, told_apart
from monitoring.snapshot.curves import Curve, reduced
from monitoring.snapshot.units import text
from monitoring.variables import Window

__all__ = ["draw_bars", "draw_stat"]

_BAR, _SIZE, _NAMES = 22.0, 10.0, 0.5


def draw_stat(canvas: Canvas, panel: Panel, curves: Sequence[Curve], window: Window, box: Box) -> None:
    """Draw a number for each series beside each other."""
    for index, curve in enumerate(curves):
        width = box.width / len(curves)
        _one_stat(canvas, panel, curve, window, Box(box.x + index * width, box.y, width, box.height), len(curves))


def draw_bars(canvas: Canvas, panel: Panel, curves: Sequence[Curve], _window: Window, box: Box) -> None:
    """Draw a horizontal bar for each series, as many as there is room for."""
    shown = [(curve, value) for curve in curves if (value := _value(panel, curve)) is not None]
    room = max(1, int(box.height // _BAR))
    cut = shown[:room] if len(shown) <= room else shown[: room - 1]
    titles = [curve.name for curve, _ in cut]
    if max(canvas.measure(title, _SIZE) for title in titles) + 8 > _NAMES * box.width:
        titles = told_apart(titles)
    names = min(_NAMES * box.width, max(canvas.measure(title, _SIZE) for title in titles) + 8)
    words = [curve.look.mapped(value) or text(value, curve.look.unit, curve.look.decimals) for curve, value in cut]
    numbers = max(canvas.measure(word, _SIZE, bold=True) for word in words) + 10
    height = min(_BAR, box.height / len(cut))
    bar = box.width - names - numbers
    for index, ((curve, value), title, word) in enumerate(zip(cut, titles, words, strict=True)):
        y = box.y + height * (index + 0.5)
        low = curve.look.min or 0.0
        most = curve.look.max if curve.look.max is not None else max(other for _, other in cut)
        share = min(1.0, max(0.0, (value - low) / (most - low))) if most > low else 0.0
        color = palette.shade(curve.look.threshold_color(value) or "blue")
        canvas.text(box.x, y, title, _SIZE, palette.FAINT, room=names - 8)
        canvas.block(Box(box.x + names, y - 0.34 * height, bar, 0.68 * height), palette.GRID)
        canvas.block(Box(box.x + names, y - 0.34 * height, max(2.0, bar * share), 0.68 * height), color, 0.85)
        canvas.text(box.x + box.width, y, word, _SIZE, color, bold=True, align="right")
    if len(cut) < len(shown):
        y = box.y + height * (len(cut) + 0.5)
        canvas.text(box.x, y, f"and {len(shown) - len(cut)} more", _SIZE, palette.FAINT)


def _value(panel: Panel, curve: Curve) -> float | None:
    calculations = panel.options.get("reduceOptions", {}).get("calcs") or ["lastNotNull"]
    return reduced(curve.series, calculations[0])


def _one_stat(canvas: Canvas, panel: Panel, curve: Curve, window: Window, box: Box, several: int) -> None:
    value = _value(panel, curve)
    look = curve.look
    color = palette.INK if value is None else palette.shade(look.threshold_color(value) or "text")
    words = look.no_value or "–" if value is None else look.mapped(value) or text(value, look.unit, look.decimals)
    course = panel.options.get("graphMode") == "area" and len(curve.series.points) > 1
    if course:
        _course(canvas, curve, window, Box(box.x, box.y + 0.55 * box.height, box.width, 0.45 * box.height), color)
    named = several > 1
    size = min(26.0, 0.5 * box.height)
    while size > 10 and canvas.measure(words, size, bold=True) > box.width - 8:
        size -= 1
    middle = box.y + box.height * (0.36 if course else 0.5) + (6 if named else 0)
    canvas.text(box.x + box.width / 2, middle, words, size, color, bold=True, align="center")
    if named:
        room = box.width - 6
        canvas.text(
            box.x + box.width / 2, middle - size * 0.5 - 8, curve.name, 9, palette.FAINT, align="center", room=room
        )


def _course(canvas: Canvas, curve: Curve, window: Window, box: Box, color: str) -> None:
    times, values = (np.array(side) for side in zip(*curve.series.points, strict=True))
    axes = canvas.axes(box)
    axes.set_axis_off()
    breaks = [later - earlier > 1.5 * window.step_s for earlier, later in pairwise(times)]
    places = np.flatnonzero(breaks) + 1
    times, values = np.insert(times, places, times[places] - window.step_s), np.insert(values, places, np.nan)
    axes.plot(times, values, color=color, linewidth=0.9)
    low = min(0.0, float(np.nanmin(values))) if np.isfinite(values).any() else 0.0
    axes.fill_between(times, values, low, color=color, alpha=0.15, linewidth=0)
    axes.set_xlim(window.start, window.end)
    axes.margins(y=0.02)

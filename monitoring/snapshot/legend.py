"""What the lines of a graph are: names in rows under it, or a table with their last and largest values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from monitoring.panels import Panel
from monitoring.snapshot import palette
from monitoring.snapshot.canvas import Box, Canvas
from monitoring.snapshot.curves import Curve, reduced
from monitoring.snapshot.units import text

__all__ = ["Entry", "draw_legend", "height_of"]

_LINE, _SIZE, _MARK, _GAP = 14.0, 10.0, 12.0, 10.0
_MOST_LINES = 6
_NAMES = {"lastNotNull": "last", "last": "last", "max": "max", "min": "min", "mean": "mean", "sum": "total"}


@dataclass(frozen=True)
class Entry:
    """A line and its colour."""

    curve: Curve
    color: str


def height_of(canvas: Canvas, panel: Panel, entries: Sequence[Entry], width: float) -> float:
    """Pixels that the legend of a panel takes."""
    if not _shown(panel) or not entries:
        return 0.0
    if _calculations(panel):
        return _LINE * (min(len(entries), _MOST_LINES) + 1)
    return _LINE * min(len(_rows(canvas, entries, width)), _MOST_LINES)


def draw_legend(canvas: Canvas, panel: Panel, entries: Sequence[Entry], box: Box) -> None:
    """Draw it into a place that is `height_of` high."""
    if not _shown(panel) or not entries:
        return
    if calculations := _calculations(panel):
        _table(canvas, entries, calculations, box)
        return
    for number, row in enumerate(_rows(canvas, entries, box.width)[:_MOST_LINES]):
        x, y = box.x, box.y + _LINE * (number + 0.5)
        for entry in row:
            _mark(canvas, entry, x, y)
            room = box.x + box.width - x - _MARK - 4
            x += _MARK + 4 + canvas.text(x + _MARK + 4, y, entry.curve.name, _SIZE, palette.FAINT, room=room) + _GAP


def _shown(panel: Panel) -> bool:
    legend = panel.options.get("legend", {})
    return bool(legend.get("showLegend", True)) and legend.get("displayMode") != "hidden"


def _calculations(panel: Panel) -> list[str]:
    legend = panel.options.get("legend", {})
    return list(legend.get("calcs", ())) if legend.get("displayMode") == "table" else []


def _rows(canvas: Canvas, entries: Sequence[Entry], width: float) -> list[list[Entry]]:
    rows, x = [list[Entry]()], 0.0
    for entry in entries:
        needed = _MARK + 4 + canvas.measure(entry.curve.name, _SIZE)
        if rows[-1] and x + needed > width:
            rows.append([])
            x = 0.0
        rows[-1].append(entry)
        x += needed + _GAP
    return rows


def _table(canvas: Canvas, entries: Sequence[Entry], calculations: Sequence[str], box: Box) -> None:
    column = min(62.0, 0.45 * box.width / len(calculations))
    edges = [box.x + box.width - column * (len(calculations) - 1 - index) for index in range(len(calculations))]
    for edge, name in zip(edges, calculations, strict=True):
        canvas.text(edge, box.y + _LINE / 2, _NAMES.get(name, name), _SIZE, palette.FAINT, align="right")
    for number, entry in enumerate(entries[:_MOST_LINES]):
        y = box.y + _LINE * (number + 1.5)
        _mark(canvas, entry, box.x, y)
        room = box.width - _MARK - 4 - column * len(calculations)
        canvas.text(box.x + _MARK + 4, y, entry.curve.name, _SIZE, palette.FAINT, room=room)
        for edge, name in zip(edges, calculations, strict=True):
            value = reduced(entry.curve.series, name)
            words = "–" if value is None else text(value, entry.curve.look.unit, entry.curve.look.decimals)
            canvas.text(edge, y, words, _SIZE, align="right")


def _mark(canvas: Canvas, entry: Entry, x: float, y: float) -> None:
    dashed = entry.curve.look.custom.style.fill != "solid"
    canvas.line((x, y), (x + _MARK, y), entry.color, 2.0 if not dashed else 1.4, dashed)

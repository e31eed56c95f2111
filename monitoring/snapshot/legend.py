"""What the lines of a graph are: names in rows under it, or a table with their last and largest values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from monitoring.panels import Panel
from monitoring.snapshot import palette
from monitoring.snapshot.canvas import Box, Canvas, told_apart
from monitoring.snapshot.curves import Curve, reduced
from monitoring.snapshot.units import text

__all__ = ["Entry", "draw_legend", "height_of", "short"]

_LINE, _SIZE, _MARK, _GAP = 14.0, 10.0, 12.0, 10.0
_MOST_OF_BOX = 0.55
_NAMES = {"lastNotNull": "last", "last": "last", "max": "max", "min": "min", "mean": "mean", "sum": "total"}


@dataclass(frozen=True)
class Entry:
    """A line, its name in the legend, and its colour."""

    curve: Curve
    name: str
    color: str


def short(canvas: Canvas, panel: Panel, entries: Sequence[Entry], width: float) -> list[Entry]:
    """The same entries; where a name is too wide, all lose the words that tell none apart."""
    calculations = _calculations(panel)
    room = width - _MARK - 4 - (_column(width, len(calculations)) * len(calculations) if calculations else 0)
    if all(canvas.measure(entry.name, _SIZE) <= room for entry in entries):
        return list(entries)
    names = told_apart([entry.name for entry in entries])
    return [replace(entry, name=name) for entry, name in zip(entries, names, strict=True)]


def height_of(canvas: Canvas, panel: Panel, entries: Sequence[Entry], box: Box) -> float:
    """Pixels that the legend of a panel takes of its place, about half of it at most."""
    if not _shown(panel) or not entries:
        return 0.0
    table = bool(_calculations(panel))
    lines = len(entries) + 1 if table else len(_rows(canvas, entries, box.width))
    return _LINE * min(lines, int(_MOST_OF_BOX * box.height / _LINE))


def draw_legend(canvas: Canvas, panel: Panel, entries: Sequence[Entry], box: Box) -> None:
    """Draw it into a place that is `height_of` high."""
    if not _shown(panel) or not entries:
        return
    if calculations := _calculations(panel):
        _table(canvas, entries, calculations, box)
        return
    for number, row in enumerate(_rows(canvas, entries, box.width)[: round(box.height / _LINE)]):
        x, y = box.x, box.y + _LINE * (number + 0.5)
        for entry in row:
            _mark(canvas, entry, x, y)
            room = box.x + box.width - x - _MARK - 4
            x += _MARK + 4 + canvas.text(x + _MARK + 4, y, entry.name, _SIZE, palette.FAINT, room=room) + _GAP


def _column(width: float, number: int) -> float:
    return min(62.0, 0.45 * width / number)


def _shown(panel: Panel) -> bool:
    legend = panel.options.get("legend", {})
    return bool(legend.get("showLegend", True)) and legend.get("displayMode") != "hidden"


def _calculations(panel: Panel) -> list[str]:
    legend = panel.options.get("legend", {})
    return list(legend.get("calcs", ())) if legend.get("displayMode") == "table" else []


def _rows(canvas: Canvas, entries: Sequence[Entry], width: float) -> list[list[Entry]]:
    rows, x = [list[Entry]()], 0.0
    for entry in entries:
        needed = _MARK + 4 + canvas.measure(entry.name, _SIZE)
        if rows[-1] and x + needed > width:
            rows.append([])
            x = 0.0
        rows[-1].append(entry)
        x += needed + _GAP
    return rows


def _table(canvas: Canvas, entries: Sequence[Entry], calculations: Sequence[str], box: Box) -> None:
    column = _column(box.width, len(calculations))
    edges = [box.x + box.width - column * (len(calculations) - 1 - index) for index in range(len(calculations))]
    for edge, name in zip(edges, calculations, strict=True):
        canvas.text(edge, box.y + _LINE / 2, _NAMES.get(name, name), _SIZE, palette.FAINT, align="right")
    most = round(box.height / _LINE) - 1
    shown = entries if len(entries) <= most else entries[: most - 1]
    if len(shown) < len(entries):
        y = box.y + _LINE * (most + 0.5)
        canvas.text(box.x + _MARK + 4, y, f"and {len(entries) - len(shown)} more", _SIZE, palette.FAINT)
    for number, entry in enumerate(shown):
        y = box.y + _LINE * (number + 1.5)
        _mark(canvas, entry, box.x, y)
        room = box.width - _MARK - 4 - column * len(calculations)
        canvas.text(box.x + _MARK + 4, y, entry.name, _SIZE, palette.FAINT, room=room)
        for edge, name in zip(edges, calculations, strict=True):
            value = reduced(entry.curve.series, name)
            words = "–" if value is None else text(value, entry.curve.look.unit, entry.curve.look.decimals)
            canvas.text(edge, y, words, _SIZE, align="right")


def _mark(canvas: Canvas, entry: Entry, x: float, y: float) -> None:
    dashed = entry.curve.look.custom.style.fill != "solid"
    canvas.line((x, y), (x + _MARK, y), entry.color, 2.0 if not dashed else 1.4, dashed)

"""Panels that list what there is: labels and values of now, after what Grafana would do to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from monitoring.fields import look
from monitoring.panels import DashboardError, Panel
from monitoring.snapshot import palette
from monitoring.snapshot.canvas import Box, Canvas, widths_within
from monitoring.snapshot.curves import Curve
from monitoring.snapshot.units import text
from monitoring.variables import Window

__all__ = ["Cell", "draw_table", "table_rows"]

Cell = str | float
Line = dict[str, Cell]

_LINE, _SIZE, _GAP = 18.0, 10.0, 12.0
_SET_IN_NAMES = ("excludeByName", "includeByName")


def table_rows(panel: Panel, curves: Sequence[Curve]) -> tuple[list[str], list[Line]]:
    """Columns and lines as Grafana would show them.

    Raises:
        DashboardError: A transformation is not known here.
    """
    lines = _lines(panel, curves)
    columns = list(dict.fromkeys(column for line in lines for column in line))
    for transformation in panel.transformations:
        options = transformation.options
        match transformation.id:
            case "merge":
                lines = _merged(lines)
            case "filterFieldsByName":
                names = options.get("include", {}).get("names")
                columns = [column for column in columns if names is None or column in names]
            case "organize":
                columns, lines = _organized(columns, lines, options)
            case unknown:
                raise DashboardError(f"Panel '{panel.title}': the transformation '{unknown}' is not done here.")
    for order in reversed(panel.options.get("sortBy", ())):
        name = str(order.get("displayName", ""))
        lines = sorted(lines, key=lambda line: _order(line.get(name)), reverse=bool(order.get("desc")))
    return columns, lines


def draw_table(canvas: Canvas, panel: Panel, curves: Sequence[Curve], window: Window, box: Box) -> None:
    """Draw a table into a place, as many lines as there is room for."""
    columns, lines = table_rows(panel, curves)
    room = max(1, int(box.height // _LINE) - 1)
    shown = lines if len(lines) <= room else lines[: room - 1]
    cells = [[_cell(panel, column, line.get(column), window) for column in columns] for line in shown]
    wanted = [
        max([canvas.measure(column, _SIZE, bold=True), *(canvas.measure(row[index][0], _SIZE) for row in cells)]) + _GAP
        for index, column in enumerate(columns)
    ]
    widths = widths_within(wanted, box.width)
    spare = (box.width - sum(widths)) / max(len(widths), 1)
    x = box.x
    for index, column in enumerate(columns):
        canvas.text(x, box.y + _LINE / 2, column, _SIZE, palette.FAINT, bold=True, room=widths[index] - 4)
        for number, row in enumerate(cells):
            words, color = row[index]
            y = box.y + _LINE * (number + 1.5)
            canvas.text(x, y, words, _SIZE, color, room=widths[index] + spare - 6, smallest=8.5)
        x += widths[index] + spare
    for number in range(len(cells) + 1):
        y = box.y + _LINE * (number + 1)
        canvas.line((box.x, y), (box.x + box.width, y), palette.GRID, 0.5, dash=False)
    if len(shown) < len(lines):
        y = box.y + _LINE * (len(shown) + 1.5)
        canvas.text(box.x, y, f"and {len(lines) - len(shown)} more", _SIZE, palette.FAINT)


def _lines(panel: Panel, curves: Sequence[Curve]) -> list[Line]:
    several = len([query for query in panel.queries if not query.hidden]) > 1
    found = []
    for curve in curves:
        moment, value = curve.series.points[-1]
        line: Line = {"Time": moment, **curve.series.labels}
        line[f"Value #{curve.query.ref}" if several else "Value"] = value
        found.append(line)
    return found


def _merged(lines: Sequence[Line]) -> list[Line]:
    """Lines of several queries as one where what they have in common, and there is some, is equal."""
    found = list[Line]()
    for line in lines:
        for other in found:
            common = [key for key in line if key in other and key != "__name__"]
            if common and all(line[key] == other[key] for key in common):
                other.update(line)
                break
        else:
            found.append(dict(line))
    return found


def _organized(
    columns: list[str], lines: list[Line], options: Mapping[str, dict[str, object]]
) -> tuple[list[str], list[Line]]:
    excluded, order, names = (options.get(key, {}) for key in ("excludeByName", "indexByName", "renameByName"))
    kept = [column for column in columns if not excluded.get(column)]
    kept.sort(key=lambda column: int(str(order.get(column, 10_000))))
    renamed = {column: str(names.get(column) or column) for column in kept}
    return list(renamed.values()), [{renamed[key]: line[key] for key in kept if key in line} for line in lines]


def _order(value: Cell | None) -> tuple[int, float, str]:
    if value is None:
        return (2, 0.0, "")
    return (1, 0.0, value) if isinstance(value, str) else (0, value, "")


def _cell(panel: Panel, column: str, value: Cell | None, window: Window) -> tuple[str, str]:
    """What stands in a cell, and its colour."""
    if value is None:
        return "", palette.INK
    if isinstance(value, str):
        return value, palette.INK
    field = look(panel, column)
    mapped = field.mapped(value)
    color = _mapped_color(field.mappings, value) or (field.threshold_color(value) if field.thresholds.steps else None)
    if mapped is None and field.unit.startswith("dateTime"):
        # Grafana's moments are in milliseconds.
        mapped = _moment(value / 1000, field.unit, window)
    words = text(value, field.unit, field.decimals) if mapped is None else mapped
    return words, palette.shade(color) if color else palette.INK


def _mapped_color(mappings: Sequence[Mapping[str, object]], value: float) -> str | None:
    for mapping in mappings:
        options = mapping.get("options")
        entry = options.get(f"{value:g}") if isinstance(options, dict) else None
        if isinstance(entry, dict) and entry.get("color"):
            return str(entry["color"])
    return None


def _moment(seconds: float, unit: str, window: Window) -> str:
    if unit == "dateTimeFromNow":
        return f"{text(max(0.0, window.end - seconds), 's', 0)} ago"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")

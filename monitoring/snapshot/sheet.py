"""A whole dashboard on one page: rows with their headings, repeated panels, and each panel at its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from monitoring.panels import Dashboard, DashboardError, GridPosition, Panel
from monitoring.snapshot import palette
from monitoring.snapshot.canvas import Box, Canvas
from monitoring.snapshot.curves import Curve, Shown, curves
from monitoring.snapshot.graphs import draw_graph
from monitoring.snapshot.heatmaps import draw_heatmap
from monitoring.snapshot.numbers import draw_bars, draw_stat
from monitoring.snapshot.tables import draw_table
from monitoring.snapshot.units import text
from monitoring.variables import Chosen, Window, substitute

__all__ = ["Placed", "draw_sheet", "place"]

_COLUMNS, _GAP, _MARGIN, _HEAD, _ROW_HEAD, _TITLE = 24, 6.0, 8.0, 30.0, 22.0, 20.0

Draw = Callable[[Canvas, Panel, Sequence[Curve], Window, Box], None]
_KINDS: Mapping[str, Draw] = {
    "timeseries": draw_graph,
    "heatmap": draw_heatmap,
    "stat": draw_stat,
    "gauge": draw_stat,
    "bargauge": draw_bars,
    "table": draw_table,
}


@dataclass(frozen=True)
class Placed:
    """A panel at its place, with the one value of the variable that it is repeated for."""

    panel: Panel
    position: GridPosition
    chosen: Mapping[str, Chosen]


def place(dashboard: Dashboard, chosen: Mapping[str, Chosen], rows: Sequence[str] = ()) -> dict[str, list[Placed]]:
    """Panels below the headings that they stand under.

    Repeated panels stand beside each other and push down what is below them.

    Args:
        dashboard: What is drawn.
        chosen: What its variables stand for.
        rows: Only what stands under these headings; none: everything.

    Returns:
        Heading to panels, whose `y` counts from the heading.

    Raises:
        DashboardError: There is no such heading.
    """
    titles = list(dict.fromkeys(panel.row for panel in dashboard.panels))
    named = {title: substitute(title, chosen, Window(0, 1), "text") for title in titles}
    if unknown := [row for row in rows if row not in named.values()]:
        raise DashboardError(
            f"'{dashboard.title}' has no row {', '.join(unknown)}. It has: {', '.join(filter(None, named.values()))}."
        )
    found: dict[str, list[Placed]] = {}
    for title in titles:
        if not rows or named[title] in rows:
            panels = [panel for panel in dashboard.panels if panel.row == title]
            found[named[title]] = _under_one_heading(panels, chosen)
    return found


def draw_sheet(
    dashboard: Dashboard,
    shown: Shown,
    path: Path,
    *,
    rows: Sequence[str] = (),
    width: int = 900,
    row_height: float = 26.0,
    sharpness: float = 2.0,
    told: Callable[[str], None] = lambda _: None,
) -> int:
    """Draw a dashboard to a PNG.

    Args:
        dashboard: What is drawn.
        shown: From where, for which variables, at what time.
        path: The file.
        rows: Only what stands under these headings; none: everything.
        width: Of the page, pixels.
        row_height: Of one row of the grid, pixels; Grafana's own is 38 on a page that is wider.
        sharpness: Pixels of the file for one of the page and side.
        told: Called with the title of each panel.

    Returns:
        Panels that had nothing to show.

    Raises:
        DashboardError: A panel wants something that is not drawn here.
        PrometheusError: Prometheus does not answer, or refuses a query.
        VariableError: A query names a variable that is not there.
    """
    groups = place(dashboard, shown.chosen, rows)
    heights = [_height(group) * row_height for group in groups.values()]
    heads = [_ROW_HEAD if title else 0.0 for title in groups]
    canvas = Canvas(width, _HEAD + sum(heights) + sum(heads) + _MARGIN, sharpness)
    _head(canvas, dashboard, shown)
    y, empty = _HEAD, 0
    for (title, group), height, head in zip(groups.items(), heights, heads, strict=True):
        if title:
            canvas.text(_MARGIN, y + head / 2, title, 12, bold=True)
        column = (width - 2 * _MARGIN + _GAP) / _COLUMNS
        for placed in group:
            grid = placed.position
            top = y + head + grid.y * row_height
            box = Box(_MARGIN + grid.x * column, top, grid.w * column - _GAP, grid.h * row_height - _GAP)
            mine = replace(shown, chosen=placed.chosen)
            told(mine.title(placed.panel))
            empty += not _draw_panel(canvas, placed.panel, mine, box)
        y += head + height
    canvas.save(path)
    return empty


def _under_one_heading(panels: Sequence[Panel], chosen: Mapping[str, Chosen]) -> list[Placed]:
    found, pushed = list[Placed](), 0
    first = min(panel.position.y for panel in panels)
    for panel in sorted(panels, key=lambda panel: (panel.position.y, panel.position.x)):
        grid = panel.position.model_copy(update={"y": panel.position.y - first + pushed})
        values = chosen[panel.repeat].values if panel.repeat in chosen else ()
        if not panel.repeat or not values:
            found.append(Placed(panel, grid, chosen))
            continue
        beside = min(len(values), panel.per_row)
        width = _COLUMNS // beside
        for index, value in enumerate(values):
            spot = {"x": width * (index % beside), "y": grid.y + grid.h * (index // beside), "w": width}
            one = {**chosen, panel.repeat: Chosen(chosen[panel.repeat].variable, (value,))}
            found.append(Placed(panel, grid.model_copy(update=spot), one))
        pushed += grid.h * ((len(values) - 1) // beside)
    return found


def _height(group: Sequence[Placed]) -> int:
    return max(placed.position.y + placed.position.h for placed in group)


def _head(canvas: Canvas, dashboard: Dashboard, shown: Shown) -> None:
    canvas.text(_MARGIN, _HEAD / 2, dashboard.title, 15, bold=True)
    end = datetime.fromtimestamp(shown.window.end, UTC)
    words = f"{text(shown.window.seconds, 's')} until {end:%Y-%m-%d %H:%M:%S} UTC"
    canvas.text(canvas.width - _MARGIN, _HEAD / 2, words, 10.5, palette.FAINT, align="right")


def _draw_panel(canvas: Canvas, panel: Panel, shown: Shown, box: Box) -> bool:
    """Draw one panel; whether it had something to show."""
    canvas.card(box)
    canvas.text(box.x + 7, box.y + _TITLE / 2 + 1, shown.title(panel), 11, bold=True, room=box.width - 12, smallest=8)
    inner = box.inside(8, _TITLE + 2, 8, 6)
    if panel.kind == "text":
        _words(canvas, str(panel.options.get("content", "")), inner)
        return True
    if panel.kind not in _KINDS:
        raise DashboardError(
            f"Panel '{panel.title}' is a {panel.kind}, which is not drawn. Drawn: {', '.join(_KINDS)}, text."
        )
    found = [curve for curve in curves(panel, shown) if curve.last is not None]
    if not found:
        nothing = str(panel.config.defaults.get("noValue", "")) or "no data"
        canvas.text(box.x + box.width / 2, inner.y + inner.height / 2, nothing, 12, palette.FAINT, align="center")
        return False
    _KINDS[panel.kind](canvas, panel, found, shown.window, inner)
    return True


def _words(canvas: Canvas, content: str, box: Box) -> None:
    lines = [line for part in content.splitlines() for line in canvas.wrapped(part.lstrip("# "), 10.5, box.width)]
    for number, line in enumerate(lines[: int(box.height // 14)]):
        canvas.text(box.x, box.y + 14 * (number + 0.5), line, 10.5)

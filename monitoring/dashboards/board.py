"""A dashboard put together: panels numbered and placed under their headings, variables, links and annotations."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from monitoring.dashboards.queries import DATASOURCE, Need, Tile
from runtime.errors import MillisightError

__all__ = ["COLUMNS", "TAG", "Annotation", "Board", "Section", "WidthError", "build"]

COLUMNS = 24
"""Width of Grafana's grid."""

TAG = "millisight"
"""What all dashboards have in common, and by which they link to each other."""


class WidthError(MillisightError):
    """A panel is wider than the grid."""


@dataclass(frozen=True)
class Annotation:
    """Moments, or spans of time, marked on all graphs of a dashboard.

    Attributes:
        name: Shown with the mark and beside its switch.
        expr: PromQL; marks are where it is above 0, with the values of its labels.
        color: Of the mark.
    """

    name: str
    expr: str
    color: str


@dataclass(frozen=True)
class Section:
    """Panels under one heading, from left to right and then down.

    Attributes:
        title: The heading.
        tiles: In reading order.
        collapsed: Whether only the heading is seen at first.
    """

    title: str
    tiles: tuple[Tile, ...]
    collapsed: bool = False


@dataclass(frozen=True)
class Board:
    """A dashboard before it is Grafana's.

    Attributes:
        slug: Name of its file, without ending.
        uid: Its identity in Grafana.
        title: Its name.
        description: The question it answers.
        variables: Besides the data source, in the order in which they are chosen.
        sections: From top to bottom.
        annotations: Marked on all graphs.
        since: Beginning of the time shown at first, such as `now-1h`.
        refresh: How often it is asked again, such as `30s`.
    """

    slug: str
    uid: str
    title: str
    description: str
    variables: tuple[models.VariableModel, ...]
    sections: tuple[Section, ...]
    annotations: tuple[Annotation, ...] = ()
    since: str = "now-1h"
    refresh: str = "30s"

    def needs(self) -> Mapping[str, Need]:
        """Titles of the panels that are empty as long as something is not there, and what."""
        tiles = [tile for section in self.sections for tile in section.tiles]
        return {str(tile.panel.title): tile.needs for tile in tiles if tile.needs is not None}


def build(board: Board, datasource: models.VariableModel) -> models.Dashboard:
    """The dashboard as the SDK has it; the same board always gives the same.

    Args:
        board: What it holds.
        datasource: The variable by which the data source is chosen.

    Raises:
        WidthError: A panel is wider than the grid.
    """
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG])
        .timezone("browser")
        .time(board.since, "now")
        .refresh(board.refresh)
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .editable()
        .links(_links())
        .annotations([_annotation(annotation) for annotation in board.annotations])
        .build()
    )
    made.templating.list_val = [datasource, *board.variables]
    made.panels = list(_placed(board.sections))
    return made


def _links() -> list[Builder[models.DashboardLink]]:
    others = dashboard.DashboardLink("millisight").type(models.DashboardLinkType.DASHBOARDS).tags([TAG])
    docs = dashboard.DashboardLink("Docs").type(models.DashboardLinkType.LINK).url("${docs}/monitoring.md")
    return [
        others.include_vars(True).keep_time(True).tooltip("The other dashboards, same choice and time"),
        docs.icon("doc").target_blank(True).tooltip("What is measured, and what the alerts mean"),
    ]


def _annotation(annotation: Annotation) -> dashboard.AnnotationQuery:
    made = dashboard.AnnotationQuery().name(annotation.name).datasource(DATASOURCE).enable(True)
    return made.icon_color(annotation.color).expr(annotation.expr)


def _placed(sections: tuple[Section, ...]) -> Iterator[models.Panel | models.RowPanel]:
    number, y = 0, 0
    for section in sections:
        number += 1
        place = models.GridPos(x=0, y=y, w=COLUMNS, h=1)
        row = models.RowPanel(title=section.title, id_val=number, grid_pos=place, collapsed=section.collapsed)
        panels = list[models.Panel]()
        for tile, (x, line) in _flow(section.tiles, y + 1):
            number += 1
            panel = copy.copy(tile.panel)
            panel.id_val, panel.grid_pos = number, models.GridPos(x=x, y=line, w=tile.width, h=tile.height)
            panels.append(panel)
        yield row
        if section.collapsed:
            # Grafana keeps the panels of a closed row in the row, and what follows stands right below it.
            row.panels = panels
            y += 1
        else:
            yield from panels
            y = max((panel.grid_pos.y + panel.grid_pos.h for panel in panels if panel.grid_pos), default=y + 1)


def _flow(tiles: tuple[Tile, ...], top: int) -> Iterator[tuple[Tile, tuple[int, int]]]:
    """Each tile with its place: beside the one before it as long as there is room, else below the line."""
    x, y, height = 0, top, 0
    for tile in tiles:
        if not 0 < tile.width <= COLUMNS:
            raise WidthError(f"Panel '{tile.panel.title}' is {tile.width} columns wide. The grid has 1 to {COLUMNS}.")
        if x + tile.width > COLUMNS:
            x, y, height = 0, y + height, 0
        yield tile, (x, y)
        x, height = x + tile.width, max(height, tile.height)

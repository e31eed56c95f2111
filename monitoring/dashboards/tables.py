"""Panels that list what there is: labels and values of now, a line for each series."""

from __future__ import annotations

from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, table
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from monitoring.dashboards.looks import Steps, Unit
from monitoring.dashboards.queries import (
    DATASOURCE,
    Need,
    Query,
    Tile,
    change,
    letter,
    query_of,
    runbook_links,
    steps_of,
)  # fmt: skip

__all__ = ["Column", "listing"]


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        source: A label's name, or the letter of the query whose value it shows.
        title: Its heading.
        unit: One of `Unit`; a label is a text.
        steps: Where the colour of a cell changes; none: plain.
        link: Where a click leads, with Grafana's variables such as `${__data.fields.report}`; empty: nowhere.
        link_title: What the link says of itself.
        mappings: Texts for values.
        width: Pixels; None: its share.
    """

    source: str
    title: str
    unit: str = Unit.TEXT
    steps: Steps = ()
    link: str = ""
    link_title: str = ""
    mappings: tuple[tuple[str, str, str], ...] = ()
    width: int | None = None


def listing(
    title: str,
    description: str,
    *queries: str,
    columns: tuple[Column, ...],
    sort: str = "",
    descending: bool = False,
    width: int = 24,
    height: int = 8,
    nothing: str = "–",
    runbook: str = "",
    needs: Need | None = None,
) -> Tile:
    """A table with one line for each set of labels that the queries share.

    Args:
        title: Unique on its dashboard.
        description: What to look for and what to do, a sentence or two.
        queries: PromQL; lines of several are joined where the labels they have in common agree.
        columns: From left to right; everything else is left out.
        sort: Heading of the column by which lines are sorted; empty: as they come.
        descending: Whether the largest is first.
        width: Columns of the grid.
        height: Rows of the grid.
        nothing: What is shown where there is no line.
        runbook: Alert whose page is linked.
        needs: What has to be there for it to show anything.
    """
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .no_value(nothing)
        .show_header(True)
        .align(common_models.FieldTextAlignment.AUTO)
        .cell_options(common_models.TableAutoCellOptions())
        .cell_height(common_models.TableCellHeight.SM)
        .links(runbook_links(runbook))
    )
    for index, expr in enumerate(queries):
        query = Query(expr, letter(index))
        panel = panel.with_target(query_of(query, index, instant=True, kind=PromQueryFormat.TABLE))
    for transformation in _transformations(columns, len(queries)):
        panel = panel.with_transformation(transformation)
    for column in columns:
        panel = panel.override_by_name(column.title, _override(column))
    if sort:
        panel = panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(descending)])
    return Tile(panel.build(), width, height, needs)


def _transformations(columns: tuple[Column, ...], queries: int) -> list[models.DataTransformerConfig]:
    fields = [_field(column.source, queries) for column in columns]
    found = [models.DataTransformerConfig("merge", options={})] if queries > 1 else []
    found.append(models.DataTransformerConfig("filterFieldsByName", options={"include": {"names": fields}}))
    order = {field: index for index, field in enumerate(fields)}
    names = {field: column.title for field, column in zip(fields, columns, strict=True)}
    organize = {"excludeByName": {}, "includeByName": {}, "indexByName": order, "renameByName": names}
    return [*found, models.DataTransformerConfig("organize", options=organize)]


def _field(source: str, queries: int) -> str:
    """What Grafana calls the field of a label, or of a query's value."""
    if len(source) > 1:
        return source
    return f"Value #{source}" if queries > 1 else "Value"


def _override(column: Column) -> list[models.DynamicConfigValue]:
    found = [change("unit", column.unit)]
    if column.steps:
        found.append(change("thresholds", steps_of(column.steps).build()))
        found.append(change("custom.cellOptions", {"type": "color-text"}))
        found.append(change("color", {"mode": models.FieldColorModeId.THRESHOLDS}))
    if column.mappings:
        options = {
            value: models.ValueMappingResult(text=text, color=color, index=index)
            for index, (value, text, color) in enumerate(column.mappings)
        }
        found.append(change("mappings", [models.ValueMap(options=options)]))
        found.append(change("custom.cellOptions", {"type": "color-text"}))
    if column.link:
        found.append(change("links", [{"title": column.link_title, "url": column.link, "targetBlank": True}]))
    if column.width is not None:
        found.append(change("custom.width", column.width))
    return found

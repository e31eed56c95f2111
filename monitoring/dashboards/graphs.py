"""Panels that show a course over time: lines, stacks, and heat maps of histograms."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from grafana_foundation_sdk.builders import common, dashboard, heatmap, timeseries
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models.dashboard import FieldColorModeId
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from monitoring.dashboards.looks import PLAIN, Steps, Unit
from monitoring.dashboards.queries import (
    DATASOURCE,
    Need,
    Query,
    Tile,
    change,
    letter,
    override_of,
    query_of,
    runbook_links,
    steps_of,
)  # fmt: skip

__all__ = ["graph", "heat"]


def graph(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    lines: Steps = (),
    stacked: Literal["", "normal", "percent"] = "",
    width: int = 8,
    height: int = 8,
    bottom: float | None = 0,
    top: float | None = None,
    colors: Mapping[str, str] = MappingProxyType({}),
    logarithmic: bool = False,
    table: bool = False,
    runbook: str = "",
    repeat: str = "",
    needs: Need | None = None,
) -> Tile:
    """Series over time.

    Args:
        title: Unique on its dashboard.
        description: What to look for and what to do, a sentence or two.
        unit: One of `Unit`.
        queries: At least one.
        lines: Values at which a dashed line is drawn over the whole width, with their colours.
        stacked: Whether series stand on each other, as values or as parts of all.
        width: Columns.
        height: Rows of the grid.
        bottom: The axis reaches at least down to this; None: as far as the data.
        top: The axis reaches at least up to this; None: as far as the data.
        colors: Shades of which colour the series have whose names match a pattern.
        logarithmic: Whether the axis is; then it has no bottom.
        table: Whether the legend is a table with the last and the largest value.
        runbook: Alert whose page is linked.
        repeat: Variable of which each chosen value gets a panel of its own.
        needs: What has to be there for it to show anything.
    """
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .legend(_legend(table))
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_models.TooltipDisplayMode.MULTI)
            .sort(common_models.SortOrder.DESCENDING)
        )
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .draw_style(common_models.GraphDrawStyle.LINE)
        .line_width(1)
        .fill_opacity(60 if stacked else 8)
        .show_points(common_models.VisibilityMode.NEVER)
        .stacking(common.StackingConfig().mode(common_models.StackingMode(stacked or "none")).group("A"))
        .links(runbook_links(runbook))
    )
    if lines:
        style = common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(steps_of(((None, "transparent"), *lines))).thresholds_style(style)
    if logarithmic:
        scale = common.ScaleDistributionConfig().type(common_models.ScaleDistribution.LOG).log(10)
        panel = panel.scale_distribution(scale)
    elif bottom is not None:
        panel = panel.axis_soft_min(bottom)
    if top is not None:
        panel = panel.axis_soft_max(top)
    if repeat:
        panel = panel.repeat(repeat).max_per_row(2)
    for index, query in enumerate(queries):
        panel = panel.with_target(query_of(query, index))
        if query.look != PLAIN:
            panel = panel.override_by_query(letter(index), override_of(query.look))
    for pattern, color in colors.items():
        panel = panel.override_by_regexp(f"/{pattern}/", [change("color", {"mode": "shades", "fixedColor": color})])
    return Tile(panel.build(), width, height, needs)


def heat(title: str, description: str, unit: str, expr: str, *, width: int = 8, height: int = 8) -> Tile:
    """The buckets of a histogram over time, the darker the more observations.

    Args:
        title: Unique on its dashboard.
        description: What to look for and what to do, a sentence or two.
        unit: One of `Unit`, of the buckets.
        expr: Gives one series for each bucket, by the label `le`.
        width: Columns.
        height: Rows of the grid.
    """
    colors = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64).exponent(0.5)
    panel = (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(common_models.AxisPlacement.LEFT))
        .cell_values(heatmap.CellValues().unit(Unit.COUNT))
        .color(colors.fill("dark-orange").reverse(False))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .show_legend()
        .scale_distribution(common.ScaleDistributionConfig().type(common_models.ScaleDistribution.LINEAR))
        .with_target(query_of(Query(expr, "{{le}}"), 0, kind=PromQueryFormat.HEATMAP))
    )
    return Tile(panel.build(), width, height)


def _legend(table: bool) -> common.VizLegendOptions:
    mode = common_models.LegendDisplayMode.TABLE if table else common_models.LegendDisplayMode.LIST
    legend = common.VizLegendOptions().show_legend(True).placement(common_models.LegendPlacement.BOTTOM)
    return legend.display_mode(mode).calcs(["lastNotNull", "max"] if table else [])

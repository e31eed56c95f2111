"""Panels that show values of now: a number seen from afar, and bars beside each other."""

from __future__ import annotations

from grafana_foundation_sdk.builders import bargauge, common, dashboard, stat
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models.dashboard import FieldColorModeId

from monitoring.dashboards.looks import Steps
from monitoring.dashboards.queries import DATASOURCE, Need, Query, Tile, query_of, runbook_links, steps_of

__all__ = ["bars", "number"]


def number(
    title: str,
    description: str,
    unit: str,
    query: Query,
    *,
    steps: Steps = ((None, "text"),),
    width: int = 4,
    height: int = 4,
    decimals: int | None = None,
    nothing: str = "–",
    trend: bool = True,
    runbook: str = "",
    needs: Need | None = None,
) -> Tile:
    """One number, in the colour of its meaning.

    Args:
        title: Unique on its dashboard.
        description: What to look for and what to do, a sentence or two.
        unit: One of `Unit`.
        query: Gives one series, or a few.
        steps: Where its colour changes.
        width: Columns.
        height: Rows of the grid.
        decimals: Digits after the point; None: as many as help.
        nothing: What is shown where there is no series.
        trend: Whether its course is drawn behind it; without, it is asked for the end of the time shown only.
        runbook: Alert whose page is linked.
        needs: What has to be there for it to show anything.
    """
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .no_value(nothing)
        .thresholds(steps_of(steps))
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
        .graph_mode(common_models.BigValueGraphMode.AREA if trend else common_models.BigValueGraphMode.NONE)
        .color_mode(common_models.BigValueColorMode.VALUE)
        .text_mode(common_models.BigValueTextMode.AUTO)
        .links(runbook_links(runbook))
        .with_target(query_of(query, 0, instant=not trend))
    )
    if decimals is not None:
        panel = panel.decimals(decimals)
    return Tile(panel.build(), width, height, needs)


def bars(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    steps: Steps,
    width: int = 8,
    height: int = 8,
    low: float | None = 0,
    high: float | None = None,
    decimals: int | None = None,
    runbook: str = "",
    needs: Need | None = None,
) -> Tile:
    """Values beside each other, as bars in the colour of their meaning.

    Args:
        title: Unique on its dashboard.
        description: What to look for and what to do, a sentence or two.
        unit: One of `Unit`.
        queries: At least one.
        steps: Where the colour of a bar changes.
        width: Columns.
        height: Rows of the grid.
        low: Where bars begin; None: by the data.
        high: Where they end; None: by the data.
        decimals: Digits after the point; None: as many as help.
        runbook: Alert whose page is linked.
        needs: What has to be there for it to show anything.
    """
    panel = (
        bargauge.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .thresholds(steps_of(steps))
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .orientation(common_models.VizOrientation.HORIZONTAL)
        .display_mode(common_models.BarGaugeDisplayMode.BASIC)
        .value_mode(common_models.BarGaugeValueMode.COLOR)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
        .links(runbook_links(runbook))
    )
    if low is not None:
        panel = panel.min(low)
    if high is not None:
        panel = panel.max(high)
    if decimals is not None:
        panel = panel.decimals(decimals)
    for index, query in enumerate(queries):
        panel = panel.with_target(query_of(query, index, instant=True))
    return Tile(panel.build(), width, height, needs)

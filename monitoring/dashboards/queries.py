"""What the panels of all kinds are made of: queries, thresholds, overrides and links, as the SDK has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grafana_foundation_sdk.builders import dashboard, prometheus
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from monitoring.dashboards.looks import PLAIN, Look, Steps

__all__ = [
    "DATASOURCE",
    "Need",
    "Query",
    "Tile",
    "change",
    "letter",
    "override_of",
    "query_of",
    "runbook_links",
    "steps_of",
]

DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
"""What every panel asks: the data source that is chosen at the top."""

Need = Literal["gpu", "jobs", "alert", "trouble"]
"""What has to be there for a panel to have series: an NVIDIA GPU, a job, an alert that fires, something gone wrong."""


@dataclass(frozen=True)
class Query:
    """One query of a panel.

    Attributes:
        expr: PromQL, with Grafana's variables.
        legend: Name of its series, `{{label}}` in it.
        look: How its series are drawn.
    """

    expr: str
    legend: str
    look: Look = PLAIN


@dataclass(frozen=True)
class Tile:
    """A panel that has no number and no place yet; `board` gives it both.

    Attributes:
        panel: As the SDK has it.
        width: Columns, 1 to 24.
        height: Rows of the grid, above 0.
        needs: What has to be there for it to show anything; None: a service under load, or a run.
    """

    panel: models.Panel
    width: int
    height: int
    needs: Need | None = None


def letter(index: int) -> str:
    """The letter by which a panel refers to its query: A for the first."""
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[index]


def query_of(
    query: Query, index: int, *, instant: bool = False, kind: PromQueryFormat = PromQueryFormat.TIME_SERIES
) -> prometheus.Dataquery:
    """A query as the SDK has it.

    Args:
        query: What is asked.
        index: Its place in the panel, from 0.
        instant: Whether it is asked for the end of the time shown only.
        kind: The form of the answer.
    """
    made = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(letter(index)).format(kind)
    return (made.instant() if instant else made.range()).datasource(DATASOURCE)


def steps_of(steps: Steps) -> dashboard.ThresholdsConfig:
    """Thresholds as the SDK has them."""
    found = [models.Threshold(value=value, color=color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(found)


def change(name: str, value: object) -> models.DynamicConfigValue:
    """One property that an override sets, by Grafana's name for it."""
    return models.DynamicConfigValue(name, value)


def override_of(look: Look) -> list[models.DynamicConfigValue]:
    """What a look changes of the panel's own way to draw."""
    found = [change("custom.lineWidth", look.width)]
    if look.color is not None:
        mode = models.FieldColorModeId.SHADES if look.shades else models.FieldColorModeId.FIXED
        found.append(change("color", {"mode": mode, "fixedColor": look.color}))
    if look.dashed:
        found.append(change("custom.lineStyle", {"fill": "dash", "dash": [8, 6]}))
        # A line across a stack does not stand on it.
        found.append(change("custom.stacking", {"mode": "none", "group": "A"}))
    if look.fill is not None:
        found.append(change("custom.fillOpacity", look.fill))
    return found


def runbook_links(alert: str) -> list[Builder[models.DashboardLink]]:
    """The link to the page of an alert, in a panel's corner; none without an alert."""
    if not alert:
        return []
    link = dashboard.DashboardLink(f"Runbook: {alert}").type(models.DashboardLinkType.LINK)
    return [link.url(f"${{docs}}/runbooks/{alert}.md").target_blank(True)]

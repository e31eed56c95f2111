"""A dashboard of Grafana as typed panels: what is asked, and how it wants to be drawn.

Read from the JSON that Grafana itself reads, so that what is drawn or checked from it is what an operator would see.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from monitoring.variables import Variable
from runtime.errors import MillisightError

__all__ = [
    "Annotation",
    "Dashboard",
    "DashboardError",
    "GridPosition",
    "Panel",
    "Query",
    "Row",
    "legend_name",
    "read_dashboard",
]

_LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")


class DashboardError(MillisightError):
    """A file is no dashboard of Grafana, or asks for something that is not read here."""


class Part(BaseModel):
    """A part of a dashboard; the hundreds of keys of Grafana that nobody here reads are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class GridPosition(Part):
    """Place of a panel: 24 columns, rows of 30 pixels and 8 between them; `x` and `y` from the upper left."""

    x: int = 0
    y: int = 0
    w: int = 24
    h: int = 8


class Query(Part):
    """One query of a panel.

    Attributes:
        expr: PromQL with Grafana's variables.
        legend: Format of the names of its series, `{{label}}` in it; empty or `__auto`: all labels.
        format: `time_series`, `table` or `heatmap`.
        instant: Whether it is asked for the end of the time shown only.
        ref: Its letter.
        hidden: Whether it is switched off.
    """

    expr: str
    legend: Annotated[str, Field(alias="legendFormat")] = ""
    format: str = "time_series"
    instant: bool = False
    ref: Annotated[str, Field(alias="refId")] = "A"
    hidden: Annotated[bool, Field(alias="hide")] = False


class Override(Part):
    """Properties of those series of a panel that a matcher names."""

    matcher: dict[str, Any]
    properties: tuple[dict[str, Any], ...] = ()


class _FieldConfig(Part):
    defaults: dict[str, Any] = {}
    overrides: tuple[Override, ...] = ()


class Transformation(Part):
    """What is done to the answers before they are drawn, such as leaving columns out."""

    id: str
    options: dict[str, Any] = {}


class Panel(Part):
    """One panel.

    Attributes:
        id: Its number, unique in the dashboard.
        title: Above it.
        description: What it means, for people.
        kind: `timeseries`, `stat`, `bargauge`, `heatmap`, `table`, ...
        position: Where it stands.
        queries: What it asks; none in a text.
        config: How series are drawn: defaults and overrides (see `monitoring.fields`).
        options: Of its kind.
        transformations: In their order.
        row: Title of the row that it stands under, empty above the first.
        repeat: Variable of which each chosen value gets a panel of its own; empty: none.
        per_row: Of these beside each other at most.
    """

    id: int
    title: str = ""
    description: str = ""
    kind: Annotated[str, Field(alias="type")]
    position: Annotated[GridPosition, Field(alias="gridPos")]
    queries: Annotated[tuple[Query, ...], Field(alias="targets")] = ()
    config: Annotated[_FieldConfig, Field(alias="fieldConfig")] = _FieldConfig()
    options: dict[str, Any] = {}
    transformations: tuple[Transformation, ...] = ()
    row: str = ""
    repeat: str = ""
    per_row: Annotated[int, Field(alias="maxPerRow", ge=1)] = 4


class Row(Part):
    """A heading over panels, which it holds itself while it is collapsed."""

    title: str = ""
    position: Annotated[GridPosition, Field(alias="gridPos")]
    collapsed: bool = False
    panels: tuple[dict[str, Any], ...] = ()


class _VariableModel(Part):
    name: str
    type: str
    query: str | dict[str, Any] = ""
    definition: str = ""
    multi: bool = False
    include_all: Annotated[bool, Field(alias="includeAll")] = False
    all_value: Annotated[str, Field(alias="allValue")] = ""
    regex: str = ""

    def variable(self) -> Variable:
        query = self.query if isinstance(self.query, str) else str(self.query.get("query", self.definition))
        return Variable(self.name, self.type, query, self.multi, self.include_all, self.all_value or None, self.regex)


class Annotation(Part):
    """Moments marked on all graphs: where a query gives more than 0."""

    name: str
    expr: str


class Dashboard(Part):
    """A dashboard.

    Attributes:
        uid: Its identity in Grafana.
        title: Its name.
        description: What it answers.
        panels: All panels in the order of the file, those of collapsed rows too.
        rows: Headings in the order of the file.
        variables: In the order in which they are chosen.
        annotations: What is marked on its graphs.
    """

    uid: str
    title: str
    description: str = ""
    panels: tuple[Panel, ...] = ()
    rows: tuple[Row, ...] = ()
    variables: tuple[Variable, ...] = ()
    annotations: tuple[Annotation, ...] = ()

    def queries(self) -> Iterator[tuple[Panel, Query]]:
        """Every query that is switched on, with its panel."""
        return ((panel, query) for panel in self.panels for query in panel.queries if not query.hidden)


def read_dashboard(path: Path) -> Dashboard:
    """Read the JSON of a dashboard, in the form that Grafana exports and provisions.

    Raises:
        DashboardError: The file is not there, no JSON, or no dashboard.
    """
    try:
        content = _set_values(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise DashboardError(f"{path} is no dashboard that can be read: {error}.") from error
    if not isinstance(content, dict) or not isinstance(content.get("panels"), list):
        raise DashboardError(f"{path} is no dashboard: it has no list of panels. Export it from Grafana as JSON.")
    try:
        return _dashboard(content)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:5])
        raise DashboardError(f"{path} is no dashboard that can be read: {faults}.") from error


def legend_name(query: Query, labels: dict[str, str], expr: str) -> str:
    """The name of a series under a graph.

    Args:
        query: That gave it.
        labels: Of the series.
        expr: The query as it was asked; the name of a series without labels.
    """
    if query.legend not in ("", "__auto"):
        return _LABEL.sub(lambda match: labels.get(match[1], ""), query.legend)
    name = labels.get("__name__", "")
    pairs = ", ".join(f'{key}="{value}"' for key, value in sorted(labels.items()) if key != "__name__")
    return f"{name}{{{pairs}}}" if pairs else name or expr


def _dashboard(content: dict[str, Any]) -> Dashboard:
    panels, rows = list[Panel](), list[Row]()
    for raw in content["panels"]:
        if raw.get("type") == "row":
            rows.append(Row.model_validate(raw))
            panels += [Panel.model_validate({**inner, "row": rows[-1].title}) for inner in rows[-1].panels]
        else:
            panels.append(Panel.model_validate({**raw, "row": rows[-1].title if rows else ""}))
    variables = content.get("templating", {}).get("list", ())
    head = {key: content.get(key, "") for key in ("uid", "title", "description")}
    found = [_VariableModel.model_validate(raw).variable() for raw in variables]
    marks = [mark for mark in content.get("annotations", {}).get("list", ()) if mark.get("expr")]
    return Dashboard.model_validate(head | {"panels": panels, "rows": rows, "variables": found, "annotations": marks})


def _set_values(part: Any) -> Any:
    """The same without keys whose value is null, which is Grafana's way to say that they are not set."""
    if isinstance(part, dict):
        return {key: _set_values(value) for key, value in part.items() if value is not None}
    return [_set_values(value) for value in part] if isinstance(part, list) else part

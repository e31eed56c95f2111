"""What a dashboard's JSON must not be: two panels of one number, a graph without a unit, a variable that nobody set.

Works on the JSON that Grafana reads, whoever wrote it. What dashboards and rules ask for is checked in `lint_metrics`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Finding", "lint_dashboard", "panels_of", "references"]

_COLUMNS = 24
_REFERENCE = re.compile(r"\$\{(\w+)[^}]*\}|\$(\w+)|\[\[(\w+)")
_WITH_UNIT = ("timeseries", "stat", "bargauge", "heatmap", "gauge")
_WITH_LEGEND = ("timeseries", "stat", "bargauge")

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        dashboard: Title of the dashboard; empty where it is about none in particular.
        panel: Title of the panel, or empty.
        text: What is wrong.
    """

    dashboard: str
    panel: str
    text: str

    def __str__(self) -> str:
        place = " / ".join(part for part in (self.dashboard, self.panel) if part)
        return f"{place}: {self.text}" if place else self.text


def lint_dashboard(content: Json) -> tuple[Finding, ...]:
    """Find what is wrong with one dashboard.

    Args:
        content: Its JSON, parsed.
    """
    name = str(content.get("title", ""))
    found = [*_unique(content), *_texts(content), *_units(content), *_datasources(content), *_variables(content)]
    found += _grid(content)
    return tuple(Finding(name, panel, text) for panel, text in found)


def panels_of(content: Json) -> Iterator[Json]:
    """All panels but headings, those of closed rows too."""
    for panel in content.get("panels", ()):
        if panel.get("type") == "row":
            yield from panel.get("panels", ())
        else:
            yield panel


def references(part: object) -> Iterator[str]:
    """Names of the dashboard's variables in any text within; Grafana's own (`__range`) and `$1` are left out."""
    if isinstance(part, str):
        for match in _REFERENCE.finditer(part):
            name = match[1] or match[2] or match[3]
            if not name.startswith("__") and not name.isdigit():
                yield name
    elif isinstance(part, Mapping):
        for value in part.values():
            yield from references(value)
    elif isinstance(part, Sequence):
        for value in part:
            yield from references(value)


def _title(panel: Json) -> str:
    return str(panel.get("title", "")) or f"panel {panel.get('id')}"


def _unique(content: Json) -> Iterator[tuple[str, str]]:
    panels = [*panels_of(content)]
    numbered = panels + [panel for panel in content.get("panels", ()) if panel.get("type") == "row"]
    for number, times in Counter(panel.get("id") for panel in numbered).items():
        if times > 1 or not isinstance(number, int):
            yield "", f"{times} panels have the id {number}"
    for title, times in Counter(panel.get("title", "") for panel in panels).items():
        if times > 1:
            yield title, f"{times} panels have this title"


def _texts(content: Json) -> Iterator[tuple[str, str]]:
    if not content.get("description") or not content.get("uid"):
        yield "", "the dashboard needs a description and a uid"
    for panel in panels_of(content):
        if not panel.get("title"):
            yield _title(panel), "no title"
        if not str(panel.get("description", "")).endswith((".", "?")):
            yield _title(panel), "no description in whole sentences"
        if panel.get("type") in _WITH_LEGEND and not all(target.get("legendFormat") for target in _targets(panel)):
            yield _title(panel), "a query whose series have no name (legendFormat)"
        if panel.get("type") == "timeseries" and not panel.get("options", {}).get("legend", {}).get("showLegend"):
            yield _title(panel), "the legend is switched off"


def _units(content: Json) -> Iterator[tuple[str, str]]:
    for panel in panels_of(content):
        config = panel.get("fieldConfig", {})
        if panel.get("type") in _WITH_UNIT and not config.get("defaults", {}).get("unit"):
            yield _title(panel), "no unit"
        if panel.get("type") == "heatmap" and not panel.get("options", {}).get("yAxis", {}).get("unit"):
            yield _title(panel), "no unit on the axis"
        if panel.get("type") == "table":
            united = {
                override["matcher"].get("options")
                for override in config.get("overrides", ())
                if any(change["id"] == "unit" and change.get("value") for change in override["properties"])
            }
            for column in _columns(panel):
                if column not in united:
                    yield _title(panel), f"column '{column}' has no unit"


def _columns(table: Json) -> Iterator[str]:
    for transformation in table.get("transformations", ()):
        if transformation["id"] == "organize":
            yield from transformation["options"]["renameByName"].values()


def _datasources(content: Json) -> Iterator[tuple[str, str]]:
    wanted = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels_of(content):
        asked = [panel.get("datasource"), *(target.get("datasource") for target in _targets(panel))]
        if any(source != wanted for source in asked):
            yield _title(panel), "it does not ask the data source that is chosen (${datasource})"
    for annotation in content.get("annotations", {}).get("list", ()):
        if annotation.get("datasource") != wanted:
            yield "", f"annotation '{annotation.get('name')}' does not ask the data source that is chosen"
    for variable in _defined(content):
        if variable.get("type") == "query" and variable.get("datasource") != wanted:
            yield "", f"variable ${variable.get('name')} does not ask the data source that is chosen"


def _variables(content: Json) -> Iterator[tuple[str, str]]:
    defined = [str(variable["name"]) for variable in _defined(content)]
    for name, times in Counter(defined).items():
        if times > 1:
            yield "", f"variable ${name} is defined {times} times"
    used = {name for panel in panels_of(content) for name in references(panel)}
    used |= {panel["repeat"] for panel in panels_of(content) if panel.get("repeat")}
    used |= {*references(content.get("annotations", {})), *references(content.get("links", ()))}
    # A variable that only narrows another is used too.
    asked = {name for variable in _defined(content) for name in references(variable.get("query"))}
    for name in sorted((used | asked) - {*defined}):
        yield "", f"${name} is used and not defined"
    for name in sorted({*defined} - used - asked):
        yield "", f"${name} is defined and not used"


def _grid(content: Json) -> Iterator[tuple[str, str]]:
    yield from _overlaps(content.get("panels", ()))
    for panel in content.get("panels", ()):
        if panel.get("type") == "row":
            yield from _overlaps(panel.get("panels", ()))


def _overlaps(panels: Sequence[Json]) -> Iterator[tuple[str, str]]:
    taken = dict[tuple[int, int], str]()
    for panel in panels:
        place = panel.get("gridPos")
        if not place or place["w"] < 1 or place["h"] < 1 or place["x"] < 0 or place["x"] + place["w"] > _COLUMNS:
            yield _title(panel), f"it has no place within the {_COLUMNS} columns"
            continue
        cells = [
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        others = sorted({taken[cell] for cell in cells if cell in taken})
        if others:
            yield _title(panel), f"it lies over {', '.join(others)}"
        taken.update(dict.fromkeys(cells, _title(panel)))


def _targets(panel: Json) -> Sequence[Json]:
    found: Sequence[Json] = panel.get("targets", ())
    return found


def _defined(content: Json) -> Sequence[Json]:
    found: Sequence[Json] = content.get("templating", {}).get("list", ())
    return found

"""How a series of a panel wants to look: the panel's defaults, changed by the overrides that match the series."""

from __future__ import annotations

import copy
import re
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from monitoring.panels import DashboardError, Override, Panel, Part

__all__ = ["Look", "Threshold", "look"]


class Threshold(Part):
    """From `value` on, in the field's unit, the colour is this one; without a value it is that of everything below."""

    value: float | None = None
    color: str


class _Thresholds(Part):
    mode: Literal["absolute", "percentage"] = "absolute"
    steps: tuple[Threshold, ...] = ()


class _Color(Part):
    mode: str = "palette-classic"
    fixed: Annotated[str, Field(alias="fixedColor")] = ""


class _LineStyle(Part):
    fill: Literal["solid", "dash", "dot", "square"] = "solid"


class _Stacking(Part):
    mode: Literal["none", "normal", "percent"] = "none"


class _ThresholdsStyle(Part):
    mode: str = "off"


class _Scale(Part):
    type: Literal["linear", "log", "symlog", "ordinal"] = "linear"


class _Hidden(Part):
    viz: bool = False
    legend: bool = False


class _Custom(Part):
    draw: Annotated[str, Field(alias="drawStyle")] = "line"
    fill_opacity: Annotated[float, Field(alias="fillOpacity")] = 0
    width: Annotated[float, Field(alias="lineWidth")] = 1
    interpolation: Annotated[str, Field(alias="lineInterpolation")] = "linear"
    style: Annotated[_LineStyle, Field(alias="lineStyle")] = _LineStyle()
    stacking: _Stacking = _Stacking()
    thresholds: Annotated[_ThresholdsStyle, Field(alias="thresholdsStyle")] = _ThresholdsStyle()
    scale: Annotated[_Scale, Field(alias="scaleDistribution")] = _Scale()
    hidden: Annotated[_Hidden, Field(alias="hideFrom")] = _Hidden()
    axis: Annotated[str, Field(alias="axisPlacement")] = "auto"
    axis_label: Annotated[str, Field(alias="axisLabel")] = ""
    soft_min: Annotated[float | None, Field(alias="axisSoftMin")] = None
    soft_max: Annotated[float | None, Field(alias="axisSoftMax")] = None


class Look(Part):
    """How one series, or one column of a table, is drawn.

    Attributes:
        unit: Grafana's name, such as `s`, `bytes` or `percentunit`; empty: none.
        decimals: Digits after the point; None: as many as help.
        min: Lower end of the axis; None: by the data.
        max: Upper end of the axis; None: by the data.
        name: Instead of the series' own; empty: none.
        no_value: What is shown where there is nothing.
        thresholds: Where colours change.
        color: Which colour, or how it is found.
        custom: What only one kind of panel knows.
        mappings: Texts for values, in Grafana's form.
    """

    unit: str = ""
    decimals: int | None = None
    min: float | None = None
    max: float | None = None
    name: Annotated[str, Field(alias="displayName")] = ""
    no_value: Annotated[str, Field(alias="noValue")] = ""
    thresholds: _Thresholds = _Thresholds()
    color: _Color = _Color()
    custom: _Custom = _Custom()
    mappings: tuple[dict[str, Any], ...] = ()

    def threshold_color(self, value: float) -> str | None:
        """Grafana's name for the colour of a value; None without thresholds."""
        found = None
        for step in self.thresholds.steps:
            if step.value is None or value >= step.value:
                found = step.color
        return found

    def mapped(self, value: float) -> str | None:
        """The text that stands for a value; None if it is shown as a number."""
        for mapping in self.mappings:
            options = mapping.get("options", {})
            if mapping.get("type") == "value" and (entry := options.get(f"{value:g}")):
                return str(entry.get("text", f"{value:g}"))
            if mapping.get("type") == "range":
                low, high = options.get("from", float("-inf")), options.get("to", float("inf"))
                if low <= value <= high:
                    return str(options.get("result", {}).get("text", f"{value:g}"))
        return None


def look(panel: Panel, name: str, ref: str = "A") -> Look:
    """How a series is drawn.

    Args:
        panel: That it belongs to.
        name: Of the series, or of the column.
        ref: Letter of the query that gave it.

    Raises:
        DashboardError: An override has a matcher that is not read here, or a value that cannot be.
    """
    values = copy.deepcopy(panel.config.defaults)
    for override in panel.config.overrides:
        if _matches(panel, override, name, ref):
            for change in override.properties:
                _put(values, str(change["id"]).split("."), change.get("value"))
    try:
        return Look.model_validate(values)
    except ValidationError as error:
        fault = error.errors()[0]
        raise DashboardError(
            f"Panel '{panel.title}': {'.'.join(map(str, fault['loc']))} of '{name}': {fault['msg']}."
        ) from error


def _matches(panel: Panel, override: Override, name: str, ref: str) -> bool:
    kind, wanted = override.matcher.get("id"), override.matcher.get("options")
    match kind:
        case "byName":
            return name == wanted
        case "byNames":
            return isinstance(wanted, dict) and name in wanted.get("names", ())
        case "byRegexp":
            return re.search(str(wanted).strip("/"), name) is not None
        case "byFrameRefID":
            return ref == wanted
        case _:
            raise DashboardError(
                f"Panel '{panel.title}' matches series {kind}. Read: byName, byNames, byRegexp, byFrameRefID."
            )


def _put(values: dict[str, Any], path: list[str], value: Any) -> None:
    for key in path[:-1]:
        values = values.setdefault(key, {})
    values[path[-1]] = value

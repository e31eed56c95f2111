"""Colours: Grafana's names for them on a light page, and a row of them for series that name none."""

from __future__ import annotations

import colorsys
import re

from monitoring.fields import Look
from monitoring.panels import DashboardError

__all__ = ["BORDER", "FAINT", "GRID", "INK", "PAGE", "PAPER", "of_series", "shade"]

PAGE, PAPER, BORDER = "#eef0f3", "#ffffff", "#d8dbe2"
INK, FAINT, GRID = "#24292e", "#626975", "#e6e8ec"

_HUES = {
    "green": "#3f9142",
    "yellow": "#d9a400",
    "red": "#d1293d",
    "blue": "#2f6fd0",
    "orange": "#e8710a",
    "purple": "#8f4bc4",
    "gray": "#8a919e",
    "text": INK,
    "white": "#ffffff",
    "black": "#000000",
    "transparent": "#ffffff00",
}
_LIGHTNESS = {"super-light": 1.55, "light": 1.3, "semi-dark": 0.82, "dark": 0.62}
_SHADES = (1.0, 1.35, 0.7, 1.6, 0.5)
_ROW = (
    "#2f6fd0",
    "#e8710a",
    "#3f9142",
    "#8f4bc4",
    "#d1293d",
    "#1795a5",
    "#d9a400",
    "#7a5233",
    "#d65fa8",
    "#626975",
    "#74a9f0",
    "#8cc26e",
)
_HEX = re.compile(r"#[0-9a-fA-F]{3,8}")
_RGB = re.compile(r"rgba?\(\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*(?:,\s*([0-9.]+)\s*)?\)")


def shade(name: str) -> str:
    """A colour of Grafana's as #rrggbb.

    Args:
        name: `green`, `semi-dark-red`, `#1f78c1`, `rgb(31, 120, 193)`.

    Raises:
        DashboardError: It is not known here.
    """
    if _HEX.fullmatch(name):
        return name
    if rgb := _RGB.fullmatch(name):
        return "#" + "".join(f"{int(rgb[index]):02x}" for index in (1, 2, 3))
    prefix = next((prefix for prefix in _LIGHTNESS if name.startswith(f"{prefix}-")), "")
    hue = name.removeprefix(f"{prefix}-") if prefix else name
    if hue not in _HUES:
        raise DashboardError(f"The colour '{name}' is not known here. Known: {', '.join(_HUES)}, #rrggbb, rgb(...).")
    return _lighter(_HUES[hue], _LIGHTNESS[prefix]) if prefix else _HUES[hue]


def of_series(look: Look, index: int, last: float | None, brother: int = 0) -> str:
    """The colour of a series.

    Args:
        look: How it wants to be drawn.
        index: Its place among the series of its panel.
        last: Its latest value, for colours that follow thresholds.
        brother: Its place among the series of its query, for shades of one colour.
    """
    if look.color.mode == "fixed" and look.color.fixed:
        return shade(look.color.fixed)
    if look.color.mode == "shades" and look.color.fixed:
        return _lighter(shade(look.color.fixed), _SHADES[brother % len(_SHADES)])
    if look.color.mode == "thresholds" and last is not None and (found := look.threshold_color(last)):
        return shade(found)
    return _ROW[index % len(_ROW)]


def _lighter(color: str, factor: float) -> str:
    red, green, blue = (int(color[place : place + 2], 16) / 255 for place in (1, 3, 5))
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    lightness = min(0.93, lightness * factor)
    return "#" + "".join(f"{round(255 * part):02x}" for part in colorsys.hls_to_rgb(hue, lightness, saturation))

"""Dashboards drawn without Grafana: the panels of a dashboard from what Prometheus holds, on one PNG."""

from monitoring.snapshot.curves import Curve, Shown, curves
from monitoring.snapshot.sheet import draw_sheet, place

__all__ = ["Curve", "Shown", "curves", "draw_sheet", "place"]

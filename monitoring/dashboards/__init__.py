"""The dashboards of Grafana, in Python.

looks, expressions          what panels share: colours, units, PromQL
queries                     queries, thresholds and links, as the SDK has them
numbers, graphs, tables     one function for each kind of panel
board, variables, marks     a dashboard put together
overview/, promise, training, slo   the four dashboards
writing                     their JSON
promql, lint                what a dashboard must not do
"""

from monitoring.dashboards.board import Board
from monitoring.dashboards.catalogue import BOARDS
from monitoring.dashboards.writing import StaleError, check_dashboards, json_of, write_dashboards

__all__ = ["BOARDS", "Board", "StaleError", "check_dashboards", "json_of", "write_dashboards"]

"""All dashboards."""

from __future__ import annotations

from monitoring.dashboards.board import Board
from monitoring.dashboards.overview import OVERVIEW
from monitoring.dashboards.promise import PROMISE
from monitoring.dashboards.slo import SLO
from monitoring.dashboards.training import TRAINING

__all__ = ["BOARDS"]

BOARDS: tuple[Board, ...] = (OVERVIEW, PROMISE, TRAINING, SLO)
"""In the order in which one opens them."""

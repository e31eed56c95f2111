"""Latency tables, relaxations, the searcher, derivation under a budget, methods, and the main job."""

from search.budget import Budget, parse_size
from search.config import RunConfig
from search.errors import BudgetError, RunError, SearchError, TableError
from search.main_job import search_latency_aware
from search.methods import METHODS, Method, get_method
from search.presets import Preset, get_preset, presets
from search.report import format_report

__all__ = [
    "METHODS",
    "Budget",
    "BudgetError",
    "Method",
    "Preset",
    "RunConfig",
    "RunError",
    "SearchError",
    "TableError",
    "format_report",
    "get_method",
    "get_preset",
    "parse_size",
    "presets",
    "search_latency_aware",
]

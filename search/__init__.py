"""Latency tables, relaxations, the searcher, derivation under a budget, methods, and the main job."""

from search.budget import Budget, parse_budgets, parse_size
from search.complexity import get_complexity
from search.config import RunConfig, run_config
from search.errors import BudgetError, RunError, SearchError, TableError
from search.facts import Facts, method_facts, paper_task
from search.main_job import search_latency_aware
from search.methods import METHODS, Method, get_method
from search.presets import Preset
from search.report import format_report

__all__ = [
    "METHODS",
    "Budget",
    "BudgetError",
    "Facts",
    "Method",
    "Preset",
    "RunConfig",
    "RunError",
    "SearchError",
    "TableError",
    "format_report",
    "get_complexity",
    "get_method",
    "method_facts",
    "paper_task",
    "parse_budgets",
    "parse_size",
    "run_config",
    "search_latency_aware",
]

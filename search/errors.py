"""What can go wrong while searching.

SearchError
├── TableError     a latency table is missing, damaged, or made for something else
├── BudgetError    a budget cannot be read or cannot be met
└── RunError       a run folder does not fit what is asked of it
"""

from runtime.errors import MillisightError


class SearchError(MillisightError):
    """Base of this room's errors."""


class TableError(SearchError):
    """A latency table is missing, damaged, or made for another target, space or schema."""


class BudgetError(SearchError):
    """A budget cannot be read, or no network of the space meets it."""


class RunError(SearchError):
    """A run folder holds something else than what is asked of it."""

"""PromQL that panels share. Windows of rates are Grafana's `$__rate_interval`, which fits the scrapes and the zoom."""

from __future__ import annotations

__all__ = [
    "MODELS",
    "MODEL_ONLY",
    "OVER",
    "RUNS",
    "SERVED",
    "TASKS",
    "WINDOW",
    "mean",
    "over",
    "quantile",
    "rate",
    "select",
    "total",
]

WINDOW = "$__rate_interval"

# Label matchers that stand for what is chosen at the top of a dashboard.
TASKS = 'task=~"$task"'
SERVED = 'task=~"$task",model=~"$model"'
MODEL_ONLY = 'model=~"$model"'
MODELS = 'model=~"$model",target=~"$target"'
RUNS = 'run=~"$run"'

OVER = 'outcome="missed"'
"""Tiles over their budget, requests past their deadline."""


def select(name: str, *matchers: str) -> str:
    """Series of a name, `name{...}`."""
    inside = ",".join(matcher for matcher in matchers if matcher)
    return f"{name}{{{inside}}}" if inside else name


def rate(name: str, *matchers: str) -> str:
    """What a counter grows by in a second."""
    return f"rate({select(name, *matchers)}[{WINDOW}])"


def total(expr: str, *by: str) -> str:
    """The sum, one series for each value of the labels."""
    return f"sum by ({', '.join(by)}) ({expr})" if by else f"sum({expr})"


def over(top: str, bottom: str) -> str:
    """A ratio that is absent, not NaN, where nothing happened."""
    return f"{top} / ({bottom} > 0)"


def mean(histogram: str, *by: str, where: str = "") -> str:
    """The mean of what a histogram saw lately.

    Args:
        histogram: Its name, without suffix.
        by: Labels to keep.
        where: Label matchers.
    """
    return over(total(rate(f"{histogram}_sum", where), *by), total(rate(f"{histogram}_count", where), *by))


def quantile(share: float, histogram: str, *by: str, where: str = "") -> str:
    """A quantile of what a histogram saw lately, as fine as its buckets are.

    Args:
        share: Of the observations that are not longer, 0 to 1.
        histogram: Its name, without suffix.
        by: Labels to keep.
        where: Label matchers.
    """
    # `>= 0` drops the NaN of a histogram that saw nothing.
    return f"histogram_quantile({share}, {total(rate(f'{histogram}_bucket', where), 'le', *by)}) >= 0"

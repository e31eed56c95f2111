"""What the queries of a panel give, as named curves that know how they are drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from monitoring.fields import Look, look
from monitoring.panels import DashboardError, Panel, Query, legend_name
from monitoring.prometheus import PrometheusClient, Series
from monitoring.variables import Chosen, Window, substitute

__all__ = ["Curve", "Shown", "curves", "reduced"]


@dataclass(frozen=True)
class Shown:
    """What is looked at.

    Attributes:
        prometheus: Where the numbers are from.
        chosen: What the dashboard's variables stand for.
        window: Which time.
    """

    prometheus: PrometheusClient
    chosen: Mapping[str, Chosen]
    window: Window

    def title(self, panel: Panel) -> str:
        """A panel's title with its variables filled in."""
        return substitute(panel.title, self.chosen, self.window, "text")


@dataclass(frozen=True)
class Curve:
    """One series of a panel.

    Attributes:
        name: As the legend says it.
        query: That gave it.
        series: Its labels and points.
        look: How it is drawn.
    """

    name: str
    query: Query
    series: Series
    look: Look

    @property
    def last(self) -> float | None:
        """Its latest number; None if it has none."""
        return reduced(self.series, "lastNotNull")


def curves(panel: Panel, shown: Shown) -> tuple[Curve, ...]:
    """Ask every query of a panel.

    Raises:
        PrometheusError: Prometheus does not answer, or refuses a query.
        VariableError: A query names a variable that is not there.
    """
    found = list[Curve]()
    for query in panel.queries:
        if query.hidden:
            continue
        expr = substitute(query.expr, shown.chosen, shown.window)
        window = shown.window
        if query.instant:
            answer = shown.prometheus.instant(expr, window.end)
        else:
            answer = shown.prometheus.range(expr, window.start, window.end, window.step_s)
        for series in answer:
            name = legend_name(query, dict(series.labels), expr)
            field = look(panel, name, query.ref)
            found.append(Curve(field.name or name, query, series, field))
    return tuple(found)


_CALCULATIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "lastNotNull": lambda values: values[-1],
    "last": lambda values: values[-1],
    "firstNotNull": lambda values: values[0],
    "mean": lambda values: math.fsum(values) / len(values),
    "min": min,
    "max": max,
    "sum": math.fsum,
    "range": lambda values: max(values) - min(values),
    "delta": lambda values: values[-1] - values[0],
    "count": len,
}


def reduced(series: Series, calculation: str) -> float | None:
    """One number of a series; None if it has no finite value.

    Args:
        series: Its points.
        calculation: Grafana's name: lastNotNull, mean, max, ...

    Raises:
        DashboardError: The calculation is not known here.
    """
    if calculation not in _CALCULATIONS:
        raise DashboardError(f"'{calculation}' is not calculated here. Known: {', '.join(_CALCULATIONS)}.")
    values = [value for _, value in series.points if math.isfinite(value)]
    return _CALCULATIONS[calculation](values) if values else None

"""Predicted against measured milliseconds of whole networks that the prediction had not seen."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from search.latency.report.facts import Facts, check_label
from search.latency.report.picture import INK, PALE, PALETTE, Picture, logarithmic, new_figure, percent, say
from search.latency.table import Check, CheckKind

MARKERS: dict[CheckKind, str] = {"held-out": "o", "unseen-size": "D", "optimum": "^"}
NO_CHECKS = "This table has no checks: nothing says how far its predictions are off."


def agreement(facts: Facts) -> Picture:
    """The figure: predicted over measured on the left, the relative difference on the right, one series per check."""
    checks, error = facts.table.checks, facts.widest_error
    name, title = "predicted-vs-measured", "How well the table predicts whole networks"
    if error is None:
        figure = new_figure(2.0)
        say(figure.add_subplot(), NO_CHECKS)
        return Picture(name, title, NO_CHECKS, NO_CHECKS, figure)
    figure = new_figure(6.4 + 0.22 * -(-len(checks) // 2))
    left, right = figure.subplots(1, 2)
    _diagonal(left, checks, error)
    _residual(right, error)
    for number, check in enumerate(checks):
        colour = PALETTE[number % len(PALETTE)]
        measured = np.array([entry.ms for entry in check.networks])
        predicted, noise = np.array(check.predicted_ms), np.array([entry.error for entry in check.networks])
        look = {"marker": MARKERS[check.kind], "s": 34, "facecolor": colour, "edgecolor": "white", "linewidth": 0.6}
        left.scatter(measured, predicted, label=check_label(check), zorder=3, **look)
        right.scatter(measured, 100 * (predicted / measured - 1), label=check_label(check), zorder=3, **look)
        right.errorbar(
            measured, 100 * (predicted / measured - 1), 100 * noise, fmt="none", ecolor=colour, alpha=0.5, linewidth=1
        )
    for axis in (left.xaxis, left.yaxis, right.xaxis):
        logarithmic(axis)
    left.grid(which="major")
    right.grid(which="major")
    figure.legend(handles=_legend(checks, error), loc="outside lower center", ncols=2, handletextpad=0.4)
    return Picture(name, title, _alt(checks), _caption(error), figure)


def _diagonal(axes: Axes, checks: tuple[Check, ...], error: float) -> None:
    times = [
        *(ms for check in checks for ms in check.predicted_ms),
        *(e.ms for check in checks for e in check.networks),
    ]
    # A prediction may be zero or below; a log axis cannot show it, the panel beside it can.
    positive = [ms for ms in times if ms > 0]
    ends = np.array([min(positive) / 1.15, max(positive) * 1.15])
    axes.fill_between(ends, ends * (1 - error), ends * (1 + error), color=PALE, alpha=0.35, linewidth=0)
    axes.plot(ends, ends, color=INK, linewidth=0.9)
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel="measured, ms", ylabel="predicted, ms")
    axes.set_aspect("equal")
    axes.set_title("predicted against measured")


def _residual(axes: Axes, error: float) -> None:
    axes.axhspan(-100 * error, 100 * error, color=PALE, alpha=0.35, linewidth=0)
    axes.axhline(0, color=INK, linewidth=0.9)
    axes.set(xscale="log", xlabel="measured, ms", ylabel="predicted over measured, less one, %", box_aspect=1.0)
    axes.set_title("relative error; bars: standard error of the measurement")


def _legend(checks: tuple[Check, ...], error: float) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=MARKERS[check.kind],
            color=PALETTE[number % len(PALETTE)],
            label=f"{check_label(check)} ({len(check.networks)}): {said(check)}",
        )
        for number, check in enumerate(checks)
    ]
    return [*handles, Patch(color=PALE, alpha=0.35, label=f"± {percent(error)}, the largest of these MAPEs")]


def said(check: Check) -> str:
    """A check's accuracy in a line."""
    found = check.accuracy
    tau = "undefined" if found.tau is None else f"{found.tau:.2f}"
    return f"MAPE {percent(found.mape)}, worst {percent(found.worst)}, τ {tau}"


def _alt(checks: tuple[Check, ...]) -> str:
    return "Predicted against measured milliseconds. " + "; ".join(f"{check_label(c)}: {said(c)}" for c in checks) + "."


def _caption(error: float) -> str:
    return (
        "Every point is a whole network that its prediction had not seen. Held-out: predicted at a measured size by a "
        "calibration fitted without it. Unseen size: another network at a size between the measured ones. Optimum: "
        "derived under a budget, where an optimiser has looked for what the table has too cheap. On the line: exact; "
        f"above: predicted too slow. The band is ± {percent(error)}, the largest mean absolute percentage error (MAPE) "
        "of the checks. τ is Kendall's rank correlation: 1 if the table puts all networks in the right order."
    )

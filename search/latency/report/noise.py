"""What is covered, how noisy the timings are, how disturbed the machine was."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from search.latency.report.facts import Facts, Size, Timed, noise_floor, size_label, size_of
from search.latency.report.picture import ALARM, INK, PALETTE, Picture, logarithmic, new_figure, percent, say

LEAST = 1e-4
"""Relative standard errors below are shown here: a log axis has no zero."""
LOOSE = {"marker": "x", "color": ALARM, "linewidth": 1.6}
KINDS = {"chain": (PALETTE[0], "o"), "network": (PALETTE[2], "s")}


def noise(facts: Facts) -> Picture:
    """The figure: rows priced, timings settled, disturbance of each session, standard error of every timing."""
    sizes = sorted({timed.size for timed in facts.timings}, key=math.prod)
    strips = [(size, kind) for size in sizes for kind in KINDS if any(t.kind == kind for t in facts.at(size))]
    bars = max(len(facts.sizes), len(sizes), len(facts.table.sessions))
    heights = (0.28 * bars + 1.0, 0.42 * len(strips) + 1.4)
    figure = new_figure(sum(heights))
    grid = figure.add_gridspec(2, 3, height_ratios=heights)
    above = [figure.add_subplot(grid[0, column]) for column in range(3)]
    _coverage(above[0], facts)
    _settled(above[1], facts, sizes)
    _disturbance(above[2], facts)
    for axes in above:
        axes.set_ylim(bars - 0.5, -0.5)
    _strips(figure.add_subplot(grid[1, :]), facts, strips)
    floors = ", ".join(
        f"{kind}s {percent(floor)}" for kind in KINDS if (floor := noise_floor(facts.timings, kind)) is not None
    )
    alt = (
        f"{len(facts.timings)} timings, {len(facts.unstable)} of them unstable; median standard error: {floors}. "
        f"Rows priced: {coverage(facts)}."
    )
    return Picture("coverage", "What was measured, and how noisy it is", alt, _caption(), figure)


def coverage(facts: Facts) -> str:
    """Rows priced per size, in words."""
    count = len(facts.wanted)
    return ", ".join(f"{count - len(gone)} of {count} at {size_label(size)}" for size, gone in facts.missing.items())


def _caption() -> str:
    return (
        "Above: how many of the rows that the space can ask for have a price; how many timings settled within their "
        "rule before its limits; and how much slower than at its best the machine typically was in each session, as "
        "its anchor saw it. Below: the relative standard error of every timing, each once. The bar through a group is "
        "its median, the noise floor: no prediction can be proven better than what it is compared with. An unstable "
        f"timing is a cross. Errors below {percent(LEAST)} are shown at {percent(LEAST)}."
    )


def _shares(axes: Axes, names: list[str], parts: list[tuple[int, int]]) -> None:
    """Horizontal bars of (good, bad) counts."""
    for place, (good, bad) in enumerate(parts):
        whole = max(1, good + bad)
        axes.barh(place, good / whole, color=PALETTE[0], height=0.62)
        axes.barh(place, bad / whole, left=good / whole, color=ALARM, height=0.62)
        axes.text(0.02, place, f"{good} of {good + bad}", va="center", color="white" if good > 0.3 * whole else INK)
    axes.set(yticks=range(len(names)), yticklabels=names, xlim=(0, 1), xticks=[])
    _bare(axes)


def _coverage(axes: Axes, facts: Facts) -> None:
    names = [size_label(size_of(part)) for part in facts.sizes]
    count = len(facts.wanted)
    _shares(axes, names, [(count - len(gone), len(gone)) for gone in facts.missing.values()])
    axes.set_title("rows priced")


def _settled(axes: Axes, facts: Facts, sizes: list[Size]) -> None:
    axes.set_title("timings settled")
    if not sizes:
        say(axes, "no timings")
        return
    stable = [[timed.entry.stable for timed in facts.at(size)] for size in sizes]
    _shares(axes, [size_label(size) for size in sizes], [(sum(s), len(s) - sum(s)) for s in stable])


def _disturbance(axes: Axes, facts: Facts) -> None:
    sessions = facts.table.sessions
    values = [100 * session.disturbance for session in sessions]
    axes.barh(range(len(values)), values, color=PALETTE[4], height=0.62)
    for place, value in enumerate(values):
        axes.text(max(0.0, value), place, f" {value:.1f} %", va="center")
    axes.set(yticks=range(len(values)), yticklabels=[f"session {n}" for n in range(len(values))], xticks=[])
    axes.set_xlim(0, 1.3 * max([*values, 1.0]))
    axes.set_title("disturbance of the machine")
    _bare(axes)


def _bare(axes: Axes) -> None:
    axes.tick_params(length=0)
    for edge in axes.spines.values():
        edge.set_visible(False)


def _strips(axes: Axes, facts: Facts, strips: list[tuple[Size, str]]) -> None:
    axes.set_title("standard error of each timing, %")
    if not strips:
        say(axes, "no timings")
        return
    for place, (size, kind) in enumerate(strips):
        timings = [timed for timed in facts.at(size) if timed.kind == kind]
        colour, marker = KINDS[kind]
        for stable in (True, False):
            shown = [timed for timed in timings if timed.entry.stable is stable]
            if not shown:
                continue
            look: dict[str, Any] = (
                {"marker": marker, "color": colour, "alpha": 0.6, "linewidth": 0} if stable else LOOSE
            )
            axes.scatter([_shown(timed) for timed in shown], place + _jitter(len(shown)), s=20, zorder=3, **look)
        floor = noise_floor(timings, kind)
        if floor is not None:
            axes.plot([100 * max(floor, LEAST)] * 2, [place - 0.38, place + 0.38], color=INK, linewidth=2, zorder=4)
            axes.text(
                1.01, place, f"{percent(floor)}, n = {len(timings)}", transform=axes.get_yaxis_transform(), va="center"
            )
    axes.text(1.01, 1.0, "median: noise floor", transform=axes.transAxes, va="bottom", fontweight="bold")
    axes.set_xscale("log")
    logarithmic(axes.xaxis)
    axes.grid(axis="x")
    names = [f"{kind}s, {size_label(size)}" for size, kind in strips]
    axes.set(yticks=range(len(strips)), yticklabels=names, ylim=(len(strips) - 0.5, -0.5))
    axes.tick_params(axis="y", length=0)


def _shown(timed: Timed) -> float:
    return 100 * max(timed.entry.error, LEAST)


def _jitter(count: int) -> NDArray[np.float64]:
    """Places beside a strip's middle, evenly spread and always the same."""
    return np.asarray(0.5 * ((np.arange(count) * 0.618034) % 1.0 - 0.5), dtype=np.float64)

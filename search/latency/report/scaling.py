"""Milliseconds over pixels: rows and whole networks, with what the model says between the measured sizes."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from models import OpKey
from search.costs import Prices
from search.latency.report.facts import Facts, Size, check_label, size_of
from search.latency.report.picture import (
    INK,
    PALE,
    PALETTE,
    Picture,
    logarithmic,
    new_figure,
    pixel_axis,
    plain,
    say,
)
from search.latency.table import Measured

MOST_ROWS = 12
"""Curves of rows in all; each resolution gets its share."""
MOST_NETWORKS = 5
STEPS = 24
"""Points of a line."""
RANKS = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D")


def scaling(facts: Facts) -> Picture:
    """The figure: the dearest rows of each resolution on the left, whole networks on the right."""
    figure = new_figure(7.2)
    left, right = figure.subplots(1, 2)
    rows, networks = dear_rows(facts), timed_everywhere(facts)
    prices = _between(facts)
    _draw_rows(left, facts, rows, prices)
    _draw_networks(right, facts, networks, prices)
    sizes = [size_of(part) for part in facts.sizes]
    others = [size_of(check) for check in facts.table.checks if check.kind == "unseen-size"]
    for axes, shown in ((left, sizes), (right, list(dict.fromkeys([*sizes, *others])))):
        if axes.axison:
            axes.set_yscale("log")
            pixel_axis(axes, shown)
            logarithmic(axes.yaxis)
            axes.grid(which="major")
            axes.set_ylabel("ms")
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2)
    alt = (
        f"Time over pixels of {len(rows)} rows and of {len(networks)} whole networks at {len(sizes)} measured sizes; "
        "both axes are logarithmic."
    )
    return Picture("time-vs-pixels", "How time grows with the picture", alt, _caption(facts), figure)


def dear_rows(facts: Facts) -> list[OpKey]:
    """For each resolution the dearest shape of the dearest few operations at the largest size."""
    wanted = set(facts.wanted)
    prices = {key: ms for key, ms in facts.rows[size_of(facts.sizes[-1])].items() if key in wanted}
    divisors = sorted({key.divisor for key in prices})
    each = min(len(RANKS), max(1, MOST_ROWS // max(1, len(divisors))))
    found = []
    for divisor in divisors:
        best: dict[str, OpKey] = {}
        for key in sorted((key for key in prices if key.divisor == divisor), key=lambda key: -prices[key]):
            # What costs nothing has no place on a log axis.
            if prices[key] > 0:
                best.setdefault(key.operation, key)
        found += list(best.values())[:each]
    return found


def timed_everywhere(facts: Facts) -> list[str]:
    """Networks timed at every measured size: the reference, and others spread from fast to slow."""
    entries = [_networks(facts, size_of(part)) for part in facts.sizes]
    slowest_last = sorted(entries[-1], key=lambda name: entries[-1][name].ms)
    common = [name for name in slowest_last if all(name in entry for entry in entries)]
    first = [name for name in common if name == "reference"]
    others = [name for name in common if name != "reference"]
    room = MOST_NETWORKS - len(first)
    if len(others) > room:
        others = [others[round(place)] for place in np.linspace(0, len(others) - 1, room)]
    return first + others


def _networks(facts: Facts, size: Size) -> dict[str, Measured]:
    part = next(part for part in facts.sizes if size_of(part) == size)
    return {entry.id: entry for entry in part.calibration.networks}


def _areas(facts: Facts) -> list[int]:
    return [part.height * part.width for part in facts.sizes]


def _steps(facts: Facts) -> list[int]:
    """Numbers of pixels between the smallest and the largest size, the measured ones among them."""
    areas = _areas(facts)
    return sorted({*areas, *(round(area) for area in np.geomspace(areas[0], areas[-1], STEPS))})


def _between(facts: Facts) -> dict[int, Prices]:
    """Pixels -> the model's prices; nothing where there is no model, or nothing between sizes."""
    model = facts.model
    if model is None or len(facts.sizes) == 1:
        return {}
    # The model knows a size that was not measured by its pixels alone, so any with as many will do.
    return {pixels: model.prices(1, pixels) for pixels in _steps(facts)}


def _draw_rows(axes: Axes, facts: Facts, keys: Sequence[OpKey], between: Mapping[int, Prices]) -> None:
    axes.set_title("rows: the dearest operations of each resolution, calibrated")
    if not keys:
        say(axes, "No row of this table costs anything.")
        return
    divisors = sorted({key.divisor for key in keys})
    rank = dict.fromkeys(divisors, 0)
    for key in keys:
        colour = PALETTE[divisors.index(key.divisor) % len(PALETTE)]
        style, marker = RANKS[rank[key.divisor]], MARKERS[rank[key.divisor]]
        rank[key.divisor] += 1
        points = [
            (part.height * part.width, part.calibration.slope * facts.rows[size_of(part)][key])
            for part in facts.sizes
            if key in facts.rows[size_of(part)]
        ]
        name = f"{plain(key.operation, 24)} {key.in_channels}→{key.out_channels} @1/{key.divisor}"
        axes.plot(*zip(*points, strict=True), marker, color=colour, markersize=5, linestyle="none")
        if between:
            line = [at.rows[key] for at in between.values()]
            axes.plot(list(between), line, linestyle=style, color=colour, linewidth=1.2)
        axes.plot([], [], marker, linestyle=style if between else "none", color=colour, markersize=5, label=name)


def _draw_networks(axes: Axes, facts: Facts, names: Sequence[str], between: Mapping[int, Prices]) -> None:
    axes.set_title("whole networks: measured, and the model's line")
    for number, name in enumerate(names):
        colour = PALETTE[number % len(PALETTE)]
        entries = [_networks(facts, size_of(part))[name] for part in facts.sizes]
        axes.errorbar(
            _areas(facts),
            [entry.ms for entry in entries],
            [entry.ms * entry.error for entry in entries],
            fmt="o",
            color=colour,
            markersize=5,
            linewidth=1,
        )
        picks = facts.table.networks.get(name)
        style = "none"
        if facts.model is not None and picks is not None and between:
            style = "-"
            line = [at.of(facts.model.terms, picks) for at in between.values()]
            axes.plot(list(between), line, color=colour, linewidth=1.2)
        axes.plot([], [], "o", linestyle=style, color=colour, markersize=5, label=plain(name, 30))
    for check in (check for check in facts.table.checks if check.kind == "unseen-size"):
        where = [check.height * check.width] * len(check.networks)
        axes.scatter(
            where,
            check.predicted_ms,
            marker="_",
            s=220,
            linewidth=2.5,
            color=PALE,
            label=f"{check_label(check)}: predicted",
            zorder=4,
        )
        measured = [entry.ms for entry in check.networks]
        axes.scatter(where, measured, marker="x", s=26, color=INK, label=f"{check_label(check)}: measured", zorder=5)
    if not names and not any(check.kind == "unseen-size" for check in facts.table.checks):
        say(axes, "No network was timed at every size.")


def _caption(facts: Facts) -> str:
    text = (
        "Both axes are logarithmic, so a time in proportion to pixels is a line that rises by ten where the pixels do. "
        "Points are at the measured sizes. Rows are the dearest few operations of each resolution, at their dearest "
        "shape, times the slope of the size's calibration, as predictions use them. Networks are the reference and "
        "others from the fastest to the slowest of the calibration, with their standard errors."
    )
    if len(facts.sizes) == 1:
        return f"{text} One size was measured, so there is no line: predictions elsewhere are in proportion to pixels."
    if facts.model is None:
        return f"{text} Rows are missing, so there is no model and no line of it."
    return (
        f"{text} Lines are what the model says between the sizes: straight in pixels. At a size that was not measured "
        "the networks timed there (crosses) lie over their predictions (bars)."
    )

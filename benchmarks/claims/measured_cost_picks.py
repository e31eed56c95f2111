"""Networks at equal milliseconds: by a limit in another unit, or drawn at random."""

from collections.abc import Callable, Mapping

import numpy as np

Picks = dict[str, str]

SCAN = 200
BISECTIONS = 12
DRAWS = 20_000


def largest_limit(
    pick_under: Callable[[float], Picks],
    ms_of: Callable[[Mapping[str, str]], float],
    low: float,
    high: float,
    budget_ms: float,
) -> tuple[float, Picks]:
    """The largest limit, in whatever unit, under which the network that is picked keeps a budget in milliseconds.

    Milliseconds do not rise steadily with another metric, so plain bisection could stop at an early crossing: limits
    are tried downwards on an even grid, and the step above the first that fits is then bisected.

    Args:
        pick_under: Limit -> picks.
        ms_of: Picks -> milliseconds.
        low: The cheapest network's price.
        high: The dearest one's.
        budget_ms: To keep.

    Raises:
        ValueError: Not even the cheapest network keeps it.
    """
    grid = np.linspace(high, low, SCAN + 1).tolist()
    # The last grid point may round to just below the cheapest network.
    grid[-1] = low
    for index, limit in enumerate(grid):  # noqa: B007 - where it stopped is used below
        picks = pick_under(limit)
        if ms_of(picks) <= budget_ms:
            break
    else:
        raise ValueError(f"the network of least cost ({low:.4g}) takes more than {budget_ms:.4g} ms; raise the budget")
    fits, over = limit, grid[max(0, index - 1)]
    for _ in range(BISECTIONS if index else 0):
        middle = (fits + over) / 2
        tried = pick_under(middle)
        if ms_of(tried) <= budget_ms:
            fits, picks = middle, tried
        else:
            over = middle
    return fits, picks


def draw_between(
    draw: Callable[[], Picks], ms_of: Callable[[Mapping[str, str]], float], low: float, high: float, count: int
) -> tuple[list[Picks], int]:
    """Different random networks whose milliseconds lie in [low, high], by rejection; and how many draws that took.

    Raises:
        ValueError: Too few in `DRAWS` draws; the text says how many.
    """
    found: dict[tuple[tuple[str, str], ...], Picks] = {}
    for number in range(1, DRAWS + 1):
        picks = draw()
        if low <= ms_of(picks) <= high:
            found.setdefault(tuple(sorted(picks.items())), picks)
        if len(found) == count:
            return list(found.values()), number
    raise ValueError(
        f"only {len(found)} of {count} networks between {low:.4g} and {high:.4g} ms in {DRAWS} draws; "
        "move the budget towards the middle of the space"
    )

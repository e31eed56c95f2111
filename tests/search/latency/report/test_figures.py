"""What is drawn is what the table says: read back from the figures."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.patches import Rectangle

from models import OpKey
from search.latency.report.agreement import NO_CHECKS, agreement
from search.latency.report.facts import Facts, check_label
from search.latency.report.heat_map import heat_map
from search.latency.report.noise import coverage, noise
from search.latency.report.picture import percent
from search.latency.report.scaling import MOST_NETWORKS, dear_rows, scaling, timed_everywhere
from search.latency.table import Check, LatencyTable, SizeTable

Plant = Callable[..., LatencyTable]
UNET = {"channels": (16, 32), "blocks": 1}


@pytest.fixture(scope="module")
def table(plant: Plant) -> LatencyTable:
    return plant(values=UNET)


def replaced(table: LatencyTable, size: int, **fields: Any) -> LatencyTable:
    """The table with other fields in one size."""
    parts: list[SizeTable] = list(table.sizes)
    parts[size] = parts[size].model_copy(update=fields)
    return table.model_copy(update={"sizes": tuple(parts)})


def with_row(table: LatencyTable, size: int, row: int, ms: float) -> LatencyTable:
    rows = list(table.sizes[size].rows)
    rows[row] = rows[row].model_copy(update={"ms": ms})
    return replaced(table, size, rows=tuple(rows))


# Heat map


def headings(axes: Axes) -> list[tuple[float, int]]:
    """(middle column, divisor) of each group of columns."""
    notes = [(child.xy[0], child.get_text()) for child in axes.texts if child.get_text().startswith("at 1/")]
    return [(middle, int(text.removeprefix("at 1/"))) for middle, text in notes]


def cells(axes: Axes) -> dict[OpKey, float]:
    """Row -> value, by the labels beside and below the cell and the heading over it."""
    grid = axes.images[0].get_array()
    assert grid is not None
    operations = [label.get_text() for label in axes.get_yticklabels()]
    divisors = {}
    start = 0.0
    for middle, divisor in headings(axes):
        count = round(2 * (middle - start)) + 1
        divisors |= {round(start) + n: divisor for n in range(count)}
        start += count
    found = {}
    for column, label in enumerate(axes.get_xticklabels()):
        inside, outside = label.get_text().split("→")
        for row, operation in enumerate(operations):
            if not np.ma.getmaskarray(grid)[row, column]:
                found[OpKey(operation, int(inside), int(outside), divisors[column])] = float(grid[row, column])
    return found


def hatched(axes: Axes) -> int:
    return sum(isinstance(patch, Rectangle) and bool(patch.get_hatch()) for patch in axes.patches)


def numbers(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts if not text.get_text().startswith("at 1/")]


def test_heat_map_holds_the_largest_size(table: LatencyTable) -> None:
    panel = heat_map(Facts(table)).figure.axes[0]
    rows = Facts(table).rows[(512, 512)]
    assert cells(panel) == rows
    assert cells(panel) != Facts(with_row(table, -1, 4, 99.0)).rows[(512, 512)]
    assert len(numbers(panel)) == len(rows)


def test_heat_map_compares_pixels_of_the_smallest_size(table: LatencyTable) -> None:
    facts = Facts(table)
    found = cells(heat_map(facts).figure.axes[1])
    large = facts.rows[(512, 512)]
    assert found == pytest.approx({key: 16 * ms / large[key] for key, ms in facts.rows[(128, 128)].items()})
    # Against the size between, which has no panel, it would be another number.
    assert found != pytest.approx({key: 4 * ms / large[key] for key, ms in facts.rows[(256, 256)].items()})


def test_dearest_operation_is_on_top(table: LatencyTable) -> None:
    panel = heat_map(Facts(table)).figure.axes[0]
    assert panel.get_yticklabels()[0].get_text() == "conv5x5"
    row = next(n for n, row in enumerate(table.sizes[-1].rows) if row.operation == "separable3x3")
    other = heat_map(Facts(with_row(table, -1, row, 1e4))).figure.axes[0]
    assert other.get_yticklabels()[0].get_text() == "separable3x3"


def test_empty_is_hatched_and_free_is_not(table: LatencyTable) -> None:
    facts = Facts(with_row(table, -1, 0, 0.0))
    panel = heat_map(facts).figure.axes[0]
    image = panel.images[0]
    grid = image.get_array()
    assert grid is not None
    masked = np.ma.getmaskarray(grid)
    assert 0 < masked.sum() == grid.size - len(facts.rows[(512, 512)])
    assert hatched(panel) == masked.sum()
    (place,) = np.argwhere(np.ma.filled(grid, np.nan) == 0.0)
    colours = np.asarray(image.to_rgba(grid))
    assert colours[tuple(place)] == pytest.approx(image.get_cmap()(0.0))
    assert (colours[masked][:, 3] == 0).all()
    assert "0" in numbers(panel)


def test_a_missing_price_is_a_question_mark(table: LatencyTable) -> None:
    assert "?" not in numbers(heat_map(Facts(table)).figure.axes[0])
    incomplete = replaced(table, -1, rows=table.sizes[-1].rows[1:])
    assert numbers(heat_map(Facts(incomplete)).figure.axes[0]).count("?") == 1


def test_colours_are_logarithmic_where_the_range_asks_for_it(table: LatencyTable) -> None:
    def norm(low: float, high: float) -> str:
        rows = tuple(
            row.model_copy(update={"ms": low if n % 2 else high}) for n, row in enumerate(table.sizes[-1].rows)
        )
        return type(heat_map(Facts(replaced(table, -1, rows=rows))).figure.axes[0].images[0].norm).__name__

    assert norm(1.0, 5.0) == "Normalize"
    assert norm(1.0, 50.0) == "LogNorm"
    assert norm(0.0, 0.0) == "Normalize"


# Predicted against measured


def scattered(axes: Axes) -> dict[str, np.ndarray[Any, Any]]:
    found = [part for part in axes.collections if isinstance(part, PathCollection)]
    return {str(part.get_label()): np.asarray(part.get_offsets()) for part in found}


def points(table: LatencyTable) -> dict[str, list[tuple[float, float]]]:
    return {check_label(c): [(e.ms, p) for e, p in zip(c.networks, c.predicted_ms, strict=True)] for c in table.checks}


def same(found: dict[str, np.ndarray[Any, Any]], table: LatencyTable) -> bool:
    wanted = points(table)
    return set(found) == set(wanted) and all(np.allclose(found[name], wanted[name]) for name in wanted)


def test_every_check_is_scattered(table: LatencyTable) -> None:
    left, right = agreement(Facts(table)).figure.axes
    assert len(table.checks) == 5
    assert same(scattered(left), table)
    first = table.checks[0]
    wrong = Check.of(first.kind, (128, 128), (first.predicted_ms[0] * 1.01, *first.predicted_ms[1:]), first.networks)
    assert not same(scattered(left), table.model_copy(update={"checks": (wrong, *table.checks[1:])}))
    for name, offsets in scattered(right).items():
        measured, predicted = np.array(points(table)[name]).T
        assert np.allclose(offsets, np.stack([measured, 100 * (predicted / measured - 1)], 1))


def test_the_legend_says_each_accuracy_and_the_band_is_the_worst(table: LatencyTable) -> None:
    picture = agreement(Facts(table))
    said = [text.get_text() for text in picture.figure.legends[0].get_texts()]
    for check, line in zip(table.checks, said, strict=False):
        assert line.startswith(check_label(check))
        found = check.accuracy
        assert f"MAPE {percent(found.mape)}, worst {percent(found.worst)}" in line
        assert found.tau is not None
        assert line.endswith(f"τ {found.tau:.2f}")
    worst = max(check.accuracy.mape for check in table.checks)
    assert percent(worst) in said[-1]
    (band,) = (patch for patch in picture.figure.axes[1].patches if isinstance(patch, Rectangle))
    assert band.get_y() == pytest.approx(-100 * worst)
    assert band.get_height() == pytest.approx(200 * worst)


def test_without_checks_it_says_so(table: LatencyTable) -> None:
    picture = agreement(Facts(table.model_copy(update={"checks": ()})))
    assert picture.caption == NO_CHECKS
    assert [text.get_text() for text in picture.figure.axes[0].texts] == [NO_CHECKS]


# Time over pixels


def curves(axes: Axes) -> list[list[tuple[float, float]]]:
    drawn = [(line.get_xdata(), line.get_ydata()) for line in axes.lines]
    return [list(zip(np.asarray(x).tolist(), np.asarray(y).tolist(), strict=True)) for x, y in drawn]


def drawn(axes: Axes, wanted: list[tuple[float, float]]) -> bool:
    return any(len(c) == len(wanted) and np.allclose(c, wanted) for c in curves(axes))


def goes_through(axes: Axes, wanted: list[tuple[float, float]]) -> bool:
    """Is there a curve of more points that has all of these?"""
    long = (dict(curve) for curve in curves(axes) if len(curve) > len(wanted))
    return any(all(x in curve and curve[x] == pytest.approx(y) for x, y in wanted) for curve in long)


def test_rows_are_calibrated_and_the_model_goes_through_them(table: LatencyTable) -> None:
    facts = Facts(table)
    left, _ = scaling(facts).figure.axes
    keys = dear_rows(facts)
    assert {key.divisor for key in keys} == {key.divisor for key in facts.wanted}
    for key in keys:
        found = [
            (part.height * part.width, part.calibration.slope * facts.rows[(part.height, part.width)][key])
            for part in table.sizes
        ]
        assert drawn(left, found)
        assert goes_through(left, found)
        assert not drawn(left, [(pixels, 1.01 * ms) for pixels, ms in found])


def test_dear_rows_are_the_dearest_of_their_resolution(table: LatencyTable) -> None:
    facts = Facts(table)
    prices = facts.rows[(512, 512)]
    for divisor in {key.divisor for key in facts.wanted}:
        shown = [key for key in dear_rows(facts) if key.divisor == divisor]
        assert prices[shown[0]] == max(ms for key, ms in prices.items() if key.divisor == divisor)
        assert len({key.operation for key in shown}) == len(shown)


def test_networks_are_as_measured_and_lines_as_predicted(table: LatencyTable) -> None:
    facts = Facts(table)
    _, right = scaling(facts).figure.axes
    names = timed_everywhere(facts)
    assert names[0] == "reference"
    assert len(names) == MOST_NETWORKS
    assert facts.model is not None
    for name in names:
        entries = [next(e for e in part.calibration.networks if e.id == name) for part in table.sizes]
        areas = [part.height * part.width for part in table.sizes]
        assert drawn(right, list(zip(areas, [entry.ms for entry in entries], strict=True)))
        predicted = [facts.model.predict(table.networks[name], p.height, p.width).ms for p in table.sizes]
        assert goes_through(right, list(zip(areas, predicted, strict=True)))
        assert not goes_through(right, [(area, 1.01 * ms) for area, ms in zip(areas, predicted, strict=True)])


def test_unseen_sizes_lie_over_their_predictions(table: LatencyTable) -> None:
    _, right = scaling(Facts(table)).figure.axes
    (check,) = (check for check in table.checks if check.kind == "unseen-size")
    found = scattered(right)
    pixels = check.height * check.width
    assert found["unseen size, 384x384: predicted"].tolist() == [[pixels, ms] for ms in check.predicted_ms]
    assert found["unseen size, 384x384: measured"].tolist() == [[pixels, entry.ms] for entry in check.networks]


def test_one_size_has_points_and_no_lines(plant: Plant) -> None:
    picture = scaling(Facts(plant(values=UNET, sizes=((128, 128),))))
    assert max(len(curve) for axes in picture.figure.axes for curve in curves(axes)) == 1
    assert "One size was measured" in picture.caption


def test_networks_without_picks_have_no_line(table: LatencyTable) -> None:
    _, right = scaling(Facts(table.model_copy(update={"networks": {}}))).figure.axes
    assert max(len(curve) for curve in curves(right)) == len(table.sizes)


# Coverage and noise


def test_every_standard_error_is_drawn_once(table: LatencyTable) -> None:
    facts = Facts(table)
    panel = noise(facts).figure.axes[3]
    shown = np.concatenate([np.asarray(part.get_offsets())[:, 0] for part in panel.collections])
    wanted = sorted(100 * timed.entry.error for timed in facts.timings)
    assert np.allclose(sorted(shown), wanted)
    assert not np.allclose(sorted(shown), [*wanted[:-1], 2 * wanted[-1]])


def test_the_floor_of_each_group_is_its_median(table: LatencyTable) -> None:
    facts = Facts(table)
    panel = noise(facts).figure.axes[3]
    names = [label.get_text() for label in panel.get_yticklabels()]
    bars = {
        names[round(float(np.mean(line.get_ydata())))]: float(np.asarray(line.get_xdata())[0]) for line in panel.lines
    }
    assert len(bars) == 7
    for size in table.sizes:
        errors = [chain.error for chain in size.chains]
        assert bars[f"chains, {size.width}x{size.height}"] == pytest.approx(100 * np.median(errors))


def test_unstable_timings_are_crosses_and_counted(table: LatencyTable) -> None:
    loose = table.sizes[0].chains[0].model_copy(update={"stable": False, "error": 0.3})
    steady = tuple(chain.model_copy(update={"stable": True}) for chain in table.sizes[0].chains[1:])
    axes = noise(Facts(replaced(table, 0, chains=(loose, *steady)))).figure.axes
    crosses = [part for part in axes[3].collections if np.allclose(np.asarray(part.get_offsets())[:, 0], 30.0)]
    assert len(crosses) == 1
    count = len(Facts(table).at((128, 128)))
    assert f"{count - 1} of {count}" in [text.get_text() for text in axes[1].texts]


def test_rows_priced_and_disturbance(table: LatencyTable) -> None:
    incomplete = replaced(table, 1, rows=table.sizes[1].rows[2:])
    later = table.session.model_copy(update={"disturbance": 0.37})
    facts = Facts(incomplete.model_copy(update={"sessions": (table.session, later)}))
    axes = noise(facts).figure.axes
    whole = len(facts.wanted)
    assert [text.get_text() for text in axes[0].texts] == [
        f"{whole} of {whole}",
        f"{whole - 2} of {whole}",
        f"{whole} of {whole}",
    ]
    assert f"{whole - 2} of {whole} at 256x256" in coverage(facts)
    assert [text.get_text().strip() for text in axes[2].texts] == ["10.0 %", "37.0 %"]


def test_no_noise_at_all_still_has_a_place_on_a_log_axis(table: LatencyTable) -> None:
    calm = tuple(chain.model_copy(update={"error": 0.0}) for chain in table.sizes[0].chains)
    panel = noise(Facts(replaced(table, 0, chains=calm))).figure.axes[3]
    assert all((np.asarray(part.get_offsets()) > -1).all() for part in panel.collections)
    assert min(float(np.asarray(part.get_offsets())[:, 0].min()) for part in panel.collections) == pytest.approx(0.01)

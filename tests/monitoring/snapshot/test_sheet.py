"""A dashboard drawn from a real Prometheus with known points: what is on the page, and what cannot be drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from monitoring.panels import Dashboard, DashboardError, Panel, read_dashboard
from monitoring.prometheus import PrometheusClient, PrometheusQueryError
from monitoring.snapshot import Shown, curves, draw_sheet, place
from monitoring.snapshot.heatmaps import bucket_counts
from monitoring.snapshot.tables import table_rows
from monitoring.variables import Window, choose
from tests.monitoring import made_up
from tests.monitoring.programs import needs, running_prometheus

pytestmark = needs("prometheus", "promtool")

WIDTH = 900
BLUE, ORANGE, RED = (0x2F, 0x6F, 0xD0), (0xE8, 0x71, 0x0A), (0xD1, 0x29, 0x3D)


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Dashboard:
    return read_dashboard(made_up.write_dashboard(tmp_path_factory.mktemp("dashboard") / "made-up.json"))


@pytest.fixture(scope="module")
def shown(dashboard: Dashboard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    folder = tmp_path_factory.mktemp("prometheus")
    window = Window(made_up.START + 300, made_up.END)
    with running_prometheus(folder, "", made_up.metrics()) as program, PrometheusClient(program.url) as client:
        yield Shown(client, choose(dashboard.variables, {}, window, client.label_values), window)


@pytest.fixture(scope="module")
def page(dashboard: Dashboard, shown: Shown, tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.int16]:
    file = tmp_path_factory.mktemp("page") / "page.png"
    assert draw_sheet(dashboard, shown, file, width=WIDTH, sharpness=1) == 1  # the panel that asks for nothing
    assert file.stat().st_size < 100_000
    return np.asarray(Image.open(file).convert("RGB"), dtype=np.int16)


@pytest.fixture(scope="module")
def panels(dashboard: Dashboard) -> Mapping[str, Panel]:
    return {panel.title: panel for panel in dashboard.panels}


def has(part: NDArray[np.int16], color: tuple[int, int, int]) -> bool:
    """Whether some pixels are about of a colour."""
    return bool((np.abs(part - np.array(color)).max(axis=-1) < 24).sum() > 20)


# Rows of the grid are 26 pixels; the head of the page takes 30, that of a row 22.
ABOVE, TIMES = slice(30, 134), slice(156, 364)
LEFT, RIGHT = slice(0, WIDTH // 2), slice(WIDTH // 2, WIDTH)


def test_lines_have_their_colours_and_a_budget_is_red(page: NDArray[np.int16]) -> None:
    took, rate = page[TIMES, LEFT], page[TIMES, RIGHT]
    assert has(took, BLUE)
    assert has(took, ORANGE)
    assert has(took, RED)
    assert has(rate, BLUE)
    assert not has(rate, RED)


def test_a_panel_without_points_stays_white(page: NDArray[np.int16]) -> None:
    nothing = page[ABOVE, 152:296]
    assert not has(nothing, BLUE)
    assert (nothing > 200).mean() > 0.98


def test_an_empty_sheet_would_be_seen(dashboard: Dashboard, shown: Shown, tmp_path: Path) -> None:
    before = replace(shown, window=Window(made_up.START - 900, made_up.START - 60))
    empty = draw_sheet(dashboard, before, tmp_path / "empty.png", width=WIDTH, sharpness=1)
    page = np.asarray(Image.open(tmp_path / "empty.png").convert("RGB"), dtype=np.int16)
    assert empty == 9  # the repeated panel is there twice
    assert not has(page, BLUE)
    assert not has(page, RED)


def test_curves_have_the_values_of_their_queries(shown: Shown, panels: Mapping[str, Panel]) -> None:
    requests, rate = curves(panels["Requests"], shown), curves(panels["Rate"], shown)
    assert [curve.last for curve in requests] == [pytest.approx(5, rel=1e-6)]
    assert {curve.name: curve.last for curve in rate} == {"denoise": pytest.approx(2), "derain": pytest.approx(3)}
    (share,) = (curve for curve in curves(panels["Share"], shown) if curve.name == "a.1")
    assert len(share.series.points) == 1  # asked for the end only


def test_buckets_are_what_lies_between_their_edges(shown: Shown, panels: Mapping[str, Panel]) -> None:
    edges, times, counts = bucket_counts(panels["Waited"], curves(panels["Waited"], shown), shown.window)
    assert edges == [0.01, 0.05, 0.1, 0.5, np.inf]
    assert len(times) == counts.shape[1] + 1
    seconds = shown.window.rate_s
    assert counts[:, -1] == pytest.approx([np.nan, 0.5 * seconds, 1.5 * seconds, seconds, np.nan], nan_ok=True)


def test_a_table_has_the_columns_names_and_order_that_it_wants(shown: Shown, panels: Mapping[str, Panel]) -> None:
    columns, lines = table_rows(panels["Loaded"], curves(panels["Loaded"], shown))
    assert columns == ["Model", "Target", "There", "Took"]
    assert [(line["Model"], line["Target"], line["There"]) for line in lines] == [("b", "gpu", 1), ("a.1", "cpu", 1)]
    assert float(lines[0]["Took"]) > float(lines[1]["Took"])


def test_a_repeated_panel_stands_beside_itself(dashboard: Dashboard, shown: Shown) -> None:
    rows = place(dashboard, shown.chosen)
    assert list(rows) == ["", "Times", "Models"]
    _, first, second = rows["Models"]
    assert [(p.position.x, p.position.y, p.position.w) for p in (first, second)] == [(0, 6, 12), (12, 6, 12)]
    assert [p.chosen["model"].values for p in (first, second)] == [("a.1",), ("b",)]
    assert replace(shown, chosen=first.chosen).title(first.panel) == "Model a.1"


def test_rows_may_be_picked(dashboard: Dashboard, shown: Shown) -> None:
    assert list(place(dashboard, shown.chosen, ["Models"])) == ["Models"]
    with pytest.raises(DashboardError, match=r"no row Moon. It has: Times, Models"):
        place(dashboard, shown.chosen, ["Moon"])


def test_a_broken_query_and_an_unknown_kind_are_said(shown: Shown, tmp_path: Path) -> None:
    broken = made_up.panel(1, "stat", "Broken", (0, 0, 4, 4), made_up.target("sum("))
    moon = made_up.panel(1, "moon", "Moon", (0, 0, 4, 4), made_up.target("up"))
    for raw, error, words in ((broken, PrometheusQueryError, r"sum\("), (moon, DashboardError, "'Moon' is a moon")):
        file = made_up.write_dashboard(tmp_path / "one.json", {"title": "One", "panels": [raw]})
        with pytest.raises(error, match=words):
            draw_sheet(read_dashboard(file), shown, tmp_path / "one.png")

"""Dashboards as typed panels, and how their series want to look."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monitoring.fields import look
from monitoring.panels import Dashboard, DashboardError, Query, legend_name, read_dashboard
from tests.monitoring import made_up

COMMITTED = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards"


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Dashboard:
    return read_dashboard(made_up.write_dashboard(tmp_path_factory.mktemp("dashboard") / "made-up.json"))


def test_panels_know_their_kind_place_queries_and_row(dashboard: Dashboard) -> None:
    panels = {panel.title: panel for panel in dashboard.panels}
    assert {title: (panel.kind, panel.row) for title, panel in panels.items()} == {
        "Requests": ("stat", ""),
        "Nothing": ("stat", ""),
        "Took": ("timeseries", "Times"),
        "Rate": ("timeseries", "Times"),
        "Waited": ("heatmap", "Times"),
        "Share": ("bargauge", "Times"),
        "Loaded": ("table", "Models"),
        "Model $model": ("timeseries", "Models"),
    }
    took = panels["Took"]
    assert (took.position.x, took.position.y, took.position.w, took.position.h) == (0, 5, 12, 8)
    assert [(q.ref, q.legend, q.instant) for q in took.queries] == [
        ("A", "{{model}}", False),
        ("B", "budget {{model}}", False),
    ]
    assert panels["Share"].queries[0].instant
    assert (panels["Model $model"].repeat, panels["Model $model"].per_row) == ("model", 2)


def test_panels_of_a_collapsed_row_are_there_too(dashboard: Dashboard) -> None:
    assert [row.collapsed for row in dashboard.rows] == [False, True]
    assert sum(panel.row == "Models" for panel in dashboard.panels) == 2
    assert len(list(dashboard.queries())) == sum(len(panel.queries) for panel in dashboard.panels)


def test_an_override_changes_the_series_that_it_matches_and_no_other(dashboard: Dashboard) -> None:
    (took,) = (panel for panel in dashboard.panels if panel.title == "Took")
    measured, budget = look(took, "a", "A"), look(took, "budget a", "B")
    assert (measured.custom.style.fill, measured.color.mode) == ("solid", "palette-classic")
    assert (budget.custom.style.fill, budget.color.fixed) == ("dash", "red")
    assert measured.unit == budget.unit == "s"
    assert [measured.threshold_color(value) for value in (0.1, 0.5, 9.0)] == ["green", "red", "red"]


@pytest.mark.parametrize(
    ("kind", "options", "matching"),
    [
        ("byName", "p95", ["p95"]),
        ("byNames", {"names": ["p50", "p95"]}, ["p50", "p95"]),
        ("byRegexp", "/^p9/", ["p95", "p99"]),
        ("byFrameRefID", "A", ["p50", "p95", "p99"]),
    ],
)
def test_matchers(tmp_path: Path, kind: str, options: object, matching: list[str]) -> None:
    override = {"matcher": {"id": kind, "options": options}, "properties": [{"id": "unit", "value": "s"}]}
    raw = made_up.panel(1, "timeseries", "one", (0, 0, 24, 8), made_up.target("up"), overrides=[override])
    (panel,) = read_dashboard(made_up.write_dashboard(tmp_path / "one.json", {"panels": [raw]})).panels
    assert [name for name in ("p50", "p95", "p99") if look(panel, name).unit == "s"] == matching


def test_a_matcher_that_nobody_reads_is_an_error(tmp_path: Path) -> None:
    override = {"matcher": {"id": "byMoon", "options": "full"}, "properties": []}
    raw = made_up.panel(1, "timeseries", "one", (0, 0, 24, 8), made_up.target("up"), overrides=[override])
    (panel,) = read_dashboard(made_up.write_dashboard(tmp_path / "one.json", {"panels": [raw]})).panels
    with pytest.raises(DashboardError, match="byMoon"):
        look(panel, "p50")


@pytest.mark.parametrize(
    "content", ["", "[1]", "{}", '{"panels": [{"type": "stat"}]}', '{"panels": [], "templating": {"list": [{}]}}']
)
def test_what_is_no_dashboard_is_refused_with_its_file(tmp_path: Path, content: str) -> None:
    file = tmp_path / "other.json"
    file.write_text(content)
    with pytest.raises(DashboardError, match=r"other\.json"):
        read_dashboard(file)
    with pytest.raises(DashboardError, match=r"absent\.json"):
        read_dashboard(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("legend", "labels", "name"),
    [
        ("{{model}} p95", {"model": "a", "task": "b"}, "a p95"),
        ("{{ model }}/{{absent}}", {"model": "a"}, "a/"),
        ("", {"__name__": "up", "job": "x"}, 'up{job="x"}'),
        ("__auto", {"job": "x"}, '{job="x"}'),
        ("", {}, "sum(up)"),
    ],
)
def test_names_of_series(legend: str, labels: dict[str, str], name: str) -> None:
    assert legend_name(Query(expr="sum(up)", legend=legend), labels, "sum(up)") == name


@pytest.mark.parametrize("file", sorted(COMMITTED.glob("*.json")), ids=lambda file: file.stem)
def test_the_committed_dashboards_are_read_whole(file: Path) -> None:
    dashboard = read_dashboard(file)
    assert dashboard.uid.startswith("millisight-")
    raw = json.loads(file.read_text())["panels"]
    inner = [panel for entry in raw for panel in (entry.get("panels") or ())]
    assert len(dashboard.panels) == len(inner) + sum(entry["type"] != "row" for entry in raw)
    for panel, query in dashboard.queries():
        assert look(panel, query.legend, query.ref)

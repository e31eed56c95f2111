"""A dashboard with a panel of every kind that is drawn, as Grafana writes it, and half an hour of points for it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.monitoring.programs import open_metrics

START, MINUTES, STEP_S = 1_700_000_000, 30, 15
END = START + 60 * MINUTES
MOMENTS = range(START, END + 1, STEP_S)

# How many observations fall up to each edge in a second.
EDGES = {"0.01": 0.0, "0.05": 0.5, "0.1": 2.0, "0.5": 3.0, "+Inf": 3.0}

BASE = {"color": None, "value": None}
STEPS = {"mode": "absolute", "steps": [{"color": "green", "value": None}, {"color": "red", "value": 0.5}]}


def metrics() -> str:
    """Points of every family."""

    def course(value: Callable[[float], float]) -> dict[float, float]:
        return {moment: round(value(moment - START), 6) for moment in MOMENTS}

    counters = {
        'task="denoise",model="a.1"': course(lambda t: 2 * t),
        'task="derain",model="b"': course(lambda t: 3 * t),
    }
    buckets = {f'le="{edge}"': course(lambda t, rate=rate: rate * t) for edge, rate in EDGES.items()}
    gauges = {
        'model="a.1"': course(lambda t: 0.08 + 0.02 * math.sin(t / 100)),
        'model="b"': course(lambda t: 0.2 + 0.1 * math.sin(t / 200)),
    }
    budgets = {'model="a.1"': course(lambda _: 0.12), 'model="b"': course(lambda _: 0.25)}
    info = {
        'model="a.1",target="cpu"': course(lambda _: 1),
        'model="b",target="gpu"': course(lambda _: 1),
    }
    parts = [
        open_metrics("counter", "made", {}) + open_metrics("counter", "made_total", counters).partition("\n")[2],
        open_metrics("histogram", "waited_seconds", {})
        + open_metrics("histogram", "waited_seconds_bucket", buckets).partition("\n")[2],
        open_metrics("gauge", "took_seconds", gauges),
        open_metrics("gauge", "budget_seconds", budgets),
        open_metrics("gauge", "model_info", info),
    ]
    return "".join(parts) + "# EOF\n"


def target(expr: str, legend: str = "", ref: str = "A", **more: Any) -> dict[str, Any]:
    return {"expr": expr, "legendFormat": legend, "refId": ref, "range": True, "datasource": None} | more


def panel(number: int, kind: str, title: str, place: tuple[int, int, int, int], *targets: Any, **more: Any) -> Any:
    x, y, w, h = place
    defaults = more.pop("defaults", {})
    return {
        "id": number,
        "type": kind,
        "title": title,
        "description": f"What {title} is.",
        "gridPos": {"x": x, "y": y, "w": w, "h": h},
        "targets": list(targets),
        "fieldConfig": {"defaults": defaults, "overrides": more.pop("overrides", [])},
    } | more


def dashboard() -> dict[str, Any]:
    graph = {"unit": "s", "thresholds": STEPS, "custom": {"axisSoftMin": 0, "thresholdsStyle": {"mode": "dashed"}}}
    stack = {"unit": "reqps", "custom": {"stacking": {"mode": "normal", "group": "A"}, "fillOpacity": 60}}
    dash = [
        {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 6]}},
        {"id": "color", "value": {"mode": "fixed", "fixedColor": "red"}},
    ]
    columns = {"model": "Model", "target": "Target", "Value #A": "There", "Value #B": "Took"}
    names = {"include": {"names": list(columns)}}
    organize = {"indexByName": {name: i for i, name in enumerate(columns)}, "renameByName": columns}
    instant = {"instant": True, "range": False, "format": "table"}
    panels = [
        panel(1, "stat", "Requests", (0, 0, 4, 4), target('sum(rate(made_total{task=~"$task"}[$__rate_interval]))'),
              defaults={"unit": "reqps", "noValue": "–"}, options={"graphMode": "area"}),
        panel(2, "stat", "Nothing", (4, 0, 4, 4), target("absent_from_here"), defaults={"noValue": "–"}),
        {"id": 20, "type": "row", "title": "Times", "gridPos": {"x": 0, "y": 4, "w": 24, "h": 1}, "collapsed": False,
         "panels": []},
        panel(3, "timeseries", "Took", (0, 5, 12, 8),
              target('took_seconds{model=~"$model"}', "{{model}}"), target("budget_seconds", "budget {{model}}", "B"),
              defaults=graph, overrides=[{"matcher": {"id": "byFrameRefID", "options": "B"}, "properties": dash}],
              options={"legend": {"displayMode": "table", "showLegend": True, "calcs": ["lastNotNull", "max"]}}),
        panel(4, "timeseries", "Rate", (12, 5, 12, 8),
              target("sum by (task) (rate(made_total[$__rate_interval]))", "{{task}}"), defaults=stack),
        panel(5, "heatmap", "Waited", (0, 13, 12, 8),
              target("sum by (le) (increase(waited_seconds_bucket[$__rate_interval]))", "{{le}}", format="heatmap"),
              options={"yAxis": {"unit": "s"}}),
        panel(6, "bargauge", "Share", (12, 13, 12, 8),
              target("took_seconds / budget_seconds", "{{model}}", instant=True),
              defaults={"unit": "percentunit", "min": 0, "max": 1, "thresholds": STEPS}),
        {"id": 21, "type": "row", "title": "Models", "gridPos": {"x": 0, "y": 21, "w": 24, "h": 1}, "collapsed": True,
         "panels": [
            panel(7, "table", "Loaded", (0, 22, 24, 6), target("model_info", ref="A", **instant),
                  target("took_seconds", ref="B", **instant),
                  transformations=[{"id": "merge", "options": {}}, {"id": "filterFieldsByName", "options": names},
                                   {"id": "organize", "options": organize}],
                  overrides=[{"matcher": {"id": "byName", "options": "Took"},
                              "properties": [{"id": "unit", "value": "s"}]}],
                  options={"sortBy": [{"displayName": "Took", "desc": True}]}),
            panel(8, "timeseries", "Model $model", (0, 28, 24, 6), target('took_seconds{model=~"$model"}', "{{model}}"),
                  repeat="model", maxPerRow=2, defaults=graph),
         ]},
    ]  # fmt: skip
    variables = [
        {"name": "datasource", "type": "datasource", "query": "prometheus"},
        {"name": "task", "type": "query", "query": {"query": "label_values(made_total, task)", "refId": "x"},
         "multi": True, "includeAll": True, "allValue": ".*", "regex": ""},
        {"name": "model", "type": "query", "query": 'label_values(made_total{task=~"$task"}, model)',
         "multi": True, "includeAll": True, "allValue": None},
    ]  # fmt: skip
    return {"uid": "made-up", "title": "Made up", "panels": panels, "templating": {"list": variables}}


def write_dashboard(path: Path, content: dict[str, Any] | None = None) -> Path:
    path.write_text(json.dumps(dashboard() if content is None else content))
    return path

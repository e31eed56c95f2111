"""Dashboards and rules ask for what the code exports, all of it, by labels that it has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from monitoring.dashboards import BOARDS, json_of
from monitoring.dashboards.lint_metrics import Asked, Exported, asked_by_dashboard, lint_metrics
from monitoring.raw import RAW
from monitoring.rules import Recording, load_rules
from serving.metrics import families as service_families
from training.telemetry import families as run_families

RULES = Path(__file__).parents[3] / "deploy" / "prometheus" / "rules"


def asked_by_rules() -> Iterator[Asked]:
    for rule in load_rules(RULES).all:
        yield Asked("rules", rule.name, rule.expr, records=rule.name if isinstance(rule, Recording) else "")


def asked_by_all() -> list[Asked]:
    dashboards = [one for board in BOARDS for one in asked_by_dashboard(json.loads(json_of(board)))]
    return [*dashboards, *asked_by_rules()]


def exported() -> list[Exported]:
    return [*service_families(), *run_families()]


def test_all_that_is_asked_is_exported_and_all_that_is_exported_is_asked() -> None:
    assert [str(finding) for finding in lint_metrics(asked_by_all(), exported(), RAW)] == []


@dataclass(frozen=True)
class Made:
    name: str
    kind: str
    labels: tuple[str, ...] = ()


FAMILIES = (Made("a_total", "counter", ("model",)), Made("b_seconds", "histogram", ("model",)), Made("c", "gauge"))
SOUND = (
    Asked("board", "rate", "sum by (model) (rate(a_total[5m]))", "{{model}}"),
    Asked("board", "quantile", "histogram_quantile(0.5, sum by (le, instance) (rate(b_seconds_bucket[5m])))"),
    Asked("rules", "model:c:max", "max(c)", records="model:c:max"),
    Asked(
        "board", "recorded", 'model:c:max{model="x"} and ALERTS{alertstate="firing"} unless on () up', "{{whatever}}"
    ),
)


def findings(*more: Asked, families: tuple[Made, ...] = FAMILIES, raw: dict[str, str] | None = None) -> list[str]:
    return [str(finding) for finding in lint_metrics((*SOUND, *more), families, raw or {})]


def test_what_is_sound_passes() -> None:
    assert findings() == []


@pytest.mark.parametrize(
    ("expr", "legend", "said"),
    [
        ("rate(a[5m])", "", "a is neither exported nor recorded"),
        ("b_seconds", "", "b_seconds is neither exported nor recorded"),
        ("c_sum", "", "c_sum is neither exported nor recorded"),
        ("model:c:min", "", "model:c:min is neither exported nor recorded"),
        ('rate(a_total{task="x"}[5m])', "", "a_total has no label task"),
        ('model:c:max{target="x"}', "", "model:c:max has no label target"),
        ("sum by (task) (rate(a_total[5m]))", "", "has a label task"),
        ("rate(a_total[5m])", "{{ task }}", "has a label task"),
        ("rate(a_total[5m]", "", "not closed"),
    ],
)
def test_a_planted_question_is_found(expr: str, legend: str, said: str) -> None:
    (finding,) = findings(Asked("board", "planted", expr, legend))
    assert finding.startswith("board / planted: ")
    assert said in finding


def test_a_family_that_nobody_asks_for_is_found_unless_it_is_raw() -> None:
    families = (*FAMILIES, Made("d", "gauge"))
    assert findings(families=families) == ["d is exported, and no panel and no rule asks for it"]
    assert findings(families=families, raw={"d": "for debugging"}) == []


@pytest.mark.parametrize(("name", "said"), [("a_total", "asked for"), ("e", "not exported")])
def test_a_raw_family_that_is_asked_for_or_gone_is_found(name: str, said: str) -> None:
    assert findings(raw={name: "for debugging"}) == [f"{name} is listed as raw and is {said}"]


def test_a_raw_family_needs_a_reason() -> None:
    assert findings(families=(*FAMILIES, Made("d", "gauge")), raw={"d": ""}) == [
        "d is listed as raw and is without a reason"
    ]


def test_a_recorded_series_that_nobody_asks_for_is_found() -> None:
    (finding,) = findings(Asked("rules", "model:c:sum", "sum(c)", records="model:c:sum"))
    assert finding == "model:c:sum is recorded, and no panel and no rule asks for it"


def test_variables_and_annotations_are_asked_too() -> None:
    content = json.loads(json_of(BOARDS[0]))
    places = {one.panel for one in asked_by_dashboard(content)}
    assert {"variable task", "variable model", "annotation Alert", "annotation Model loaded"} <= places
    content["annotations"]["list"][0]["expr"] = "gone"
    assert any("gone is neither" in str(found) for found in lint_metrics(asked_by_dashboard(content), exported(), RAW))

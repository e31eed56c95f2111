"""The lints of a dashboard: nothing to say of ours, and something to say of each planted fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from monitoring.dashboards import BOARDS, Board, json_of
from monitoring.dashboards.lint import lint_dashboard, panels_of, references

Content = dict[str, Any]


def promise() -> Content:
    """A dashboard with panels of every kind."""
    content: Content = json.loads(json_of(next(board for board in BOARDS if board.slug == "latency-promise")))
    return content


def first(content: Content, kind: str) -> Content:
    return next(panel for panel in content["panels"] if panel["type"] == kind)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.slug)
def test_there_is_nothing_to_say_of_ours(board: Board) -> None:
    assert [str(finding) for finding in lint_dashboard(json.loads(json_of(board)))] == []


def same_id(content: Content) -> None:
    first(content, "stat")["id"] = first(content, "heatmap")["id"]


def same_title(content: Content) -> None:
    first(content, "stat")["title"] = first(content, "heatmap")["title"]


def no_description(content: Content) -> None:
    del first(content, "table")["description"]


def no_unit(content: Content) -> None:
    del first(content, "timeseries")["fieldConfig"]["defaults"]["unit"]


def no_unit_of_the_axis(content: Content) -> None:
    del first(content, "heatmap")["options"]["yAxis"]["unit"]


def no_unit_of_a_column(content: Content) -> None:
    first(content, "table")["fieldConfig"]["overrides"].pop()


def fixed_source(content: Content) -> None:
    first(content, "stat")["datasource"]["uid"] = "prometheus"


def fixed_source_of_a_query(content: Content) -> None:
    del first(content, "timeseries")["targets"][1]["datasource"]


def fixed_source_of_a_variable(content: Content) -> None:
    del content["templating"]["list"][1]["datasource"]


def fixed_source_of_an_annotation(content: Content) -> None:
    content["annotations"]["list"][0]["datasource"] = {"type": "prometheus", "uid": "prometheus"}


def unknown_variable(content: Content) -> None:
    first(content, "stat")["targets"][0]["expr"] = 'max(restore_budget_seconds{model="${modell:regex}"})'


def unused_variable(content: Content) -> None:
    content["templating"]["list"].append({"name": "spare", "type": "textbox", "query": "x"})


def variable_twice(content: Content) -> None:
    content["templating"]["list"].append(content["templating"]["list"][1])


def over_another(content: Content) -> None:
    first(content, "bargauge")["gridPos"]["x"] += 1


def too_wide(content: Content) -> None:
    first(content, "table")["gridPos"]["w"] = 25


def nameless_series(content: Content) -> None:
    first(content, "bargauge")["targets"][0]["legendFormat"] = ""


def hidden_legend(content: Content) -> None:
    first(content, "timeseries")["options"]["legend"]["showLegend"] = False


def no_identity(content: Content) -> None:
    del content["uid"]


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (same_id, "2 panels have the id"),
        (same_title, "2 panels have this title"),
        (no_description, "no description"),
        (no_unit, "no unit"),
        (no_unit_of_the_axis, "no unit on the axis"),
        (no_unit_of_a_column, "column 'Drift' has no unit"),
        (fixed_source, "does not ask the data source that is chosen"),
        (fixed_source_of_a_query, "does not ask the data source that is chosen"),
        (fixed_source_of_a_variable, "variable $model does not ask"),
        (fixed_source_of_an_annotation, "annotation 'Alert' does not ask"),
        (unknown_variable, "$modell is used and not defined"),
        (unused_variable, "$spare is defined and not used"),
        (variable_twice, "$model is defined 2 times"),
        (over_another, "it lies over Tiles in budget by model"),
        (too_wide, "no place within the 24 columns"),
        (nameless_series, "whose series have no name"),
        (hidden_legend, "the legend is switched off"),
        (no_identity, "needs a description and a uid"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_planted_fault_is_found(plant: Callable[[Content], None], said: str) -> None:
    content = promise()
    plant(content)
    findings = [str(finding) for finding in lint_dashboard(content)]
    assert any(said in finding for finding in findings), findings


def test_panels_of_closed_rows_are_looked_at_too() -> None:
    content = json.loads(json_of(BOARDS[0]))
    row = next(panel for panel in content["panels"] if panel.get("collapsed"))
    assert row["panels"][0] in [*panels_of(content)]
    row["panels"][1]["gridPos"] = row["panels"][0]["gridPos"]
    assert any("it lies over" in finding.text for finding in lint_dashboard(content))


def test_references_are_grafanas_three_forms_without_its_own() -> None:
    text = 'rate(a{b=~"$b",c="${c:regex}",d="[[d]]"}[$__rate_interval]) label_replace(x, "e", "$1", "f", "(.*)")'
    assert [*references({"text": [text], "other": 3})] == ["b", "c", "d"]

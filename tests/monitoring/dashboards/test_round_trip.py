"""What is committed survives a reader that knows Grafana's schema: nothing is misspelt, dropped or added."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from monitoring.dashboards import BOARDS, Board, json_of


def round_trip(content: dict[str, Any]) -> Any:
    """JSON to the SDK's classes and back; no key is left out of the comparison."""
    register_default_plugins()
    return json.loads(json.dumps(Dashboard.from_json(copy.deepcopy(content)), cls=JSONEncoder))


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.slug)
def test_a_dashboard_comes_back_as_it_was(board: Board) -> None:
    content = json.loads(json_of(board))
    assert round_trip(content) == content


@pytest.mark.parametrize(
    "path",
    [
        (),
        ("panels", 1),
        ("panels", 1, "options"),
        ("panels", 1, "fieldConfig", "defaults"),
        ("panels", 1, "gridPos"),
        ("panels", 1, "targets", 0),
        ("templating", "list", 0),
        ("annotations", "list", 0),
        ("links", 0),
    ],
    ids=str,
)
def test_a_key_that_grafana_does_not_know_would_be_seen(path: tuple[str | int, ...]) -> None:
    content = json.loads(json_of(BOARDS[0]))
    part: Any = content
    for key in path:
        part = part[key]
    part["unitt"] = "s"
    assert round_trip(content) != content

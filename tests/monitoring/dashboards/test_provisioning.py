"""What Grafana is given at its start fits the dashboards, and links lead to pages that are there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.dashboards import BOARDS, json_of
from monitoring.rules import Alert, load_rules

ROOT = Path(__file__).parents[3]
PROVISIONING = ROOT / "deploy" / "grafana" / "provisioning"
RUNBOOK = re.compile(r"\$\{docs\}/runbooks/(\w+)\.md")


def provisioned(name: str) -> Any:
    return yaml.safe_load((PROVISIONING / name).read_text(encoding="utf-8"))


def runbooks() -> set[str]:
    return {name for board in BOARDS for name in RUNBOOK.findall(json_of(board))}


def alerts() -> tuple[Alert, ...]:
    return load_rules(ROOT / "deploy" / "prometheus" / "rules").alerts


def test_the_data_source_is_the_one_that_dashboards_begin_with() -> None:
    (source,) = provisioned("datasources/prometheus.yml")["datasources"]
    assert (source["uid"], source["type"], source["url"]) == ("prometheus", "prometheus", "${PROMETHEUS_URL}")
    for board in BOARDS:
        (variable,) = [v for v in json.loads(json_of(board))["templating"]["list"] if v["type"] == "datasource"]
        assert variable["current"]["value"] == source["uid"]
        assert variable["query"] == source["type"]


def test_dashboards_are_found_and_cannot_be_changed_where_it_would_be_lost() -> None:
    (provider,) = provisioned("dashboards/millisight.yml")["providers"]
    assert provider["type"] == "file"
    assert provider["allowUiUpdates"] is False
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"


def test_every_linked_runbook_is_of_an_alert() -> None:
    assert runbooks() <= {alert.name for alert in alerts()}
    assert len(runbooks()) > 5


@pytest.mark.parametrize("name", sorted(runbooks()))
def test_every_linked_runbook_is_there(name: str) -> None:
    assert (ROOT / "docs" / "runbooks" / f"{name}.md").is_file()


def test_every_alert_names_a_dashboard_that_is_there() -> None:
    assert {alert.annotations.dashboard for alert in alerts()} <= {board.uid for board in BOARDS}

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from millisight.cli import app
from monitoring.dashboards.lint import Finding
from monitoring.dashboards.lint_metrics import Asked, lint_metrics
from monitoring.rules import Recording, Rules, RulesError, load_rules, parse_rules, prometheus_rule
from serving import metrics
from training import telemetry

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus" / "rules"
MANIFEST = ROOT / "deploy" / "kubernetes" / "components" / "prometheus-operator" / "prometheusrule.yaml"
RULES = load_rules(FOLDER)
ALERTS = {alert.name for alert in RULES.alerts}


def faults_of(rules: Rules) -> list[Finding]:
    """What the expressions ask for and nobody exports or records."""
    records = {rule.name for rule in RULES.records}
    asked = [
        Asked("rules", rule.name, rule.expr, records=rule.name if rule.name in records else "") for rule in rules.all
    ]
    found = lint_metrics(asked, (*metrics.families(), *telemetry.families()), {})
    # Those without a place are about metrics that only dashboards ask for.
    return [finding for finding in found if finding.dashboard]


def test_the_alerts_are_those_that_were_agreed_on() -> None:
    assert {
        "RestoreBudgetMissed", "RestoreDriftHigh", "RestoreErrorBudgetBurnFast", "RestoreErrorBudgetBurnSlow",
        "RestoreSaturated", "RestoreNonfiniteOutputs", "RestoreModelAbsent", "RestoreScrapeAbsent",
        "RestoreBundleRefused", "RestoreWorkersDying", "MillisightRunStalled",
    } == ALERTS  # fmt: skip


def test_every_metric_and_label_in_a_rule_is_exported_or_recorded() -> None:
    assert faults_of(RULES) == []


@pytest.mark.parametrize(
    ("expr", "fault"),
    [
        ("restore_no_such_total > 0", "restore_no_such_total"),
        ('sum(rate(restore_requests_total{status="500"}[5m])) > 0', "status"),
        ("task:restore_no_such:ratio5m > 0", "task:restore_no_such:ratio5m"),
    ],
)
def test_a_metric_or_label_that_nobody_exports_would_be_seen(expr: str, fault: str) -> None:
    alert = RULES.alerts[0].model_copy(update={"expr": expr})
    group = RULES.groups[0].model_copy(update={"rules": (*RULES.records, alert)})
    assert [fault in str(finding) for finding in faults_of(Rules((group,)))] == [True]


def test_alerts_say_who_is_told_and_where_to_look() -> None:
    dashboards = {json.loads(path.read_text())["uid"] for path in (ROOT / "deploy/grafana/dashboards").glob("*.json")}
    for alert in RULES.alerts:
        assert alert.severity in ("page", "ticket"), alert.name
        assert alert.annotations.runbook == f"docs/runbooks/{alert.name}.md"
        assert alert.annotations.dashboard in dashboards, alert.name


def test_alerts_of_one_name_differ_in_their_labels() -> None:
    marks = [(alert.name, tuple(sorted(alert.labels.items()))) for alert in RULES.alerts]
    assert len(set(marks)) == len(marks)


def test_every_divisor_that_counts_events_drops_its_zero() -> None:
    for rule in RULES.records:
        # What comes after a division is a sum that may be 0, unless it is a share or a number.
        for divisor in rule.expr.replace("\n", " ").split(" / ")[1:]:
            assert "> 0)" in divisor or divisor.strip().startswith("0."), rule.name


def test_least_counts_of_the_burn_alerts_fit_the_interval_that_they_are_summed_at() -> None:
    intervals = {group.interval for group in RULES.groups for rule in group.rules if rule.name.endswith(":rate5m")}
    recorded = {group.interval for group in RULES.groups if group.name == "restore-slo"}
    assert recorded == {"30s"}
    assert recorded <= intervals
    burning = [alert for alert in RULES.alerts if "slo" in alert.labels]
    assert len(burning) == 3
    assert all(alert.expr.count("> 3 / 30\n") == alert.expr.count("sum_over_time") == 2 for alert in burning)


def fields(**changes: object) -> str:
    alert = {
        "alert": "Some",
        "expr": "up == 0",
        "labels": {"severity": "page"},
        "annotations": {
            "summary": "s",
            "description": "d",
            "runbook": "docs/runbooks/Some.md",
            "dashboard": "millisight-slo",
        },
    }
    return yaml.safe_dump({"groups": [{"name": "g", "rules": [alert | changes]}]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("groups: [", "is not YAML"),
        ("rules: []", "groups: Field required"),
        (fields(**{"for": "5 minutes"}), "for: String should match"),
        (fields(severity="page"), "severity: Extra inputs are not permitted"),
        (fields(annotations={"summary": "s"}), "description: Field required"),
        ("groups: [{name: g, rules: [{record: some_name, expr: up}]}]", "record: String should match"),
    ],
)
def test_a_file_that_is_not_understood_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(RulesError, match=r"^made\.yml") as caught:
        parse_rules(text, "made.yml")
    assert message in str(caught.value)


def test_a_folder_without_rules_and_a_name_given_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match="no rules files"):
        load_rules(tmp_path)
    group = "groups: [{name: %s, rules: [{record: 'a:b:c', expr: up}]}]"
    (tmp_path / "one.yml").write_text(group % "first")
    (tmp_path / "two.yml").write_text(group % "second")
    with pytest.raises(RulesError, match="record a:b:c is there more than once"):
        load_rules(tmp_path)


def test_the_manifest_of_the_operator_is_what_the_rules_say() -> None:
    assert MANIFEST.read_text() == prometheus_rule(RULES.groups)
    content = yaml.safe_load(MANIFEST.read_text())
    groups = [group for path in sorted(FOLDER.glob("*.yml")) for group in yaml.safe_load(path.read_text())["groups"]]
    assert content["spec"]["groups"] == groups
    assert (content["apiVersion"], content["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")


def test_the_command_writes_the_manifest_and_sees_that_it_is_old(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "rule.yaml"
    arguments = ["monitor", "rules", str(FOLDER), "--out", str(out)]
    runner = CliRunner()
    missing = runner.invoke(app, [*arguments, "--check"])
    assert isinstance(missing.exception, RulesError)
    assert runner.invoke(app, arguments).exit_code == 0
    assert out.read_text() == MANIFEST.read_text()
    assert "as it should be" in runner.invoke(app, [*arguments, "--check"]).output
    out.write_text(out.read_text().replace("> 1.2", "> 1.3"))
    assert "is not what the rules say" in str(runner.invoke(app, [*arguments, "--check"]).exception)


def test_rules_are_read_as_they_are_written() -> None:
    slow = [rule for rule in RULES.records if rule.name == "slo:restore_answers:error_ratio_28d"]
    assert isinstance(slow[0], Recording)
    assert "[28d]" in slow[0].expr
    drift = next(alert for alert in RULES.alerts if alert.name == "RestoreDriftHigh")
    assert (drift.wait, drift.keep_firing_for, drift.labels) == ("10m", "5m", {"severity": "ticket"})


# What promtool's unit tests cover; whether they hold is tests/monitoring/test_rules_promtool.py's.


def unit_tests() -> Iterator[dict[str, Any]]:
    for path in sorted((ROOT / "deploy" / "prometheus" / "tests").glob("*.yml")):
        yield from yaml.safe_load(path.read_text())["tests"]


def test_every_alert_has_unit_tests_in_which_it_fires_and_in_which_it_does_not() -> None:
    cases = [case for test in unit_tests() for case in test.get("alert_rule_test", ())]
    fired = {
        (case["alertname"], alert["exp_labels"]["severity"], alert["exp_labels"].get("slo", ""))
        for case in cases
        for alert in case["exp_alerts"]
    }
    assert fired == {(alert.name, alert.severity, alert.labels.get("slo", "")) for alert in RULES.alerts}
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == ALERTS


def test_every_alert_is_seen_to_clear() -> None:
    cleared = set()
    for test in unit_tests():
        fired = set()
        for case in test.get("alert_rule_test", ()):
            if case["exp_alerts"]:
                fired.add(case["alertname"])
            elif case["alertname"] in fired:
                cleared.add(case["alertname"])
    assert cleared == ALERTS


def test_every_recorded_series_has_a_unit_test_with_a_value() -> None:
    asked = [
        str(case["expr"]) for test in unit_tests() for case in test.get("promql_expr_test", ()) if case["exp_samples"]
    ]
    untested = [rule.name for rule in RULES.records if not any(rule.name in expr for expr in asked)]
    assert untested == []

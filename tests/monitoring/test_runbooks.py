import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from monitoring.dashboards.lint_metrics import Asked, lint_metrics
from monitoring.rules import load_rules
from serving import metrics
from serving.openapi import openapi_document
from serving.settings import PREFIX, Settings
from tests.monitoring.programs import needs
from tests.monitoring.test_rules_promtool import promtool
from training import telemetry

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "runbooks"
RULES = load_rules(ROOT / "deploy" / "prometheus" / "rules")
ALERTS = sorted({alert.name for alert in RULES.alerts})
PAGES = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.md"))}
SECTIONS = [
    "What it means", "What users see", "How to check", "Likely causes", "What to do", "Escalate or silence",
    "How it clears",
]  # fmt: skip
_QUERY = re.compile(r"^```promql\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SHELL = re.compile(r"^ *```sh\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_ROUTE = re.compile(r"http://localhost:3000(/[\w/.-]*)")
_COMMAND = re.compile(r"(?:`|^ *|exec millisight |; )millisight ([a-z]+)((?: [a-z]+)*)", re.MULTILINE)
_VARIABLE = re.compile(rf"\b{PREFIX}[A-Z_]+")
_LINK = re.compile(r"\]\((?!http)([^)#]+)")


def queries(text: str) -> list[str]:
    return [query.strip() for query in _QUERY.findall(text)]


def shells(text: str) -> list[str]:
    return [line.strip() for block in _SHELL.findall(text) for line in block.splitlines() if line.strip()]


def faults_of(text: str) -> list[str]:
    """What a page's queries ask for and nobody exports or records."""
    asked = [Asked("rules", rule.name, rule.expr, records=rule.name) for rule in RULES.records]
    asked += [Asked("page", "", query) for query in queries(text)]
    found = lint_metrics(asked, (*metrics.families(), *telemetry.families()), {})
    return [str(finding) for finding in found if finding.dashboard == "page"]


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    assert sorted(PAGES) == sorted([*ALERTS, "README"])


@pytest.mark.parametrize("name", ALERTS)
def test_a_page_has_all_sections_in_order_and_says_who_is_told_and_where_to_look(name: str) -> None:
    text = PAGES[name]
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    bodies = re.split(r"^## .+$", text, flags=re.MULTILINE)[1:]
    assert all(len(body.strip()) > 40 for body in bodies)
    opening = text.partition("##")[0]
    for alert in RULES.alerts:
        if alert.name == name:
            assert f"**{alert.severity.capitalize()}" in opening
            assert f"`{alert.annotations.dashboard}`" in opening
    (rules,) = re.findall(r"`(deploy/prometheus/rules/\w+\.yml)`", opening)
    assert f"alert: {name}\n" in (ROOT / rules).read_text()


def test_the_index_names_every_page_with_who_is_told() -> None:
    rows = dict(re.findall(r"^\| \[(\w+)\]\(\1\.md\) \| ([a-z, ]+) \|", PAGES["README"], re.MULTILINE))
    told = {name: ", ".join(sorted({a.severity for a in RULES.alerts if a.name == name})) for name in ALERTS}
    assert rows == told


@pytest.mark.parametrize("name", ALERTS)
def test_a_page_gives_queries_and_commands_to_check_with(name: str) -> None:
    assert len(queries(PAGES[name])) >= 1
    # These two are told apart by series alone.
    assert shells(PAGES[name]) or name in ("RestoreErrorBudgetBurnSlow", "RestoreSaturated")


@pytest.mark.parametrize("name", sorted(PAGES))
def test_queries_ask_for_what_is_exported_or_recorded(name: str) -> None:
    assert faults_of(PAGES[name]) == []


def test_a_query_of_something_else_would_be_seen() -> None:
    assert faults_of("```promql\nsum by (colour) (restore_requests_total)\n```\n") != []
    assert faults_of("```promql\nrestore_no_such\n```\n") != []


@needs("promtool")
def test_queries_are_promql(tmp_path: Path) -> None:
    rules = [{"record": "a:b:c", "expr": query} for text in PAGES.values() for query in queries(text)]
    assert len(rules) > 30
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "pages", "rules": rules}]}))
    result = promtool("check", "rules", "--lint=none", str(file))
    assert result.returncode == 0, result.stdout + result.stderr
    file.write_text(yaml.safe_dump({"groups": [{"name": "pages", "rules": [{"record": "a:b:c", "expr": "sum by ("}]}]}))
    assert promtool("check", "rules", str(file)).returncode != 0


@pytest.mark.parametrize("name", sorted(PAGES))
def test_addresses_are_routes_of_the_service(name: str) -> None:
    patterns = [re.sub(r"\{\w+\}", r"[^/]+", path) for path in openapi_document(Settings())["paths"]]
    for route in _ROUTE.findall(PAGES[name]):
        assert any(re.fullmatch(pattern, route) for pattern in patterns) or name == "README", route


@pytest.mark.parametrize("name", sorted(PAGES))
def test_commands_are_whole_and_programs_are_those_an_operator_has(name: str) -> None:
    known = {"curl", "docker", "kubectl", "millisight", "uptime", "cat", "df", "ls", "pgrep", "dmesg", "sha256sum"}
    for line in shells(PAGES[name]):
        assert shlex.split(line)[0] in known, line
        assert "*" not in line


def test_commands_of_ours_exist() -> None:
    used = {tuple(f"{first}{rest}".split()[:2]) for text in PAGES.values() for first, rest in _COMMAND.findall(text)}
    names = {words[0] for words in used}
    assert {"doctor", "verify", "export"} <= names
    told = subprocess.run(
        [sys.executable, "-m", "millisight.cli", "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    missing = [name for name in names if not re.search(rf"^\W*{name}\b", told, re.MULTILINE)]
    assert missing == []


@pytest.mark.parametrize("name", sorted(PAGES))
def test_settings_and_dashboards_exist_and_links_lead_somewhere(name: str) -> None:
    fields = {PREFIX + field.upper() for field in Settings.model_fields}
    assert set(_VARIABLE.findall(PAGES[name])) <= fields
    dashboards = {json.loads(path.read_text())["uid"] for path in (ROOT / "deploy/grafana/dashboards").glob("*.json")}
    assert set(re.findall(r"\bmillisight-(?:overview|promise|slo|training)\b", PAGES[name])) <= dashboards
    for link in _LINK.findall(PAGES[name]):
        assert (FOLDER / link).exists(), link


def test_codes_of_errors_that_pages_name_are_those_of_the_service() -> None:
    document = json.dumps(openapi_document(Settings()))
    named = {code for text in PAGES.values() for code in re.findall(r"\b[45]\d\d `([a-z_]+)`", text)}
    assert len(named) >= 4
    assert [code for code in sorted(named) if not re.search(rf"\b{code}\b", document)] == []

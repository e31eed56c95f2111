"""Every expression of every dashboard is PromQL to Prometheus' own parser."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import yaml

from monitoring.dashboards import BOARDS, json_of
from monitoring.dashboards.lint_metrics import Asked, asked_by_dashboard
from monitoring.variables import Chosen, Variable, Window, substitute
from tests.monitoring.programs import needs

WINDOW = Window(0.0, 3600.0, scrape_s=15.0)


def asked() -> list[Asked]:
    return [one for board in BOARDS for one in asked_by_dashboard(json.loads(json_of(board)))]


def concrete(expr: str) -> str:
    """The expression with all chosen, as at first."""
    names = ("task", "model", "target", "run")
    chosen = {name: Chosen(Variable(name, "query", "", True, True, ".*", ""), raw=".*") for name in names}
    return substitute(expr, chosen, WINDOW)


def check(expressions: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """What promtool says of rules that ask for the expressions."""
    rules = [{"record": f"asked:{index}", "expr": expr} for index, expr in enumerate(expressions)]
    path = folder / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}))
    return subprocess.run(["promtool", "check", "rules", str(path)], capture_output=True, text=True, check=False)


@needs("promtool")
def test_every_expression_is_promql(tmp_path: Path) -> None:
    expressions = sorted({concrete(one.expr) for one in asked()})
    assert len(expressions) > 100
    found = check(expressions, tmp_path)
    assert found.returncode == 0, found.stdout + found.stderr


@needs("promtool")
def test_a_broken_expression_would_be_seen(tmp_path: Path) -> None:
    assert check([concrete('sum by (model) rate(a{b=~"$model"}[$__rate_interval])')], tmp_path).returncode != 0

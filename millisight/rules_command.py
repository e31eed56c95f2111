"""`monitor rules`: the rules of Prometheus as the Prometheus operator wants them."""

from pathlib import Path
from typing import Annotated

import typer

from millisight.console import require


def rules(
    folder: Annotated[Path, typer.Argument(help="the folder of the rules files")] = Path("deploy/prometheus/rules"),
    out: Annotated[Path, typer.Option(help="the manifest to write")] = Path(
        "deploy/kubernetes/components/prometheus-operator/prometheusrule.yaml"
    ),
    check: Annotated[bool, typer.Option("--check", help="write nothing; 1 if it is not what it should be")] = False,
) -> None:
    """Write recording and alert rules as a PrometheusRule, for clusters with the Prometheus operator."""
    require("yaml", "monitor")
    from monitoring.rules import check_prometheus_rule, load_rules, prometheus_rule

    found = load_rules(folder)
    if check:
        check_prometheus_rule(out, found.groups)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(prometheus_rule(found.groups), encoding="utf-8")
    done = "as it should be" if check else "written"
    typer.echo(f"{out}: {len(found.records)} series and {len(found.alerts)} alerts, {done}")

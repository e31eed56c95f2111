"""`monitor`: Grafana's dashboards and Prometheus' rules, and what one looks at without Grafana."""

from pathlib import Path
from typing import Annotated

import typer

from millisight import rules_command, snapshotting
from millisight.console import require

app = typer.Typer(
    help="Write dashboards and rules, and see what the dashboards show.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command()
def dashboards(
    out: Annotated[Path, typer.Option(help="the folder of the JSON files")] = Path("deploy/grafana/dashboards"),
    check: Annotated[bool, typer.Option("--check", help="write nothing; 1 if a file is not what it should be")] = False,
) -> None:
    """Write the dashboards as JSON for Grafana, one file each."""
    require("grafana_foundation_sdk", "monitor")
    from monitoring.dashboards import BOARDS, check_dashboards, write_dashboards

    if check:
        check_dashboards(out)
        typer.echo(f"{out}: {len(BOARDS)} dashboards, all as they should be")
        return
    changed = write_dashboards(out)
    for path in changed:
        typer.echo(path)
    typer.echo(f"{len(BOARDS)} dashboards, {len(changed)} changed")


app.command()(snapshotting.snapshot)
app.command()(rules_command.rules)

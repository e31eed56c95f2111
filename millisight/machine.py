"""What this machine can run."""

from typing import Annotated

import typer

from millisight.console import print_json, print_table
from runtime import list_targets


def targets(as_json: Annotated[bool, typer.Option("--json", help="for machines")] = False) -> None:
    """List the targets: where a network could run, and what is missing where it cannot."""
    found = list_targets()
    if as_json:
        print_json([target.model_dump() for target in found])
        return
    print_table(
        ("target", "available", "missing", "remedy"),
        [(t.slug, "yes" if t.available else "no", t.missing or "-", t.remedy or "-") for t in found],
    )

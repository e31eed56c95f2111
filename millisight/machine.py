"""What this machine can run."""

from typing import Annotated

import typer

from millisight.console import print_facts, print_json, print_table
from runtime import list_targets


def targets(as_json: Annotated[bool, typer.Option("--json", help="for machines")] = False) -> None:
    """List the targets: where a network could run. What is missing where it cannot: see also `millisight doctor`."""
    found = list_targets()
    if as_json:
        print_json([target.model_dump() for target in found])
        return
    print_table(("target", "available"), [(target.slug, "yes" if target.available else "no") for target in found])
    reasons: dict[tuple[str, str], list[str]] = {}
    for target in found:
        if not target.available:
            reasons.setdefault((target.missing, target.remedy), []).append(target.slug)
    for (missing, remedy), slugs in reasons.items():
        typer.echo(f"\n{', '.join(slugs)}")
        print_facts((("missing", missing), ("remedy", remedy)))

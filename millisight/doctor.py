"""`millisight doctor`: what this machine has, what is broken, and the command that mends it."""

import textwrap
from pathlib import Path
from typing import Annotated

import typer

from millisight.console import print_json
from runtime.doctor import Diagnosis, EngineFinding, Finding, diagnose

WIDTH = 110


def doctor(
    bundles: Annotated[list[Path] | None, typer.Argument(help="folders of bundles to look at as well")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for machines")] = False,
) -> None:
    """Show every engine, its version and device, what is missing or broken, and what mends it. 1 if something is."""
    found = diagnose(tuple(bundles or ()))
    if as_json:
        content = {"healthy": found.healthy, "usable": found.usable, **found.model_dump(mode="json")}
        print_json(content)
    else:
        typer.echo(format_diagnosis(found))
    if not found.healthy:
        raise typer.Exit(1)


def format_diagnosis(found: Diagnosis, width: int = WIDTH) -> str:
    """The text for people.

    Args:
        found: What was found.
        width: Columns to stay within; what has no space in it is not broken.
    """
    lines: list[str] = []
    for section in found.sections:
        lines += [section.title]
        names = max(len(finding.subject) for finding in section.findings)
        for finding in section.findings:
            lines += _format_finding(finding, names, width)
        lines.append("")
    broken = [finding.subject for finding in found.broken]
    lines.append(f"usable: {', '.join(found.usable) or 'no engine'}; broken: {', '.join(broken) or 'nothing'}")
    return "\n".join(lines)


def _format_finding(finding: Finding, names: int, width: int) -> list[str]:
    indent = " " * (2 + 9 + names + 2)
    texts = [*_facts(finding), finding.detail, f"-> {finding.remedy}" if finding.remedy else ""]
    wrapped = [
        line for text in texts if text
        for line in textwrap.wrap(text, width - len(indent), break_long_words=False, break_on_hyphens=False)
    ]  # fmt: skip
    first, *rest = wrapped or [""]
    return [f"  {finding.state:<9}{finding.subject:<{names}}  {first}".rstrip(), *(indent + line for line in rest)]


def _facts(finding: Finding) -> list[str]:
    """What is known of an engine beyond its state."""
    if not isinstance(finding, EngineFinding):
        return []
    versions = ", ".join(f"{name} {version}" for name, version in finding.versions.items()) or "not installed by pip"
    device = f" on {finding.device}" if finding.device and finding.state == "ok" else ""
    driver = f", driver {finding.driver}" if finding.driver else ""
    return [f"{versions}{device}{driver}; {', '.join(finding.precisions)}"]

"""What every command shares: printing, and saying which extra is missing."""

import importlib.util
import json
import textwrap
from collections.abc import Callable, Sequence
from typing import TypeVar

import typer

from runtime import MillisightError

T = TypeVar("T")


class MissingExtraError(Exception):
    """A command needs a package that this installation was made without."""


def require(package: str, extra: str) -> None:
    """Check for an optional package before the rooms that need it are imported.

    Raises:
        MissingExtraError: It is not installed; names the command that installs it.
    """
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(f"this command needs {package}, which is not installed: pip install '.[{extra}]'")


def print_json(content: object) -> None:
    """Print for machines."""
    typer.echo(json.dumps(content, indent=1))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns for people."""
    widths = [max(len(line[index]) for line in (header, *rows)) for index in range(len(header))]
    for line in (header, *rows):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_facts(facts: Sequence[tuple[str, str]], indent: int = 2, width: int = 110) -> None:
    """Print (name, text) pairs for people, long texts wrapped under themselves; pairs without text are left out."""
    names = max(len(name) for name, _ in facts)
    for name, text in facts:
        if text:
            start = " " * indent + (name.ljust(names + 2) if name else "")
            lines = textwrap.fill(
                text,
                width,
                initial_indent=start,
                subsequent_indent=" " * len(start),
                break_on_hyphens=False,
                break_long_words=False,
            )
            typer.echo(lines)


def usage(parse: Callable[[], T], option: str) -> T:
    """Run a parser of an option's value; what it refuses is wrong use (exit code 2).

    Raises:
        typer.BadParameter: With the parser's own words.
    """
    try:
        return parse()
    except MillisightError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error

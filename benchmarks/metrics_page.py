"""Puts the tables of metrics into docs/metrics.md: `python -m benchmarks.metrics_page`. A test holds it to the code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from benchmarks.blocks import fill_blocks
from benchmarks.results import Row, markdown
from serving import metrics
from training import telemetry

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"


class _Family(Protocol):
    """What families of the service and of runs have in common."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def help(self) -> str: ...


def fill(text: str) -> str:
    """The page with its tables made anew.

    Raises:
        ValueError: The page lacks a table's block.
    """
    return fill_blocks(
        text, [("service", lambda: _table(metrics.families())), ("runs", lambda: _table(telemetry.families()))], PAGE
    )


def _table(families: Sequence[_Family]) -> str:
    rows: list[Row] = [
        {
            "metric": f"`{family.name}`",
            "kind": family.kind,
            "labels": ", ".join(family.labels),
            "what": family.help.replace("|", "\\|"),
        }
        for family in families
    ]
    return markdown(rows)


if __name__ == "__main__":
    PAGE.write_text(fill(PAGE.read_text()))

"""Dashboards as the JSON files that Grafana reads, in one form: sorted keys, two spaces, a newline at the end."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from monitoring.dashboards.board import Board, build
from monitoring.dashboards.catalogue import BOARDS
from monitoring.dashboards.variables import DATASOURCE_VARIABLE
from runtime.errors import MillisightError

__all__ = ["StaleError", "check_dashboards", "json_of", "write_dashboards"]


class StaleError(MillisightError):
    """Files are not what the code says, or are of no dashboard."""


def json_of(board: Board) -> str:
    """The text of a dashboard's file; the same board always gives the same."""
    content = build(board, DATASOURCE_VARIABLE)
    return json.dumps(content, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def write_dashboards(folder: Path, boards: Iterable[Board] = BOARDS) -> tuple[Path, ...]:
    """Write a file for each dashboard, `<slug>.json`.

    Args:
        folder: Made if it is not there; other files in it are left alone.
        boards: What to write.

    Returns:
        The files whose content changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    changed = list[Path]()
    for board in boards:
        path, text = folder / f"{board.slug}.json", json_of(board)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return tuple(changed)


def check_dashboards(folder: Path, boards: Iterable[Board] = BOARDS) -> None:
    """Compare the files of a folder with what would be written.

    Args:
        folder: Where they lie.
        boards: What should lie there, and nothing else that ends in .json.

    Raises:
        StaleError: A file differs, lacks, or belongs to no dashboard; names all of them.
    """
    texts = {folder / f"{board.slug}.json": json_of(board) for board in boards}
    faults = [
        f"{path} {'differs' if path.is_file() else 'is not there'}"
        for path, text in texts.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    faults += [f"{path} is of no dashboard" for path in sorted(folder.glob("*.json")) if path not in texts]
    if faults:
        raise StaleError(f"{'; '.join(faults)}. `millisight monitor dashboards --out {folder}` writes them anew.")

"""Files of a run, written in one step: a kill at any moment leaves the old file or the new one, never half a file."""

import json
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text beside its place, then rename; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".writing")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def write_json(path: Path, content: object) -> None:
    """Write readable JSON."""
    write_text(path, json.dumps(content, indent=1) + "\n")

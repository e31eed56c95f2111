"""One form for every result file: command, machine, versions, date, rows."""

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from runtime import describe_host

FOLDER = Path(__file__).parent / "results"

Row = Mapping[str, str | int | float | None]


def write_results(name: str, command: str, rows: Sequence[Row], notes: str = "") -> Path:
    """Write `benchmarks/results/<name>.json` and print the rows as a Markdown table."""
    host = describe_host()
    content = {
        "name": name,
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": host.model_dump(mode="json"),
        "notes": notes,
        "rows": [dict(row) for row in rows],
    }
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(markdown(rows))
    print(f"\nwritten to {path}")
    return path


def markdown(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table; floats with two decimals."""
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns)]
    lines += [[f"{row[c]:.2f}" if isinstance(row[c], float) else str(row[c]) for c in columns] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

"""Every method on every task that its paper treats, preset `quick`: `python -m benchmarks.quick_runs --out FOLDER`.

Runs `make search-latency-aware` once for each, from latency table to bundle, and records the reports with how long each
took. What is in FOLDER already is not run again, and its time is kept.
"""

import argparse
import json
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.results import write_results
from search import METHODS
from tasks import TASKS

# One thread, in processor time: other work on the machine disturbs it least.
FIXED = ("PRESET=quick", "TARGET=cpu-onnxruntime-fp32-1t", "SIZE=256x256")
COMMAND = "python -m benchmarks.quick_runs --out FOLDER"


def jobs() -> list[tuple[str, str, int]]:
    """(method, task, scale) of every run."""
    return [
        (method.name, task.name, task.scale)
        for method in METHODS
        for name in method.paper_tasks
        for task in TASKS
        if task.name == name
    ]


def run(method: str, task: str, scale: int, folder: Path) -> dict[str, Any]:
    """One run and its report, with minutes."""
    record = folder / "minutes.json"
    if not record.is_file():
        start = time.monotonic()
        arguments = [f"METHOD={method}", f"TASK={task}", f"SCALE={scale if scale > 1 else ''}", *FIXED]
        subprocess.run(["make", "search-latency-aware", f"OUT={folder}", *arguments], check=True)
        record.write_text(json.dumps((time.monotonic() - start) / 60))
    (report,) = (json.loads(path.read_text()) for path in folder.glob("*/report.json"))
    return {**report, "minutes": json.loads(record.read_text())}


def main() -> None:
    """Run all and write `benchmarks/results/quick_runs.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    rows = []
    for method, task, scale in jobs():
        folder = arguments.out / f"{method}-{task}-x{scale}"
        folder.mkdir(parents=True, exist_ok=True)
        report = run(method, task, scale, folder)
        # Where the runs were is nobody's business.
        rows.append({key: value for key, value in report.items() if key not in ("bundle", "serve")})
    write_results("quick_runs", COMMAND, rows)


if __name__ == "__main__":
    main()

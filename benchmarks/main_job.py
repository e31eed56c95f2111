"""The main job as a new user runs it: `python -m benchmarks.main_job`. Records its report and how long it took.

Runs `make search-latency-aware` with nothing overridden into a fresh folder, so nothing is resumed or reused.
"""

import json
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.results import write_results


def main() -> None:
    """Run the job once and write `benchmarks/results/main_job.json`."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        subprocess.run(["make", "search-latency-aware", f"OUT={folder}"], check=True)
        minutes = (time.monotonic() - start) / 60
        (report,) = (json.loads(path.read_text()) for path in Path(folder).glob("*/report.json"))
    # Where the temporary folder was is nobody's business.
    del report["bundle"], report["serve"], report["latency_report"]
    write_results("main_job", "python -m benchmarks.main_job", [{**report, "minutes": minutes}])


if __name__ == "__main__":
    main()

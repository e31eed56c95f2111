"""`python -m search config.json [--out runs]`: the main job from a config file.

The comfortable way is `millisight search`; this one takes every field of `RunConfig`, for scripts.
"""

import argparse
import shlex
import sys
from pathlib import Path

from pydantic import ValidationError

from runtime import MillisightError
from search.config import RunConfig
from search.main_job import search_latency_aware
from search.report import format_report


def main() -> int:
    """Run; 0 ok, 1 the work failed, 2 wrong use."""
    parser = argparse.ArgumentParser(prog="python -m search", description=__doc__)
    parser.add_argument("config", type=Path, help="a RunConfig as JSON, for example a run's config.json")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of all runs")
    parser.add_argument("--table", type=Path, help="use this latency table; needed for a device elsewhere")
    arguments = parser.parse_args()
    try:
        config = RunConfig.model_validate_json(arguments.config.read_text())
    except (OSError, ValidationError) as error:
        parser.error(f"{arguments.config}: {error}")
    try:
        command = shlex.join(["python", "-m", "search", *sys.argv[1:]])
        report = search_latency_aware(config, arguments.out, table=arguments.table, command=command)
    except MillisightError as error:
        sys.stderr.write(f"search: {error}\n")
        return 1
    sys.stdout.write(format_report(report) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

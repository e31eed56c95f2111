"""`python -m search config.json [--out runs]`: the main job from a config file.

The comfortable way is `millisight search`; this one takes every field of `RunConfig`, for scripts.
"""

import argparse
import sys
from pathlib import Path

from pydantic import ValidationError

from runtime import MillisightError
from search.config import RunConfig
from search.main_job import search_latency_aware
from search.report import format_report
from search.telemetry import command_of, run_telemetry


def main() -> int:
    """Run; 0 ok, 1 the work failed, 2 wrong use."""
    parser = argparse.ArgumentParser(prog="python -m search", description=__doc__, allow_abbrev=False)
    parser.add_argument("config", type=Path, help="a RunConfig as JSON, for example a run's config.json")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of all runs")
    parser.add_argument("--table", type=Path, help="use this latency table; needed for a device elsewhere")
    parser.add_argument("--metrics-dir", type=Path, help="folder of node_exporter's textfile collector")
    parser.add_argument("--push-metrics", help="address of a Pushgateway, such as http://HOST:9091")
    arguments = parser.parse_args()
    try:
        config = RunConfig.model_validate_json(arguments.config.read_text())
    except (OSError, ValidationError) as error:
        parser.error(f"{arguments.config}: {error}")
    try:
        command = command_of("python", "-m", "search", *sys.argv[1:])
        telemetry = run_telemetry(config, arguments.metrics_dir, arguments.push_metrics)
        report = search_latency_aware(
            config, arguments.out, table=arguments.table, command=command, telemetry=telemetry
        )
    except MillisightError as error:
        sys.stderr.write(f"search: {error}\n")
        return 1
    sys.stdout.write(format_report(report) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

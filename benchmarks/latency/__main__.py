"""`python -m benchmarks.latency`: tables, predictions and budgets, measured in one go and written to `results/`.

Interrupted, it goes on: tables and finished parts stay in the folder `--work`.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.latency.budgets import try_budgets
from benchmarks.latency.prediction import rows, try_prediction
from benchmarks.results import Row, write_results
from runtime import Target
from search import RunConfig
from search.config import Plan
from search.files import write_json
from search.latency.measure import measure_table
from search.latency.model import LatencyModel
from search.latency.table import LatencyTable
from search.pipeline import code_version

LARGE = ((192, 192), (320, 320), (512, 512)), ((224, 288), (352, 384))
SMALL = ((128, 128), (224, 224), (384, 384)), ((160, 192), (256, 320))
"""(height, width) of the table, and in between, of another shape. `SMALL` for spaces that work at full resolution."""
BUDGET_SIZE = (320, 320)
COMMAND = "make bench-latency"
METHODS = {"autoderain": ("denoise", None, LARGE), "hinas": ("denoise", None, SMALL),
           "trilevel": ("super-resolution", 2, SMALL), "clearer": ("denoise", None, SMALL),
           "manas": ("derain", None, SMALL)}  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """Where the benchmark runs, and where it keeps what is done."""

    target: str
    work: Path

    def part(self, name: str, make: Callable[[], Any]) -> Any:
        """A finished part, or the part made now."""
        path = self.work / f"{name}.json"
        if not path.is_file():
            write_json(path, make())
        return json.loads(path.read_text())

    def plan(self, method: str) -> Plan:
        """The default space of a method."""
        task, scale, _ = METHODS[method]
        return Plan(RunConfig(task=task, scale=scale, method=method, target=self.target, preset="default"))

    def table(self, method: str) -> LatencyModel:
        """The method's table, measured unless it is there."""
        path, plan = self.work / f"{method}-table.json", self.plan(method)

        def measure() -> dict[str, float]:
            start = time.monotonic()
            table = measure_table(
                plan.space,
                plan.space_config,
                plan.target,
                METHODS[method][2][0],
                path,
                code_version=code_version(),
                anew=True,
            )
            return {"minutes": (time.monotonic() - start) / 60, "disturbance": table.session.disturbance}

        self.part(f"{method}-measured", measure)
        return LatencyModel(LatencyTable.load(path))


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="cpu-onnxruntime-fp32-1t")
    parser.add_argument("--methods", default="autoderain,hinas,trilevel", help=", ".join(METHODS))
    parser.add_argument("--budgets-of", default="autoderain", help="the method whose space gets twenty budgets")
    parser.add_argument("--work", type=Path, default=Path("runs/bench-latency"))
    parser.add_argument("--notes", default="")
    asked = parser.parse_args()
    bench = Bench(asked.target, asked.work / asked.target)
    of, target = asked.budgets_of, bench.plan(asked.budgets_of).target
    budgets = bench.part(f"{of}-budgets", lambda: try_budgets(bench.table(of), target, BUDGET_SIZE))
    # The default space as it is measured by default, on all cores: how long that takes.
    default = Bench(Target.parse("cpu-onnxruntime-fp32").slug, asked.work / "all-cores")
    tables: list[Row] = [_table_row("autoderain", default.table("autoderain"), default)]
    predictions: list[Row] = []
    for method in asked.methods.split(","):
        model = bench.table(method)
        tables.append(_table_row(method, model, bench))
        for size in METHODS[method][2][1]:
            title = f"{method} at {size[1]}x{size[0]}"
            predictions += bench.part(
                f"{method}-{size[1]}x{size[0]}",
                lambda method=method, model=model, size=size, title=title: rows(  # type: ignore[misc]
                    method, try_prediction(model, target, size, title)
                ),
            )
    write_results("latency_tables", COMMAND, tables, asked.notes)
    write_results("latency", COMMAND, predictions, asked.notes)
    write_results("latency_budgets", COMMAND, budgets, asked.notes)


def _table_row(method: str, model: LatencyModel, bench: Bench) -> Row:
    measured = json.loads((bench.work / f"{method}-measured.json").read_text())
    checks = {check.kind: check.accuracy.mape for check in model.table.checks}
    largest = max(model.table.sizes, key=lambda size: size.height * size.width)
    return {
        "space": method,
        "target": model.table.target,
        "rows": len(largest.rows),
        "graphs": sum(1 for _ in model.table.timings()),
        "minutes": measured["minutes"],
        "machine disturbed %": 100 * measured["disturbance"],
        "held-out %": 100 * checks["held-out"],
        "unseen size %": 100 * checks["unseen-size"],
        "optimum %": 100 * checks["optimum"],
    }


if __name__ == "__main__":
    main()

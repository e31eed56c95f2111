"""Puts measured numbers into the README: `python -m benchmarks.readme`. A test holds that nothing is left to do.

Text between `<!-- name -->` and `<!-- /name -->` is replaced by a table made from `benchmarks/results/` or from the
manifests of the zoo.
"""

import json
from pathlib import Path
from typing import Any

from benchmarks.blocks import fill_blocks
from benchmarks.results import FOLDER, markdown
from benchmarks.serving.report import tables
from runtime import Bundle, Manifest, StepRecord
from runtime.target import PLAIN
from search import format_report

README = Path(__file__).parent.parent / "README.md"
ZOO = Path(__file__).parent.parent / "zoo"


def fill(text: str) -> str:
    """The README with every marked block made anew."""
    blocks = (
        ("main-job", _main_job),
        ("quick-runs", _quick_runs),
        ("quality", _quality),
        ("speed", _speed),
        ("gates", _gates),
        ("engines", _engines),
        ("latency", _latency),
        ("budgets", _budgets),
        ("serving", lambda: tables(_results("serving"))),
    )
    return fill_blocks(text, blocks, README)


def _results(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return content


def _main_job() -> str:
    content = _results("main_job")
    row = content["rows"][0]
    places = {"bundle": "bundle", "latency_report": "latency/latency.html"}
    shown = {**row, "serve": "millisight serve runs/<id>/bundle"}
    shown |= {name: f"runs/<id>/{place}" for name, place in places.items()}
    shown_text = format_report(shown).replace("'runs/<id>'", "runs/<id>")  # no shell reads it here
    cores = content["machine"]["cores"]
    notes = f" {content['notes']}" if content["notes"] else ""
    return (
        f"```text\n{shown_text}\n```\n\n"
        f"({row['minutes']:.1f} minutes on {cores} cores, {content['date']}; `{content['command']}`){notes}"
    )


def _quality() -> str:
    return markdown(_results("quality")["rows"])


def _quick_runs() -> str:
    content = _results("quick_runs")
    rows = [
        {
            "method": row["method"],
            "task": row["task"] + (f" x{row['scale']}" if row["scale"] > 1 else ""),
            "parameters": row["parameters"],
            "budget ms": row["budget_ms"],
            "predicted ms": row["predicted_ms"],
            "measured ms": row["measured_ms"],
            "before dB": row["baseline_db"],
            "after dB": row["restored_db"],
            "minutes": row["minutes"],
        }
        for row in content["rows"]
    ]
    size = content["rows"][0]["size"]
    notes = f" {content['notes']}" if content["notes"] else ""
    return (
        f"{markdown(rows)}\n\n(budgets at {size} on {content['rows'][0]['target']}, {content['machine']['device']}, "
        f"{content['date']}; `{content['command']}`){notes}"
    )


def _latency() -> str:
    content = _results("latency")
    columns = ("space", "size", "predicted by", "MAPE %", "worst %", "bias %", "tau")
    rows = [{name: row[name] for name in columns} for row in content["rows"]]
    ms = content["rows"][0]["networks"]
    noise = max(row["noise %"] for row in content["rows"])
    notes = f" {content['notes']}" if content["notes"] else ""
    default, *tables = _results("latency_tables")["rows"]
    own = [row for row in content["rows"] if row["predicted by"] == "table"]
    close, ranked = (sum(test) for test in zip(*((r["MAPE %"] <= 5, r["tau"] >= 0.95) for r in own), strict=True))
    return (
        f"{markdown(rows)}\n\n({ms} random networks per line, which no calibration has seen, at sizes that no table "
        f"holds; {tables[0]['target']}, {content['machine']['device']}, {content['date']}; the standard error of a "
        f"timing is {noise:.1f} % or less, median over the networks; `{content['command']}`){notes}\n\n"
        f"Of {len(own)} lines, {close} meet our goal of 5 % for the mean error and {ranked} that of 0.95 for the "
        f"ranking (tau). Measuring the default space took {default['minutes']:.1f} minutes ({default['target']})."
    )


def _budgets() -> str:
    content = _results("latency_budgets")
    rows = content["rows"]
    kept, used = (sum(row[name] == "yes" for row in rows) for name in ("kept", "used"))
    shares = sorted(row["again / budget"] for row in rows if row["again / budget"] is not None)
    notes = f" {content['notes']}" if content["notes"] else ""
    return (
        f"Of {len(rows)} budgets spread from the fastest to the slowest network of a space, {kept} were kept when the "
        f"derived network was timed again (at most 1.02 of the budget), and {used} used 85 % of it or more. Timed "
        f"again over budget: {shares[0]:.3f} to {shares[-1]:.3f}, median {shares[len(shares) // 2]:.3f} "
        f"(`{content['command']}`).{notes}"
    )


def _speed() -> str:
    rows = [
        {
            "bundle": name,
            "parameters": manifest.parameters,
            "input": f"{record.width}x{record.height}",
            "budget ms": record.budget_ms,
            "predicted ms": record.predicted_ms,
            "measured ms": "not timed" if record.measured_ms is None else record.measured_ms,
            "target": record.target,
            "device": record.device,
        }
        for name, manifest in _manifests()
        for record in manifest.latency
    ]
    return markdown(rows)


def _gates() -> str:
    """Every step that made a graph or ran one: a row a bundle, a column a step."""
    steps = list(dict.fromkeys(step.name for _, manifest in _manifests() for step in manifest.steps if step.images))
    rows = []
    for name, manifest in _manifests():
        found = {step.name: step for step in manifest.steps}
        rows.append({"bundle": name, **{step: _verdict(found.get(step)) for step in steps}})
    images = sorted({step.images for _, manifest in _manifests() for step in manifest.steps if step.images})
    counts = " or ".join(map(str, images))
    return (
        f"{markdown(rows)}\n\n(dB lost / largest difference of any pixel in grey levels, on {counts} held-out images)"
    )


def _verdict(step: StepRecord | None) -> str:
    if step is None or step.db_lost is None or step.max_difference is None:
        return "-"
    # A loss of a millionth below zero is no gain.
    numbers = f"{round(step.db_lost, 4) + 0.0:.4f} / {255 * step.max_difference:.2g}"
    return numbers if step.status == "ok" else f"{step.status}: {numbers}"


def _engines() -> str:
    content = _results("engines")
    by_bundle: dict[str, dict[str, Any]] = {}
    for row in content["rows"]:
        by_bundle.setdefault(row["bundle"], {})[row["engine"]] = row
    rows = []
    for name, engines in by_bundle.items():
        default = next(row for row in engines.values() if row["default"])
        speeds = {
            f"{engine} x": f"{row['times faster than ONNX Runtime fp32']:.2f}"
            for engine, row in engines.items()
            if engine != PLAIN
        }
        lost = f"{round(default['dB lost'], 3) + 0.0:.3f}"
        ms = f"{engines[PLAIN]['ms per megapixel']:.0f}"
        rows.append({"bundle": name, f"{PLAIN} ms/MP": ms, **speeds, "default": default["engine"], "dB lost": lost})
    error = max(row["error %"] for row in content["rows"])
    notes = f" {content['notes']}" if content["notes"] else ""
    said = (
        "milliseconds per megapixel of input, and how many times faster the others are; one tile at a time, one "
        f"thread, {content['machine']['device']}, {content['date']}; all of a bundle in turns, standard errors up to "
        f"{error:.1f} %; `{content['command']}`"
    )
    return f"{markdown(rows)}\n\n({said}){notes}"


def _manifests() -> list[tuple[str, Manifest]]:
    folders = sorted(path.parent for path in ZOO.glob("*/manifest.json"))
    return [(folder.name, Bundle.load(folder).manifest) for folder in folders]


if __name__ == "__main__":
    README.write_text(fill(README.read_text()))

"""The end of a run, in one table."""

import os
from pathlib import Path
from typing import Any

from models import Genotype
from runtime import Bundle
from search.budget import Budget
from search.files import write_json
from search.latency.model import LatencyModel


def run_report(
    folder: Path, bundle: Bundle, genotype: Genotype, model: LatencyModel, budget: Budget, checked: dict[str, float]
) -> dict[str, Any]:
    """Everything that the final table shows, as plain data; also written to `report.json`."""
    manifest = bundle.manifest
    latency, quality = manifest.latency[0], manifest.quality[0]
    predicted = model.predict(genotype.picks, budget.height, budget.width)
    report = {
        "task": manifest.task,
        "scale": manifest.scale,
        "method": manifest.method,
        "target": latency.target,
        "device": latency.device,
        "genotype": genotype.id,
        "parameters": manifest.parameters,
        "budget_ms": budget.ms,
        "size": f"{budget.width}x{budget.height}",
        "predicted_ms": predicted.ms,
        "predicted_error_ms": predicted.error_ms,
        "measured_ms": latency.measured_ms,
        "predicted_over_measured": predicted.ms / latency.measured_ms,
        "metric": quality.metric,
        "baseline": "bicubic" if manifest.scale > 1 else "identity",
        "baseline_db": checked["degraded_db"],
        "restored_db": checked["restored_db"],
        "validation_images": quality.images,
        "bundle": str(bundle.folder),
        "serve": serve_command(bundle.folder),
    }
    write_json(folder / "report.json", report)
    return report


def serve_command(folder: Path) -> str:
    """The one command that serves a bundle."""
    shown = os.path.relpath(folder) if not os.path.relpath(folder).startswith("..") else str(folder)
    return f"millisight serve {shown}"


def format_report(report: dict[str, Any]) -> str:
    """The final table as aligned text."""
    scale = f" x{report['scale']}" if report["scale"] > 1 else ""
    rows = [
        ("task", f"{report['task']}{scale}"),
        ("method", report["method"]),
        ("target", f"{report['target']} on {report['device']}"),
        ("genotype", report["genotype"]),
        ("parameters", f"{report['parameters']:,}"),
        ("budget", f"{report['budget_ms']:.4g} ms at {report['size']}"),
        ("predicted", f"{report['predicted_ms']:.4g} ms ± {report['predicted_error_ms']:.2g}"),
        (
            "measured",
            f"{report['measured_ms']:.4g} ms (predicted / measured = {report['predicted_over_measured']:.3f})",
        ),
        (f"{report['baseline']} (before)", f"{report['baseline_db']:.2f} dB {report['metric']}"),
        (
            "restored (after)",
            f"{report['restored_db']:.2f} dB {report['metric']}, {report['validation_images']} held-out images",
        ),
        ("bundle", report["bundle"]),
        ("serve it with", report["serve"]),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows)

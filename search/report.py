"""The end of a run, in one table: of its network, or of its family of networks."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models import Genotype
from runtime import Bundle
from search.budget import Budget
from search.latency.model import Prediction
from tasks.evaluate import Quality

SHARED = (
    "task", "scale", "method", "target", "device", "size", "metric", "baseline", "baseline_db", "validation_images",
)  # fmt: skip
"""What all members of a family have in common."""
NOT_TIMED = "not timed"
"""Instead of the milliseconds of a network whose device is elsewhere."""


def member_report(
    bundle: Bundle,
    genotype: Genotype,
    predicted: Prediction,
    budget: Budget,
    checked: Quality,
    *,
    attempts: int,
    note: str,
) -> dict[str, Any]:
    """Everything that the final table shows of one network, as plain data.

    Args:
        bundle: Finished.
        genotype: Of its network.
        predicted: What the table says of it.
        budget: What was promised.
        checked: dB through the code that serves.
        attempts: How many networks were derived and timed for this one.
        note: Why it uses less of the budget than it should; may be empty.
    """
    manifest = bundle.manifest
    latency, quality = manifest.latency[0], manifest.quality[0]
    ms = latency.measured_ms
    return {
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
        # None: not timed, because the device is elsewhere.
        "measured_ms": ms,
        "predicted_over_measured": None if ms is None else predicted.ms / ms,
        "budget_share": None if ms is None else ms / budget.ms,
        "budget_note": note,
        "derivations": attempts,
        "metric": quality.metric,
        "baseline": "bicubic" if manifest.scale > 1 else "identity",
        "baseline_db": checked.degraded_db,
        "restored_db": checked.restored_db,
        "validation_images": quality.images,
        "bundle": str(bundle.folder),
        "serve": serve_command(bundle.folder),
    } | ({"verify": verify_command(bundle.folder, latency.target)} if ms is None else {})


def family_report(members: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The reports of several networks of one search as one: what they share, and `members` in order of budgets."""
    return {**{name: members[0][name] for name in SHARED}, "members": list(members)}


def verify_command(folder: Path, target: str) -> str:
    """What times a bundle against its promise, on the device that it was made for."""
    return _command("verify", folder, "--targets", target, "--no-images")


def serve_command(folder: Path) -> str:
    """The one command that serves a bundle."""
    return _command("serve", folder)


def _command(name: str, folder: Path, *options: str) -> str:
    shown = os.path.relpath(folder) if not os.path.relpath(folder).startswith("..") else str(folder)
    return shlex.join(["millisight", name, shown, *options])


def format_report(report: dict[str, Any]) -> str:
    """The final table as aligned text.

    Args:
        report: Of a network or of a family. One that was kept from before budgets had shares shows none.
    """
    return _format_family(report) if "members" in report else _format_member(report)


def _format_member(report: dict[str, Any]) -> str:
    rows = [
        *_header(report),
        ("genotype", report["genotype"]),
        ("parameters", f"{report['parameters']:,}"),
        ("budget", f"{report['budget_ms']:.4g} ms at {report['size']}"),
        ("predicted", _predicted(report)),
        ("measured", _measured(report)),
    ]
    if report.get("budget_share") is not None:
        count = report["derivations"]
        timed = f"{count} network{'s' if count > 1 else ''} derived and timed"
        rows.append(("budget used", f"{report['budget_share']:.1%}, {timed}"))
    if report.get("budget_note"):
        rows.append(("note", report["budget_note"]))
    rows += [
        (f"{report['baseline']} (before)", f"{report['baseline_db']:.2f} dB {report['metric']}"),
        (
            "restored (after)",
            f"{report['restored_db']:.2f} dB {report['metric']}, {report['validation_images']} held-out images",
        ),
        ("bundle", report["bundle"]),
        ("serve it with", report["serve"]),
        ("compile it with", _command("export", Path(report["bundle"]).parent)),
        *([("time it there with", report["verify"])] if "verify" in report else []),
        *_latency_page(report),
    ]
    return _aligned(rows)


def _format_family(report: dict[str, Any]) -> str:
    members = report["members"]
    facts = [
        *_header(report),
        ("input", report["size"]),
        (f"{report['baseline']} (before)", f"{report['baseline_db']:.2f} dB {report['metric']}"),
        ("validated on", f"{report['validation_images']} held-out images"),
    ]
    facts += _latency_page(report)
    facts += [(f"time {m['budget_ms']:.4g} ms there with", m["verify"]) for m in members if "verify" in m]
    facts += [(f"note on {m['budget_ms']:.4g} ms", m["budget_note"]) for m in members if m["budget_note"]]
    lines = [("budget", "predicted", "measured", "used", "derived", "parameters", "dB", "bundle")]
    lines += [
        (
            f"{m['budget_ms']:.4g} ms",
            _predicted(m),
            NOT_TIMED if m["measured_ms"] is None else f"{m['measured_ms']:.4g} ms",
            "-" if m["budget_share"] is None else f"{m['budget_share']:.1%}",
            f"{m['derivations']} x",
            f"{m['parameters']:,}",
            f"{m['restored_db']:.2f}",
            m["bundle"],
        )
        for m in members
    ]
    widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([_aligned(facts), "", *(f"  {line}" for line in table)])


def _header(report: dict[str, Any]) -> list[tuple[str, str]]:
    scale = f" x{report['scale']}" if report["scale"] > 1 else ""
    return [
        ("task", f"{report['task']}{scale}"),
        ("method", report["method"]),
        ("target", f"{report['target']} on {report['device']}"),
    ]


def _latency_page(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Where the latency table is drawn, if it is."""
    return [("latency table", report["latency_report"])] if "latency_report" in report else []


def _predicted(report: dict[str, Any]) -> str:
    return f"{report['predicted_ms']:.4g} ms ± {report['predicted_error_ms']:.2g}"


def _measured(report: dict[str, Any]) -> str:
    if report["measured_ms"] is None:
        return f"{NOT_TIMED}: the device is elsewhere"
    return f"{report['measured_ms']:.4g} ms (predicted / measured = {report['predicted_over_measured']:.3f})"


def _aligned(rows: Sequence[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows)

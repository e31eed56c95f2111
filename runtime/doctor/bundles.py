"""What a bundle can do on this machine: is it whole, where does it run, which of its engines fit."""

from collections.abc import Collection
from pathlib import Path

from runtime.bundle import Bundle
from runtime.doctor.finding import Finding, Section
from runtime.engines.stored import fits
from runtime.errors import BundleError
from runtime.records import EngineRecord
from runtime.target import TARGETS, Target

__all__ = ["look_at_bundle"]


def look_at_bundle(folder: Path, usable: Collection[str]) -> Section:
    """Look at a bundle; a damaged one is a finding.

    Args:
        folder: Of the bundle.
        usable: Backends that run here.
    """
    try:
        bundle = Bundle.load(folder)
    except BundleError as error:
        damaged = Finding(subject="files", state="broken", detail=str(error), remedy="Copy or export the bundle again")
        return Section(title=f"bundle {folder}", findings=(damaged,))
    whole = f"{len(bundle.manifest.files)} files, every hash is right"
    return Section(
        title=f"bundle {folder}",
        findings=(
            Finding(subject="files", state="ok", detail=whole),
            _targets(bundle, usable),
            *(_engine(bundle, record) for record in bundle.manifest.engines),
        ),
    )


def _targets(bundle: Bundle, usable: Collection[str]) -> Finding:
    manifest = bundle.manifest
    graphs = ", ".join(manifest.models)
    fitting = [target for target in map(Target.parse, TARGETS) if target.precision in manifest.models]
    runs = [target.kind for target in fitting if target.backend in usable]
    if not runs:
        detail = f"None of its graphs ({graphs}) runs here; they run on {', '.join(target.kind for target in fitting)}"
        return Finding(subject="targets", state="missing", detail=detail, remedy="Mend one of the engines above")
    default = manifest.default_target
    chosen = f"its default is {default}" if default in runs else f"its default {default} does not run here"
    return Finding(subject="targets", state="ok", detail=f"Runs on {', '.join(runs)}; {chosen}")


def _engine(bundle: Bundle, record: EngineRecord) -> Finding:
    """An engine that does not fit is left alone, and one is built from the graph beside it: no fault of the bundle."""
    made = f"built by {record.version} for compute capability {', '.join(record.capabilities) or 'unknown'}"
    kind = f"{record.backend}-{record.precision}"
    model = bundle.manifest.models.get(record.precision, "")
    why = fits(record, Target.parse(kind)) if kind in TARGETS else f"this release has no engine for {kind}"
    if not why:
        return Finding(subject=record.file, state="ok", detail=f"Fits this machine; {made}")
    return Finding(
        subject=record.file,
        state="missing",
        detail=f"Does not fit this machine: {why}",
        remedy=f"Nothing, if {kind} is not wanted here; else `millisight export RUN --targets {kind}` stores one that "
        f"fits, and until then one is built from {model or 'a graph'} at each start",
    )

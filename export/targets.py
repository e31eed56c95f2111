"""Which targets an export is for: what was asked for, what this machine has, what the bundle was tried on before."""

from collections.abc import Sequence
from dataclasses import dataclass

from export.errors import ExportError
from runtime import Manifest, Target, usable_cores
from runtime.records import without_threads
from runtime.requirements import import_tensorrt
from runtime.target import PLAIN, TARGETS

AUTO = "auto"
"""Every target that this machine can run."""
BUILT_AHEAD = "tensorrtrtx"
"""The engine whose files can be built where they cannot run."""


@dataclass(frozen=True)
class PlannedTarget:
    """A target that an export is for.

    Attributes:
        target: With the threads of the bundle's promise.
        build: Whether an engine is built ahead of time for it.
        lacks: What is missing to run it here; empty if nothing is.
    """

    target: Target
    build: bool = False
    lacks: str = ""


def plan_targets(asked: Sequence[str], manifest: Manifest) -> tuple[PlannedTarget, ...]:
    """Look up what was asked for, in the order of `TARGETS`.

    Targets that the bundle was tried on before and that this machine has are tried again: what is compared has to be
    timed together. A TensorRT-RTX engine is built if it was asked for by name, or if a GPU is here to run it.

    Args:
        asked: `auto`, or targets without threads.
        manifest: Of the bundle.

    Raises:
        ExportError: A target was written with threads, or nothing was asked for.
        TargetError: A target does not exist, or this machine lacks what it needs; says what.
    """
    if not asked:
        raise ExportError(f"no target was named; write {AUTO}, or some of {', '.join(TARGETS)}")
    threads = promised_threads(manifest)
    named = [_named(slug, threads) for slug in asked if slug != AUTO]
    before = {step.name.removeprefix("run ") for step in manifest.steps if step.name.startswith("run ")}
    wanted = {target.kind for target in named}
    planned = []
    for kind in TARGETS:
        target = _with_threads(kind, threads)
        missing = target.missing()
        if kind in wanted:
            if missing is not None:
                # Raises for everything but an engine that can be built here without being run.
                _require_builder(target)
            lacks = "" if missing is None else missing.what
            planned.append(PlannedTarget(target, target.engine == BUILT_AHEAD, lacks))
        elif missing is None and (AUTO in asked or kind in before):
            planned.append(PlannedTarget(target, target.engine == BUILT_AHEAD))
    return tuple(planned)


def promised_threads(manifest: Manifest) -> int:
    """Threads of the target that a budget was promised on; every usable core if that is a GPU or there is none."""
    for record in manifest.latency:
        target = Target.parse(record.target)
        if not target.on_gpu:
            return target.threads
    return usable_cores()


def promised_kind(manifest: Manifest) -> str:
    """The target, without threads, that the bundle was made for."""
    return without_threads(manifest.latency[0].target) if manifest.latency else PLAIN


def _named(slug: str, threads: int) -> Target:
    target = Target.parse(slug)
    if target.kind != slug.strip():
        raise ExportError(
            f"'{slug}' names its threads; write '{target.kind}': networks are timed with the {threads} of the "
            "bundle's promise"
        )
    return target


def _with_threads(kind: str, threads: int) -> Target:
    target = Target.parse(kind)
    return target if target.on_gpu else Target(target.device, target.engine, target.precision, threads)


def _require_builder(target: Target) -> None:
    if target.engine != BUILT_AHEAD:
        target.check_available()
    import_tensorrt(target.engine)

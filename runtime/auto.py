"""`auto`: the fastest target that a bundle knows and this machine has; if it is not the recorded one, why not."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime.bundle import Bundle
from runtime.errors import TargetError
from runtime.host import int8_overflows
from runtime.manifest import Manifest
from runtime.records import without_threads
from runtime.requirements import Missing
from runtime.target import TARGETS, Target

__all__ = ["AUTO", "Choice", "choose_target", "lacking", "refused"]

_ROOT = Path("/")
AUTO = "auto"
"""What is written in place of a target's slug."""


@dataclass(frozen=True)
class Choice:
    """What `auto` means for one bundle on this machine.

    Attributes:
        target: Where to run it, with every usable core if it is a processor.
        why: A sentence or more: why it is this one; of a fallback, what is missing and what mends it.
        fallback: Whether the bundle records another target as its fastest.
    """

    target: Target
    why: str
    fallback: bool = False


def choose_target(bundle: Bundle, root: Path = _ROOT) -> Choice:
    """The bundle's default target if this machine has it, else the next best.

    The order: the recorded default, then the other targets that were timed where the bundle was made, by their time,
    then every other target, those of ONNX Runtime on the processor first. A target counts if the bundle has a graph in
    its precision, no gate refused it when the bundle was made, and nothing that it needs is missing here. int8 on a
    processor counts only where its sums cannot overflow, which the gates of another machine say nothing of.

    Args:
        bundle: Loaded.
        root: Where `proc` is found; only tests change it.

    Raises:
        TargetError: If none is left; says of each what is missing.
    """
    manifest, missing = bundle.manifest, dict[str, Missing]()
    for kind, reason in _candidates(manifest):
        fault = _fault(manifest, kind, root)
        if fault is not None:
            missing[kind] = fault
            continue
        target = Target.parse(kind)
        if not missing:
            return Choice(target, reason)
        lack = missing[manifest.default_target]
        return Choice(
            target,
            f"'{manifest.name}' runs on {target.slug} ({reason}), not on its default {manifest.default_target}: "
            f"{lack.what}. {lack.remedy}.",
            fallback=True,
        )
    told = " ".join(f"{kind}: {fault.what}. {fault.remedy}." for kind, fault in missing.items())
    raise TargetError(f"Nothing here can run the bundle {bundle.folder}. {told}")


def _candidates(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Targets without threads, best first, each once, and why each would be taken."""
    first = manifest.default_target
    yield first, manifest.default_reason or "the bundle's default"
    # Of a batch of one, because pictures are restored one by one; per pixel, because sizes may differ.
    timed = sorted(
        (record.ms / (record.height * record.width), record.target, record.device)
        for record in manifest.speed
        if record.batch == 1
    )
    seen = {first}
    for _, slug, device in timed:
        kind = without_threads(slug)
        if kind not in seen:
            seen.add(kind)
            yield kind, f"the next fastest on {device}, where the bundle was timed"
    for kind in TARGETS:
        if kind not in seen:
            yield kind, "the bundle was never timed on it"


def lacking(manifest: Manifest, target: Target) -> Missing | None:
    """Why a bundle cannot run on a target here: it has no graph for it, or the machine lacks what it needs. Or None."""
    precision = target.precision
    if precision in manifest.models:
        return target.missing()
    what = f"the bundle has no {precision} graph{manifest.why_not(precision)}"
    return Missing(what, "`millisight export` makes what can be made")


def refused(manifest: Manifest, target: Target) -> Missing | None:
    """That a gate refused a target when the bundle was made, and why; None if none did."""
    for step in manifest.steps:
        if step.name == f"run {target.kind}" and step.status in ("failed", "dropped"):
            return Missing(
                f"a gate refused it ({step.why.rstrip('.')})",
                "`millisight export` tries it again; named, it is used all the same",
            )
    return None


def _fault(manifest: Manifest, kind: str, root: Path) -> Missing | None:
    """Why a target cannot be taken, or None."""
    if kind not in TARGETS:
        return Missing("this release has no engine for it", "Install the release that wrote the bundle")
    target = Target.parse(kind)
    return lacking(manifest, target) or refused(manifest, target) or _overflowing(target, root)


def _overflowing(target: Target, root: Path) -> Missing | None:
    if target.on_gpu or target.precision != "int8" or not int8_overflows(root):
        return None
    return Missing(
        "this processor has no VNNI, and without it sums of int8 products may overflow",
        f"Check it with `millisight verify --targets {target.kind}`, and name the target if it holds",
    )

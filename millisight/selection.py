"""Where a bundle is verified: the targets that it has a graph for and this machine has, and why the others are not."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from runtime import Manifest, Target
from runtime.auto import AUTO
from runtime.target import TARGETS

__all__ = ["Result", "Selection", "Skipped", "lacking", "select"]


class Result(BaseModel):
    """A part of the answer: fixed, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Skipped(Result):
    """Something that was not checked.

    Attributes:
        target: Where it would have run.
        why: What is missing.
        remedy: What to do about it.
    """

    target: str
    why: str
    remedy: str


@dataclass(frozen=True)
class Selection:
    """Where a bundle is checked.

    Attributes:
        named: Targets as the user wrote them; empty for `auto`.
        targets: Those that can run here.
        skipped: Those that cannot.
    """

    named: tuple[str, ...]
    targets: tuple[Target, ...]
    skipped: tuple[Skipped, ...]


def select(manifest: Manifest, text: str) -> Selection:
    """Which targets are checked.

    Args:
        manifest: Of the bundle.
        text: `auto`, or slugs separated by commas.

    Raises:
        TargetError: A slug is none.
    """
    named = () if text.strip() == AUTO else tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    asked = [Target.parse(slug) for slug in named or TARGETS]
    targets, skipped = [], []
    for target in asked:
        lack = lacking(manifest, target) or (None if named else _refused_before(manifest, target))
        if lack is None:
            targets.append(target)
        else:
            skipped.append(lack)
    return Selection(named, tuple(targets), tuple(skipped))


def lacking(manifest: Manifest, target: Target) -> Skipped | None:
    """Why a bundle does not run on a target here, or None."""
    slug = target.slug
    if target.precision not in manifest.models:
        dropped = [step.why for step in manifest.steps if step.name == target.precision and step.why]
        why = f"the bundle has no {target.precision} graph" + (f" ({dropped[-1]})" if dropped else "")
        return Skipped(target=slug, why=why, remedy="`millisight export` makes what can be made")
    missing = target.missing()
    return None if missing is None else Skipped(target=slug, why=missing.what, remedy=missing.remedy)


def _refused_before(manifest: Manifest, target: Target) -> Skipped | None:
    """A gate refused it when the bundle was made, which the bundle says: it holds what it promises. None if not so."""
    for step in manifest.steps:
        if step.name == f"run {target.kind}" and step.status in ("failed", "dropped"):
            why = f"a gate refused it when the bundle was made ({step.why})"
            return Skipped(target=target.slug, why=why, remedy=f"to check it all the same: --targets {target.kind}")
    return None

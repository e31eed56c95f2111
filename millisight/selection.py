"""Where a bundle is verified: the targets that it has a graph for and this machine has, and why the others are not."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from runtime import Manifest, Target
from runtime.auto import AUTO, lacking, refused
from runtime.requirements import Missing
from runtime.target import TARGETS

__all__ = ["Result", "Selection", "Skipped", "select", "skipped_if"]


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
        # What a gate refused when the bundle was made, the bundle does not promise; named, it is checked all the same.
        skip = skipped_if(lacking(manifest, target) or (None if named else refused(manifest, target)), target)
        if skip is None:
            targets.append(target)
        else:
            skipped.append(skip)
    return Selection(named, tuple(targets), tuple(skipped))


def skipped_if(lack: Missing | None, target: Target) -> Skipped | None:
    """What is missing for a target, as a part of the answer; None if nothing is."""
    return None if lack is None else Skipped(target=target.slug, why=lack.what, remedy=lack.remedy)

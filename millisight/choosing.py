"""Which bundle restores on this machine: the one that a service here would choose for a request without a deadline."""

from runtime import Bundle, BundleError, Choice, Target, choose_target

__all__ = ["API_KEY", "choose_bundle"]

API_KEY = "MILLISIGHT_API_KEY"
"""Variable that holds the key for a service, unless another is named. It is the client's, no setting of the service."""


def choose_bundle(task: str, scale: int | None, name: str | None, where: Target | None) -> tuple[Bundle, Choice]:
    """The bundle and the target that it runs on.

    Args:
        task: derain, denoise or super-resolution.
        scale: None for that of the first bundle of the task.
        name: Of a bundle, or fast, balanced or best of the first family that fits; None: best.
        where: A target, or None for the best of each bundle.

    Raises:
        BundleError: None fits; lists those that are there.
        MillisightError: A bundle is damaged, or this machine has no target for it.
    """
    # The service's own rules; importing them does not import BentoML.
    from serving.models.discovery import discover
    from serving.models.facts import family_of
    from serving.models.families import ROLES
    from serving.settings import Settings

    found = discover(Settings.from_environment())
    fitting = [bundle for bundle in found if bundle.manifest.task == task and scale in (None, bundle.manifest.scale)]
    if name in (None, *ROLES) and fitting:
        first = fitting[0].manifest
        family = [
            bundle
            for bundle in fitting
            if (bundle.manifest.scale, family_of(bundle.manifest)) == (first.scale, family_of(first))
        ]
        return _by_role(family, name or "best", where)
    for bundle in fitting:
        if bundle.manifest.name == name:
            return bundle, _choice(bundle, where)
    there = ", ".join(f"{b.manifest.name} ({b.manifest.task} x{b.manifest.scale})" for b in found)
    wanted = " ".join(part for part in (task, f"x{scale}" if scale else "", name or "") if part)
    raise BundleError(f"no bundle does {wanted}; there are: {there}")


def _choice(bundle: Bundle, where: Target | None) -> Choice:
    return choose_target(bundle) if where is None else Choice(where, "")


def _by_role(family: list[Bundle], role: str, where: Target | None) -> tuple[Bundle, Choice]:
    from serving.models.facts import facts_of
    from serving.models.families import ROLES, rank
    from serving.scheduling.costs import TileCosts

    choices = [_choice(bundle, where) for bundle in family]
    facts = [
        facts_of(bundle.manifest, choice.target, TileCosts.for_bundle(bundle.manifest, choice.target))
        for bundle, choice in zip(family, choices, strict=True)
    ]
    position = rank(facts).of(next(known for known in ROLES if known == role))
    return family[position], choices[position]

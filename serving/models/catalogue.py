"""What is served at one moment, and the rule that says which models may answer a request."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from serving.errors import ModelNotFoundError
from serving.models.cards import Card, card_of, refused_card
from serving.models.discovery import Refusal
from serving.models.families import ROLES, Ranking, Role, rank
from serving.models.loaded import LoadedModel

__all__ = ["Catalogue", "Family"]


@dataclass(frozen=True)
class Family:
    """Bundles of one task and scale that come from one run, and the roles they have.

    Attributes:
        found: In the order in which they were found.
        ranking: Their roles, as positions in `found`.
    """

    found: tuple[LoadedModel, ...]
    ranking: Ranking

    @classmethod
    def of(cls, found: list[LoadedModel]) -> Family:
        """Ranks the members."""
        return cls(tuple(found), rank([model.facts for model in found]))

    @property
    def members(self) -> tuple[LoadedModel, ...]:
        """Best first."""
        return tuple(self.found[position] for position in self.ranking.order)

    def model_of(self, role: Role) -> LoadedModel:
        """Who has a role."""
        return self.found[self.ranking.of(role)]

    def roles_of(self, model: LoadedModel) -> list[Role]:
        """The roles that a member has; there may be none, or several."""
        return [role for role in ROLES if self.model_of(role) is model]


@dataclass(frozen=True)
class Catalogue:
    """A snapshot that never changes: who holds it, or a model out of it, keeps what it held.

    Models stand in a fixed order: roots as configured, then by path. So a user's own run hides a bundle shipped in
    `zoo/`, and nothing else decides between families; within a family what was measured decides (see `rank`).

    Attributes:
        models: What is loaded.
        refused: What lies on the disk and cannot be served.
        unloaded: Names that somebody unloaded.
        loading: Names that are being opened or warmed up now.
        ready: Whether all models are warmed up.
    """

    models: tuple[LoadedModel, ...] = ()
    refused: tuple[Refusal, ...] = ()
    unloaded: frozenset[str] = frozenset()
    loading: tuple[str, ...] = ()
    ready: bool = False

    @cached_property
    def families(self) -> tuple[Family, ...]:
        """In the order of the first member of each that was found."""
        grouped: dict[tuple[str, int, str], list[LoadedModel]] = {}
        for model in self.models:
            grouped.setdefault((model.task, model.scale, model.family), []).append(model)
        return tuple(Family.of(found) for found in grouped.values())

    def find(self, name: str) -> LoadedModel | None:
        """The loaded model of this name."""
        return next((model for model in self.models if model.name == name), None)

    def family_of(self, model: LoadedModel) -> Family:
        """The family that a model of this catalogue belongs to."""
        return next(family for family in self.families if model in family.found)

    def candidates(self, task: str, scale: int | None = None, name: str | None = None) -> tuple[LoadedModel, ...]:
        """The models that may answer a request, best first; take the first that meets the deadline.

        Args:
            task: Task of the route.
            scale: Scale asked for, or None for that of the first family.
            name: A bundle name or a role (fast, balanced, best), which leaves one model; or None, which leaves the
                whole first family of the task.

        Raises:
            ModelNotFoundError: None fits; the message lists what is loaded.
        """
        families = [
            family
            for family in self.families
            if family.found[0].task == task and scale in (None, family.found[0].scale)
        ]
        if name is None and families:
            return families[0].members
        for role in ROLES:
            if name == role and families:
                return (families[0].model_of(role),)
        for family in families:
            for model in family.found:
                if model.name == name:
                    return (model,)
        wanted = [task]
        wanted += [f"scale {scale}"] if scale is not None else []
        wanted += [f"name {name[:80]!r}"] if name is not None else []
        loaded = ", ".join(f"{model.name} ({model.task} x{model.scale})" for model in self.models) or "nothing"
        raise ModelNotFoundError(f"No loaded bundle fits {', '.join(wanted)}. Loaded: {loaded}.")

    def is_default(self, model: LoadedModel) -> bool:
        """Whether this model answers requests for its task and scale that name none and leave time enough."""
        return self.candidates(model.task, model.scale)[0] is model

    def describe(self) -> list[Card]:
        """What /v1/models answers of what is loaded: plain JSON values, in the order of the choice."""
        return [self.describe_one(model) for model in self.models]

    def describe_one(self, model: LoadedModel) -> Card:
        """The card of one model."""
        card = card_of(model, "ready" if self.ready else "loading", self.family_of(model).roles_of(model))
        return card | {"default": self.is_default(model)}

    def describe_refused(self) -> list[Card]:
        """What cannot be served, and why; `served` where an older version of it still answers."""
        return [refused_card(refusal, self.find(refusal.name) is not None) for refusal in self.refused]

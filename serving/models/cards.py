"""Models as /v1/models shows them: plain JSON values, without file names and paths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from serving.models.discovery import Refusal
from serving.models.families import Role
from serving.models.loaded import LoadedModel

__all__ = ["Card", "State", "card_of", "refused_card"]

Card = dict[str, Any]
State = Literal["loading", "ready", "refused", "unloaded"]

# File names and hashes of single files stay inside; what a client needs to choose and to trust is given.
_PUBLIC_FIELDS = {
    "name", "task", "scale", "size", "method", "parameters", "created", "latency", "quality", "lineage",
    "default_target", "default_reason", "speed",
}  # fmt: skip
_STEP_FIELDS = {"name", "status", "why", "db_lost"}


def card_of(model: LoadedModel, state: State, roles: Sequence[Role]) -> Card:
    """The card of a loaded model.

    Args:
        model: Which.
        state: Whether it is warmed up.
        roles: What it is in its family.
    """
    manifest, costs = model.bundle.manifest, model.costs
    card = manifest.model_dump(mode="json", include=_PUBLIC_FIELDS)
    return card | {
        "state": state,
        "digest": model.digest,
        "family": model.family,
        "roles": list(roles),
        "db": model.db,
        "target": model.target.slug,
        "target_reason": model.why,
        "slots": len(model.restorers),
        "threads": model.target.threads,
        "batch": costs.batch,
        "expected_ms": round(model.expected_ms, 3),
        "drift": None if costs.drift is None else round(costs.drift, 3),
        "load_seconds": round(model.load_seconds, 3),
        "steps": [step.model_dump(mode="json", include=_STEP_FIELDS) for step in manifest.steps],
    }


def refused_card(refusal: Refusal, served: bool) -> Card:
    """The card of what cannot be served.

    Args:
        refusal: What and why.
        served: Whether an older version of it still answers.
    """
    return {
        "name": refusal.name or None,
        "bundle": refusal.label,
        "state": "refused",
        "reason": refusal.reason,
        "served": served,
    }

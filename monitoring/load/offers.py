"""What a service offers: tasks and scales of the models that it has loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from runtime.errors import MillisightError

__all__ = ["LoadError", "Offer", "offers"]

_TIMEOUT_S = 10.0


class LoadError(MillisightError):
    """No load can be sent: the service does not answer, or does not offer what was asked for."""


@dataclass(frozen=True, order=True)
class Offer:
    """A task at a scale.

    Attributes:
        task: derain, denoise or super-resolution.
        scale: Pixels out per pixel in and side.
    """

    task: str
    scale: int = 1

    @property
    def route(self) -> str:
        """Path and query of a request for it."""
        return f"/v1/{self.task}?" + (f"scale={self.scale}&" if self.scale > 1 else "")


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore")

    task: str
    scale: int


class _Models(BaseModel):
    model_config = ConfigDict(extra="ignore")

    models: list[_Model]


def offers(url: str, tasks: Sequence[str] = (), api_key: str | None = None) -> tuple[Offer, ...]:
    """Ask a service what it offers.

    Args:
        url: Its address.
        tasks: Only these; none: all of them.
        api_key: Where it wants one.

    Raises:
        LoadError: It does not answer, answers something else, or does not offer one of the tasks.
    """
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        answer = httpx.get(f"{url.rstrip('/')}/v1/models", headers=headers, timeout=_TIMEOUT_S, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise LoadError(
            f"No answer from {url}: {error or type(error).__name__}. Is the service running there?"
        ) from error
    if answer.status_code != httpx.codes.OK:
        raise LoadError(f"{url}/v1/models answered {answer.status_code}: {answer.text[:200]}")
    try:
        models = _Models.model_validate_json(answer.content).models
    except ValidationError as error:
        raise LoadError(f"What answers at {url} is no millisight service: its /v1/models is not understood.") from error
    found = tuple(sorted({Offer(model.task, model.scale) for model in models}))
    if absent := sorted(set(tasks) - {offer.task for offer in found}):
        offered = ", ".join(sorted({offer.task for offer in found})) or "nothing"
        raise LoadError(f"The service at {url} does not offer {', '.join(absent)}; it offers {offered}.")
    return tuple(offer for offer in found if not tasks or offer.task in tasks)

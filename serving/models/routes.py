"""/v1/models: what is served, and the orders of an administrator. Only names of bundles are taken, never a path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from serving.errors import ModelNotFoundError
from serving.models.cards import Card
from serving.models.catalogue import Catalogue
from serving.models.errors import BundleRefusedError
from serving.models.fleet import Fleet, Report

__all__ = ["ADMIN_PATHS", "PATHS", "find_card", "list_cards", "routes"]

PATHS = ("/v1/models", "/v1/models/{name}")
ADMIN_PATHS = ("/v1/models/reload", "/v1/models/{name}/load", "/v1/models/{name}/unload")

Endpoint = Callable[[Request], Awaitable[Response]]


def routes(fleet: Fleet, require_admin: Callable[[Request], object]) -> list[Route]:
    """The routes of /v1/models.

    Args:
        fleet: Whose models.
        require_admin: Raises what a request without the right key is answered with.
    """

    async def show_all(_: Request) -> Response:
        return JSONResponse(list_cards(fleet.keeper.catalogue))

    async def show_one(request: Request) -> Response:
        return JSONResponse(find_card(fleet.keeper.catalogue, request.path_params["name"]))

    async def reload(request: Request) -> Response:
        require_admin(request)
        return _answer(await fleet.order("reload"))

    async def load(request: Request) -> Response:
        require_admin(request)
        name = request.path_params["name"]
        report = await fleet.order("load", name)
        _check_loaded(report, name, fleet.keeper.catalogue)
        return _answer(report)

    async def unload(request: Request) -> Response:
        require_admin(request)
        return _answer(await fleet.order("unload", request.path_params["name"]))

    return [
        Route("/v1/models", show_all),
        # A POST, so a bundle that is called `reload` can still be looked at.
        Route("/v1/models/reload", reload, methods=["POST"]),
        Route("/v1/models/{name}", show_one),
        Route("/v1/models/{name}/load", load, methods=["POST"]),
        Route("/v1/models/{name}/unload", unload, methods=["POST"]),
    ]


def list_cards(catalogue: Catalogue) -> dict[str, Any]:
    """What `GET /v1/models` answers."""
    return {
        "models": catalogue.describe(),
        "loading": list(catalogue.loading),
        "refused": catalogue.describe_refused(),
        "unloaded": sorted(catalogue.unloaded),
    }


def find_card(catalogue: Catalogue, name: str) -> Card:
    """What `GET /v1/models/{name}` answers.

    Raises:
        ModelNotFoundError: There is nothing of this name; the message lists what there is.
    """
    if (model := catalogue.find(name)) is not None:
        return catalogue.describe_one(model)
    if name in catalogue.unloaded:
        return {"name": name, "state": "unloaded"}
    if name in catalogue.loading:
        return {"name": name, "state": "loading"}
    for card in catalogue.describe_refused():
        if card["name"] == name:
            return card
    known = ", ".join(model.name for model in catalogue.models) or "nothing"
    raise ModelNotFoundError(f"There is no bundle called {name[:80]!r}. Loaded: {known}.")


def _answer(report: Report) -> Response:
    """200 once all workers have carried it out; 202 if some are still at it."""
    return JSONResponse(report.to_json(), status_code=200 if report.complete else 202)


def _check_loaded(report: Report, name: str, catalogue: Catalogue) -> None:
    for outcome in report.outcomes:
        for refusal in _refusals(outcome.told):
            if refusal["name"] == name:
                raise BundleRefusedError(f"'{name}' cannot be served as it is now: {refusal['reason']}")
    if report.complete and catalogue.find(name) is None:
        raise ModelNotFoundError(f"There is no bundle called {name[:80]!r} any more; it is not unloaded now.")


def _refusals(told: Mapping[str, Any]) -> Sequence[Mapping[str, str]]:
    refused: Sequence[Mapping[str, str]] = told.get("refused", ())
    return refused

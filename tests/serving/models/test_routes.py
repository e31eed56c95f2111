from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request

from serving.errors import RequestError
from serving.guard import error_handlers
from serving.models import Fleet, routes
from serving.models.routes import ADMIN_PATHS, PATHS
from tests.servers import known_network, write_known_bundle
from tests.serving.models.conftest import settings_for


class NotAllowedError(RequestError):
    status, code, reason = 403, "not_allowed", "unauthorised"


def require_admin(request: Request) -> None:
    if request.headers.get("X-API-Key") != "admin":
        raise NotAllowedError("Only an administrator may.")


class Caller:
    """The routes as a client with an admin key sees them."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        return self._ask("GET", path, headers)

    def post(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        return self._ask("POST", path, headers)

    def _ask(self, method: str, path: str, headers: dict[str, str] | None) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                return await client.request(method, path, headers={"X-API-Key": "admin"} | (headers or {}))

        return asyncio.run(ask())


@pytest.fixture
def client(zoo: Path) -> Iterator[Caller]:
    with closing(Fleet.of(settings_for(zoo))) as fleet:
        fleet.open()
        fleet.warm_up()
        app = Starlette(routes=routes(fleet, require_admin), exception_handlers=error_handlers(PATHS))
        yield Caller(app)


def test_the_list_tells_what_is_served_refused_and_unloaded(client: Caller, zoo: Path) -> None:
    (zoo / "c" / "model.onnx").write_bytes(b"damaged")
    assert client.post("/v1/models/reload").status_code == 200
    client.post("/v1/models/second/unload")
    answer = client.get("/v1/models").json()
    assert [(card["name"], card["state"]) for card in answer["models"]] == [("first", "ready"), ("rain", "ready")]
    (refused,) = answer["refused"]
    assert (refused["name"], refused["bundle"], refused["served"]) == ("rain", "zoo/c", True)
    assert (answer["unloaded"], answer["loading"]) == (["second"], [])
    assert str(zoo) not in json.dumps(answer)


def test_one_model_whatever_its_state(client: Caller, zoo: Path) -> None:
    card = client.get("/v1/models/first").json()
    assert card == client.get("/v1/models").json()["models"][0]
    client.post("/v1/models/first/unload")
    assert client.get("/v1/models/first").json() == {"name": "first", "state": "unloaded"}
    (zoo / "a" / "model.onnx").write_bytes(b"damaged")
    client.post("/v1/models/first/load")
    card = client.get("/v1/models/first").json()
    assert (card["state"], card["served"]) == ("refused", False)
    answer = client.get("/v1/models/nothing")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_orders_say_what_every_worker_did(client: Caller, zoo: Path) -> None:
    write_known_bundle(zoo / "a", "first", "denoise", gain=0.75)
    answer = client.post("/v1/models/reload").json()
    (worker,) = answer["workers"]
    assert answer["complete"]
    assert (worker["state"], worker["swapped"], worker["loaded"], worker["refused"]) == ("done", ["first"], [], [])
    (worker,) = client.post("/v1/models/first/unload").json()["workers"]
    assert worker["unloaded"] == ["first"]
    (worker,) = client.post("/v1/models/first/load").json()["workers"]
    assert worker["loaded"] == ["first"]


def test_a_bad_bundle_that_is_asked_for_is_a_409(client: Caller, zoo: Path) -> None:
    write_known_bundle(zoo / "a", "first", "denoise", model=known_network(1, 0.75)[:-100])
    answer = client.post("/v1/models/first/load")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "bundle_refused")
    assert "refused by ONNX Runtime" in answer.json()["error"]["message"]
    assert client.get("/v1/models/first").json()["state"] == "ready"  # the old one still serves


@pytest.mark.parametrize("name", ["nothing", "..", "%2e%2e%2fzoo%2fa", "http:%2f%2f127.0.0.1%2fa", "%00", "a" * 5000])
def test_only_names_of_bundles_are_taken(client: Caller, name: str) -> None:
    for action in ("load", "unload"):
        assert client.post(f"/v1/models/{name}/{action}").status_code == 404
    assert client.get("/v1/models").json()["unloaded"] == []


def test_what_is_gone_is_not_loaded(client: Caller, zoo: Path) -> None:
    client.post("/v1/models/first/unload")
    shutil.rmtree(zoo / "a")
    assert client.post("/v1/models/first/load").status_code == 404
    assert client.get("/v1/models").json()["unloaded"] == []


def test_orders_need_an_administrator_and_looking_does_not(client: Caller) -> None:
    nobody = {"X-API-Key": ""}
    for path in ADMIN_PATHS:
        answer = client.post(path.format(name="first"), headers=nobody)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_allowed")
    assert client.get("/v1/models", headers=nobody).json()["unloaded"] == []
    assert client.get("/v1/models/first", headers=nobody).status_code == 200


def test_orders_are_posts(client: Caller) -> None:
    assert client.get("/v1/models/reload").status_code == 404  # no bundle of that name
    assert client.get("/v1/models/first/load").status_code == 405
    assert client.post("/v1/models").status_code == 405

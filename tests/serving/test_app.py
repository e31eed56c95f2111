"""The application without BentoML: what cannot be caused from outside a healthy server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtime.bundle import Bundle
from serving.app import Workplace, create_app
from serving.settings import Settings


@pytest.fixture
def place(bundle_roots: tuple[Path, Path]) -> Workplace:
    return Workplace.open(Settings(bundles=bundle_roots))


def ask(app: Any, method: str, path: str, **options: Any) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **options)

    return asyncio.run(send())


def test_before_the_warm_up_requests_wait_outside(place: Workplace, png: bytes) -> None:
    app = create_app(place)
    response = ask(app, "POST", "/v1/derain", files={"image": png})
    assert (response.status_code, response.json()["error"]["code"]) == (503, "not_ready")
    assert response.headers["Retry-After"] == "1"
    place.library.warm_up()
    assert ask(app, "POST", "/v1/derain", files={"image": png}).status_code == 200


def test_a_defect_is_a_500_that_tells_only_its_id(place: Workplace, caplog: pytest.LogCaptureFixture) -> None:
    async def defect(_: Request) -> Response:
        raise ValueError("a secret")

    app = create_app(place)
    app.router.routes.append(Route("/defect", defect))
    response = ask(app, "GET", "/defect", headers={"X-Request-Id": "me"})
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    assert response.json()["error"]["request_id"] == response.headers["X-Request-Id"] == "me"
    assert "a secret" not in response.text
    assert any(record.exc_info and "a secret" in str(record.exc_info[1]) for record in caplog.records)


def test_a_network_that_answers_nan_is_a_500_with_its_own_code(
    tmp_path: Path, make_bundle: Callable[..., Bundle], png: bytes
) -> None:
    make_bundle(tmp_path / "x", "nan", "derain", gain=float("nan"))
    place = Workplace.open(Settings(bundles=(tmp_path,)))
    place.library.ready = True  # its warm-up would refuse it
    response = ask(create_app(place), "POST", "/v1/derain", files={"image": png})
    assert (response.status_code, response.json()["error"]["code"]) == (500, "model_output_invalid")


def test_a_late_answer_is_a_504(tmp_path: Path, make_bundle: Callable[..., Bundle], pack: Callable[..., bytes]) -> None:
    make_bundle(tmp_path / "x", "slow", "derain", tile=8)
    place = Workplace.open(Settings(bundles=(tmp_path,), request_timeout=0.2))
    place.library.warm_up()
    large = pack(np.zeros((600, 600, 3), dtype=np.uint8))
    response = ask(create_app(place), "POST", "/v1/derain", files={"image": large})
    assert (response.status_code, response.json()["error"]["code"]) == (504, "deadline_exceeded")


def test_a_client_that_leaves_is_counted_as_499(
    tmp_path: Path, make_bundle: Callable[..., Bundle], pack: Callable[..., bytes]
) -> None:
    make_bundle(tmp_path / "x", "slow", "derain", tile=8)
    place = Workplace.open(Settings(bundles=(tmp_path,)))
    place.library.warm_up()
    body = pack(np.zeros((600, 600, 3), dtype=np.uint8))
    messages = [{"type": "http.request", "body": body, "more_body": False}, {"type": "http.disconnect"}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if len(messages) > 1 else messages[0]

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/derain",
        "query_string": b"",
        "headers": [(b"content-type", b"image/png")],
    }

    async def visit() -> set[Any]:
        await create_app(place)(scope, receive, send)
        for _ in range(20):  # a cancelled task needs some rounds of the loop to end
            await asyncio.sleep(0)
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(visit()) == set()
    assert sent[0]["status"] == 499
    text = place.metrics.render()[0].decode()
    assert 'restore_requests_total{code="499",model="slow",task="derain"} 1.0' in text
    assert 'restore_rejected_total{reason="client_gone"} 1.0' in text
    assert "restore_requests_in_flight 0.0" in text


def test_a_client_that_leaves_while_sending_is_counted_too(place: Workplace) -> None:
    place.library.warm_up()

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    headers = [(b"content-type", b"image/png"), (b"content-length", b"10")]
    scope = {"type": "http", "method": "POST", "path": "/v1/derain", "query_string": b"", "headers": headers}
    asyncio.run(create_app(place)(scope, receive, send))
    assert 'restore_rejected_total{reason="client_gone"} 1.0' in place.metrics.render()[0].decode()

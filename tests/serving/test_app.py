"""The application without BentoML: what cannot be caused from outside a healthy server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtime.bundle import Bundle
from serving.app import create_app
from serving.settings import Settings
from serving.workplace import Workplace


def opened(tmp_path: Path, *roots: Path, **fields: Any) -> Workplace:
    fields = {"target": "cpu-onnxruntime-fp32-1t", "state": tmp_path / "state"} | fields
    return Workplace.open(Settings(bundles=roots, **fields))


@pytest.fixture
def place(tmp_path: Path, bundle_roots: tuple[Path, Path]) -> Workplace:
    return opened(tmp_path, *bundle_roots)


def ask(app: Any, method: str, path: str, **options: Any) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **options)

    return asyncio.run(send())


def shown(place: Workplace) -> str:
    return place.metrics.render()[0].decode()


def network_that_cannot_bear_white() -> bytes:
    """Gives back its input; NaN where the mean of a channel is above 0.9, which the warm-up's picture does not have."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
        helper.make_node("Sub", ["limit", "mean"], ["left"]),
        helper.make_node("Sqrt", ["left"], ["root"]),
        helper.make_node("Div", ["root", "root"], ["one"]),
        helper.make_node("Mul", ["image", "one"], ["restored"]),
    ]
    names = ("image", "restored")
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, "h", "w"]) for name in names]
    limit = numpy_helper.from_array(np.float32(0.9), "limit")
    graph = helper.make_graph(nodes, "hot", infos[:1], infos[1:], [limit])
    opset = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString())


def test_before_the_warm_up_requests_wait_outside(place: Workplace, png: bytes) -> None:
    app = create_app(place)
    response = ask(app, "POST", "/v1/derain", files={"image": png})
    assert (response.status_code, response.json()["error"]["code"]) == (503, "not_ready")
    assert response.headers["Retry-After"] == "1"
    place.warm_up()
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
    tmp_path: Path, make_bundle: Callable[..., Bundle], pack: Callable[..., bytes]
) -> None:
    make_bundle(tmp_path / "b" / "x", "hot", "derain", model=network_that_cannot_bear_white())
    place = opened(tmp_path, tmp_path / "b")
    place.warm_up()
    app = create_app(place)
    for level, status, code in ((100, 200, None), (255, 500, "model_output_invalid")):
        body = pack(np.full((9, 9, 3), level, dtype=np.uint8))
        response = ask(app, "POST", "/v1/derain", files={"image": body})
        assert response.status_code == status
        assert code is None or response.json()["error"]["code"] == code


def test_an_answer_that_would_be_late_is_refused_at_once(
    tmp_path: Path, make_bundle: Callable[..., Bundle], pack: Callable[..., bytes]
) -> None:
    make_bundle(tmp_path / "b" / "x", "slow", "derain", tile=8)
    place = opened(tmp_path, tmp_path / "b", request_timeout=0.001)
    place.warm_up()
    large = pack(np.zeros((600, 600, 3), dtype=np.uint8))
    response = ask(create_app(place), "POST", "/v1/derain", files={"image": large})
    assert (response.status_code, response.json()["error"]["code"]) == (503, "deadline_unattainable")
    assert int(response.headers["Retry-After"]) >= 1
    asked = ask(create_app(place), "POST", "/v1/derain", files={"image": large}, headers={"X-Deadline-Ms": "60000"})
    assert asked.status_code == 200


def test_a_client_that_leaves_is_counted_as_499(
    tmp_path: Path, make_bundle: Callable[..., Bundle], pack: Callable[..., bytes]
) -> None:
    make_bundle(tmp_path / "b" / "x", "slow", "derain", tile=8)
    place = opened(tmp_path, tmp_path / "b")
    place.warm_up()
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
    text = shown(place)
    assert 'restore_requests_total{code="499",model="slow",task="derain"} 1.0' in text
    assert 'restore_rejected_total{reason="client_gone"} 1.0' in text
    assert "restore_requests_in_flight 0.0" in text


def test_a_client_that_leaves_while_sending_is_counted_too(place: Workplace) -> None:
    place.warm_up()

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    headers = [(b"content-type", b"image/png"), (b"content-length", b"10")]
    scope = {"type": "http", "method": "POST", "path": "/v1/derain", "query_string": b"", "headers": headers}
    asyncio.run(create_app(place)(scope, receive, send))
    assert 'restore_rejected_total{reason="client_gone"} 1.0' in shown(place)


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("POST", "/v1/derain?nonsense=1", 400, "bad_parameter"),
        ("POST", "/v1/jobs", 400, "bad_parameter"),
        ("GET", "/v1/jobs/nothing", 404, "bad_parameter"),
        ("GET", "/v1/models/nobody", 404, "bad_parameter"),
        ("POST", "/v1/models/nobody/unload", 403, "unauthorised"),
        ("GET", "/nowhere", 404, "bad_parameter"),
        ("DELETE", "/docs.json", 405, "bad_parameter"),
        ("GET", "/defect", 500, "internal"),
    ],
)
def test_every_refusal_is_counted_once(place: Workplace, method: str, path: str, status: int, reason: str) -> None:
    async def defect(_: Request) -> Response:
        raise ValueError("on purpose")

    place.warm_up()
    app = create_app(place)
    app.router.routes.append(Route("/defect", defect))
    assert ask(app, method, path).status_code == status
    counted = [line for line in shown(place).splitlines() if line.startswith("restore_rejected_total{")]
    assert counted == [f'restore_rejected_total{{reason="{reason}"}} 1.0']


@pytest.mark.parametrize("jobs", ["off", "sqlite"])
def test_jobs_can_be_switched_off(tmp_path: Path, bundle_roots: tuple[Path, Path], jobs: str) -> None:
    place = opened(tmp_path, *bundle_roots, jobs=jobs)
    app = create_app(place)
    status = ask(app, "GET", "/v1/jobs/none").status_code
    documented = "/v1/jobs" in ask(app, "GET", "/docs.json").json()["paths"]
    assert documented == (jobs == "sqlite")
    assert status == 404


def test_every_route_is_documented_and_every_documented_path_is_a_route(place: Workplace) -> None:
    app = create_app(place)
    routed = {route.path.replace(":int}", "}") for route in app.routes if isinstance(route, Route)}
    documented = set(ask(app, "GET", "/docs.json").json()["paths"])
    assert documented - routed == {"/livez", "/readyz"}  # BentoML's
    assert routed - documented == set()

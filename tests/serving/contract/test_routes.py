"""Row 52 and what every answer has in common: methods, paths, ids, headers."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from tests.servers import Server
from tests.serving.contract.pictures import noise, saved
from tests.serving.contract.wire import check_refused, client_of, opened, send_form, send_raw

PNG = saved(noise(40, 30, 3))


@pytest.mark.core
@pytest.mark.row(52)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "MKCOL"])
def test_52_another_method_is_a_405_with_allow(client: httpx.Client, method: str) -> None:
    response = client.request(method, "/v1/derain")
    check_refused(response, 405, "method_not_allowed")
    assert response.headers["Allow"] == "POST"


@pytest.mark.row(52)
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/v1/models", "/metrics", "/docs.json", "/"])
def test_52_what_is_only_read_cannot_be_posted_to(client: httpx.Client, path: str) -> None:
    response = client.post(path, content=b"x")
    check_refused(response, 405, "method_not_allowed")
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.row(42)
@pytest.mark.parametrize(
    "path",
    [
        "/v1/dehaze",
        "/v1/derain/",
        "/v1",
        "/docs",
        "/static_content/x.js",
        "/%00",
        "/../etc",
        "/%ff",
    ],
)
def test_42_another_path_is_a_404_with_the_list(client: httpx.Client, path: str) -> None:
    assert "/v1/super-resolution" in check_refused(client.get(path), 404, "not_found")


@pytest.mark.row(42)
@pytest.mark.parametrize("path", ["/%0A/x", "/v1/models/a%0Ab/load"])
def test_42_a_path_with_a_line_break_gets_an_answer_of_ours(client: httpx.Client, path: str) -> None:
    """BentoML's own router does not match a line break, and answers in plain text before we are asked."""
    response = client.post(path)
    assert 400 <= response.status_code < 500
    check_refused(response, response.status_code, response.json()["error"]["code"])


@pytest.mark.parametrize(
    ("sent", "kept"), [("trace-1.a_B", True), ("a b", False), ("x" * 65, False), ("<b>", False), ("", False)]
)
def test_a_harmless_request_id_is_kept(client: httpx.Client, sent: str, kept: bool) -> None:
    response = client.get("/v1/nothing", headers={"X-Request-Id": sent})
    check_refused(response, 404, "not_found")
    assert (response.headers["X-Request-Id"] == sent) is kept


def test_answers_have_an_id_and_are_not_to_be_sniffed(client: httpx.Client) -> None:
    for response in (send_form(client, "/v1/derain", PNG), client.get("/v1/models"), client.get("/docs.json")):
        assert response.status_code == 200
        assert re.fullmatch(r"[0-9a-f]{32}", response.headers["X-Request-Id"])
        assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_no_origin_is_let_in_by_default(client: httpx.Client) -> None:
    for method, headers in (("POST", {}), ("OPTIONS", {"Access-Control-Request-Method": "POST"})):
        response = client.request(method, "/v1/derain", headers={"Origin": "https://x.example", **headers})
        assert not [name for name in response.headers if name.lower().startswith("access-control")]


def test_a_refusal_leaves_no_line_breaks_in_the_log(client: httpx.Client, service: Server) -> None:
    client.get("/v1/%0d%0aFORGED%20LINE")
    assert not [line for line in service.log.read_text().splitlines() if line.startswith("FORGED")]


@pytest.mark.core
def test_many_clients_at_once_get_their_own_pictures(service: Server) -> None:
    def ask(value: int) -> bool:
        pixels = np.full((10 + value, 30, 3), value * 7, dtype=np.uint8)
        # A connection each, so that every worker gets some.
        with client_of(service) as client:
            return bool((np.asarray(opened(send_raw(client, "/v1/derain", saved(pixels)))) == pixels).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(32)))

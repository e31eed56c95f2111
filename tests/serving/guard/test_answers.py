"""Ids, headers, CORS and errors of every answer."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.errors import SettingsError
from serving.guard.keys import new_key, write_keys

ORIGIN = "https://app.example"
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def test_a_defect_tells_only_its_id(guarded: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    app = guarded()
    for path in ("/v1/defect", "/v1/defects"):
        response = app.ask("GET", path, headers={"X-Request-Id": "me"})
        assert (response.status_code, response.json()["error"]["code"]) == (500, "internal_error")
        assert response.json()["error"]["request_id"] == response.headers["X-Request-Id"] == "me"
        assert "a secret" not in response.text
        assert [record for record in caplog.records if record.exc_info and "me" in record.getMessage()]
        caplog.clear()
    assert app.counted == ["internal", "internal"]


def test_a_defect_does_not_end_the_connection_but_half_an_answer_does(
    guarded: Callable[..., Any], on_socket: Callable[..., Any]
) -> None:
    with on_socket(guarded().app) as address, socket.create_connection(address, timeout=10) as connection:
        request = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"
        for path in (b"/v1/defect", b"/v1/who"):
            connection.sendall(request % path)
            assert connection.recv(65536)
        connection.sendall(request % b"/v1/late-defect")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert b"half" in answer
        assert not answer.endswith(b"0\r\n\r\n")  # not taken for a whole answer
        assert b"secret" not in answer


@pytest.mark.parametrize("path", ["/", "/v1/who", "/v1/nothing", "/v1/defect", "/v1/defects", "/v1/admin", "/v1/big"])
def test_every_answer_has_the_security_headers(guarded: Callable[..., Any], path: str) -> None:
    headers = guarded().ask("GET", path).headers
    assert {name: headers[name] for name in SECURITY} == SECURITY
    assert headers["X-Request-Id"]


def test_a_page_may_set_its_own(guarded: Callable[..., Any]) -> None:
    headers = guarded().ask("GET", "/v1/page").headers
    assert headers.get_list("Content-Security-Policy") == ["default-src 'self'"]
    assert headers["Cache-Control"] == "max-age=60"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_cors_is_off_by_default(guarded: Callable[..., Any]) -> None:
    headers = guarded().ask("GET", "/v1/who", headers={"Origin": ORIGIN}).headers
    assert not [name for name in headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/v1/who", "/v1/nothing", "/v1/defect", "/v1/admin"])
def test_listed_origins_may_read_every_answer(guarded: Callable[..., Any], path: str) -> None:
    app = guarded(cors_origins=(ORIGIN,))
    headers = app.ask("GET", path, headers={"Origin": ORIGIN}).headers
    assert headers["Access-Control-Allow-Origin"] == ORIGIN
    assert {"X-Model", "X-Request-Id", "Server-Timing", "Retry-After", "RateLimit"} <= set(
        headers["Access-Control-Expose-Headers"].split(", ")
    )
    assert "Access-Control-Allow-Credentials" not in headers
    assert "Origin" in headers["Vary"]
    other = app.ask("GET", path, headers={"Origin": "https://app.example.evil"}).headers
    assert "Access-Control-Allow-Origin" not in other


def preflight(app: Any, origin: str, method: str = "POST", headers: str = "x-api-key, content-type") -> httpx.Response:
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    response: httpx.Response = app.ask("OPTIONS", "/v1/size", headers={"Origin": origin, **asked})
    return response


def test_a_preflight_needs_no_key_and_the_refusal_of_a_missing_one_is_readable(
    guarded: Callable[..., Any], tmp_path: Path
) -> None:
    write_keys(tmp_path / "keys.json", [new_key("ann")[1]])
    app = guarded(cors_origins=(ORIGIN,), api_keys=tmp_path / "keys.json")
    allowed = preflight(app, ORIGIN)
    assert allowed.status_code == 200
    assert allowed.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert allowed.headers["X-Request-Id"]
    refused = app.ask("GET", "/v1/who", headers={"Origin": ORIGIN})
    assert refused.status_code == 401
    assert refused.headers["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.parametrize(
    "wrong", [{"origin": "https://evil.example"}, {"method": "PATCH"}, {"headers": "x-secret"}], ids=str
)
def test_a_preflight_for_something_else_is_a_json_400(guarded: Callable[..., Any], wrong: dict[str, str]) -> None:
    response = preflight(guarded(cors_origins=(ORIGIN,)), **({"origin": ORIGIN} | wrong))
    assert (response.status_code, response.json()["error"]["code"]) == (400, "cors_refused")
    assert response.json()["error"]["request_id"] == response.headers["X-Request-Id"]


def test_every_origin_may_be_allowed_but_never_with_credentials(guarded: Callable[..., Any]) -> None:
    headers = guarded(cors_origins=("*",)).ask("GET", "/v1/who", headers={"Origin": ORIGIN, "Cookie": "a=b"}).headers
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in headers
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"


@pytest.mark.parametrize(
    "origins", [("https://a.example/",), ("a.example",), ("null",), ("*", "https://a.example"), ("https://*.example",)]
)
def test_what_is_no_origin_ends_the_start(guarded: Callable[..., Any], origins: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError, match="MILLISIGHT_CORS_ORIGINS"):
        guarded(cors_origins=origins)


def test_a_line_of_the_log_has_no_query_and_no_header(
    guarded: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    headers = {"X-Request-Id": "me", "X-API-Key": "msk_secret", "Authorization": "Bearer msk_secret"}
    guarded().ask("GET", "/v1/who?key=msk_secret", headers=headers)
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    lines = [line for line in lines if not line.startswith("HTTP Request")]  # httpx's own
    assert len(lines) == 1
    assert lines[0].startswith("me anonymous GET '/v1/who' 200 ")
    assert "secret" not in lines[0]


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "DELETE"])
def test_other_methods_are_answered_alike(
    guarded: Callable[..., Any], on_socket: Callable[..., Any], method: str
) -> None:
    with on_socket(guarded().app) as (host, port), httpx.Client(base_url=f"http://{host}:{port}") as client:
        response = client.request(method, "/v1/who")
        if method == "HEAD":
            assert (response.status_code, response.content) == (200, b"")
            nothing = client.head("/v1/nothing")
            assert (nothing.status_code, nothing.content) == (404, b"")
        else:
            assert (response.status_code, response.json()["error"]["code"]) == (405, "method_not_allowed")
            assert response.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(("size", "closes"), [(1000, False), (1_000_000, True)])
def test_a_large_body_that_nobody_reads_ends_the_connection(
    guarded: Callable[..., Any], on_socket: Callable[..., Any], size: int, closes: bool
) -> None:
    with on_socket(guarded().app) as (host, port), httpx.Client(base_url=f"http://{host}:{port}") as client:
        response = client.post("/v1/nothing", content=b"x" * size)
        assert response.status_code == 404
        assert (response.headers.get("Connection") == "close") is closes

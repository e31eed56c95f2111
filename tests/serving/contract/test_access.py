"""Rows 46 and 47: a server that asks for keys, and holds each to its rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from serving.guard.keys import ApiKey, hash_key, new_key
from tests.servers import Server
from tests.serving.contract.pictures import noise, saved
from tests.serving.contract.wire import check_refused, check_retry_after, client_of, opened, send_raw

PNG = saved(noise(20, 24, 3))
ROUTE = "/v1/derain"
# Made once: a server of one worker and one of two use the same file.
KEYS = {
    name: new_key(name, role, rate_per_minute=rate, burst=burst)
    for name, role, rate, burst in [
        ("free", "restore", None, None),
        ("chief", "admin", None, None),
        ("slow-1", "restore", 1, 4),
        ("slow-2", "restore", 1, 4),
        ("watched-1", "restore", 60, 10),
        ("watched-2", "restore", 60, 10),
    ]
}
BEARER: Callable[[str], dict[str, str]] = lambda key: {"Authorization": f"Bearer {key}"}  # noqa: E731
HEADER: Callable[[str], dict[str, str]] = lambda key: {"X-API-Key": key}  # noqa: E731


@pytest.fixture(scope="module")
def api_keys() -> list[ApiKey]:
    return [entry for _, entry in KEYS.values()]


@pytest.fixture
def client(keyed: Server) -> Iterator[httpx.Client]:
    with client_of(keyed) as client:
        yield client


def key(name: str) -> str:
    return KEYS[name][0]


@pytest.mark.row(46)
def test_46_no_key_is_a_401_that_says_how_to_send_one(client: httpx.Client) -> None:
    response = send_raw(client, ROUTE, PNG)
    assert "X-API-Key" in check_refused(response, 401, "missing_key")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.row(46)
@pytest.mark.parametrize("headers", [BEARER, HEADER], ids=["bearer", "header"])
@pytest.mark.parametrize(
    "wrong", ["nonsense", hash_key("x"), "the hash of a key", "almost"], ids=["word", "hash", "own", "cut"]
)
def test_46_a_wrong_key_is_a_403(client: httpx.Client, headers: Callable[[str], dict[str, str]], wrong: str) -> None:
    wrong = {"the hash of a key": KEYS["free"][1].sha256, "almost": key("free")[:-1]}.get(wrong, wrong)
    check_refused(send_raw(client, ROUTE, PNG, **headers(wrong)), 403, "wrong_key")


@pytest.mark.row(46)
@pytest.mark.parametrize("headers", [BEARER, HEADER], ids=["bearer", "header"])
def test_46_a_key_opens(client: httpx.Client, headers: Callable[[str], dict[str, str]]) -> None:
    assert opened(send_raw(client, ROUTE, PNG, **headers(key("free")))).size == (24, 20)


@pytest.mark.row(46)
@pytest.mark.parametrize("path", ["/v1/models", "/v1/nothing", "/v1/derain?model=nobody"])
def test_46_without_a_key_nothing_is_told(client: httpx.Client, path: str) -> None:
    check_refused(client.get(path), 401, "missing_key")


@pytest.mark.row(46)
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/docs.json", "/"])
def test_46_what_machines_ask_needs_no_key(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 200


@pytest.mark.row(46)
def test_46_two_different_keys_are_a_400(client: httpx.Client) -> None:
    response = send_raw(client, ROUTE, PNG, **BEARER(key("free")), **HEADER("other"))
    check_refused(response, 400, "conflicting_keys")


@pytest.mark.row(46)
def test_46_admin_routes_ask_for_an_admin_key(client: httpx.Client) -> None:
    refused = client.post("/v1/models/reload", headers=HEADER(key("free")))
    check_refused(refused, 403, "not_allowed")
    assert client.post("/v1/models/reload", headers=HEADER(key("chief"))).status_code == 200


@pytest.mark.row(46)
def test_46_without_a_key_file_admin_routes_are_closed(service: Server) -> None:
    with client_of(service) as open_to_all:
        check_refused(open_to_all.post("/v1/models/reload"), 403, "not_allowed")


@pytest.mark.row(46)
def test_46_a_key_is_never_written_down(client: httpx.Client, keyed: Server) -> None:
    secrets = [key("free"), "msk_mistyped-secret"]
    for secret in secrets:
        for headers in (BEARER(secret), HEADER(secret)):
            response = send_raw(client, ROUTE, PNG, **headers)
            assert secret not in str(response.headers)
            assert response.status_code == 200 or secret not in response.text
    log = keyed.log.read_text()
    assert "/v1/derain" in log
    assert not [secret for secret in secrets if secret in log]


@pytest.mark.row(47)
def test_47_more_than_the_rate_is_a_429_that_says_when_to_come_back(
    client: httpx.Client, keyed: Server, workers: int
) -> None:
    """One request a minute, four at once: of twenty, four pass. (With two workers each grants its half.)"""
    headers = HEADER(key(f"slow-{workers}"))
    responses = []
    for _ in range(20):
        # A connection each, so that every worker gets some.
        with client_of(keyed) as fresh:
            responses.append(send_raw(fresh, ROUTE, PNG, **headers))
    passed = [response for response in responses if response.status_code == 200]
    refused = [response for response in responses if response.status_code != 200]
    assert 0 < len(passed) <= 4
    for response in refused:
        check_refused(response, 429, "rate_limited")
        check_retry_after(response)
        assert response.headers["RateLimit"].startswith('"key";r=0;t=')
    # The keys of others are not held back.
    assert send_raw(client, ROUTE, PNG, **HEADER(key("free"))).status_code == 200


@pytest.mark.row(47)
def test_47_what_is_left_is_said_with_every_answer(client: httpx.Client, workers: int) -> None:
    headers = HEADER(key(f"watched-{workers}"))
    left = []
    for _ in range(3):
        response = send_raw(client, ROUTE, PNG, **headers)
        assert response.status_code == 200
        assert response.headers["RateLimit-Policy"].startswith(f'"key";q={10 // workers};w=')
        left.append(int(response.headers["RateLimit"].partition("r=")[2].partition(";")[0]))
    assert left[0] > left[-1]

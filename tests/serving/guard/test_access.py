from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.datastructures import Headers

from serving.guard.access import presented_key
from serving.guard.errors import ConflictingKeysError
from serving.guard.keys import KeyFileError, new_key, write_keys


class Keys:
    def __init__(self, path: Path) -> None:
        self.path = path
        (self.plain, one), (self.admin, two) = new_key("ann"), new_key("root", "admin")
        self.limited, three = new_key("lim", rate_per_minute=1, burst=2)
        write_keys(path, [one, two, three])


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys.json")


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_without_a_key_file_everybody_is_anonymous(guarded: Callable[..., Any]) -> None:
    app = guarded()
    assert app.ask("GET", "/v1/who").json() == {"name": "anonymous", "admin": False}
    assert app.ask("GET", "/v1/who", headers={"X-API-Key": "any"}).status_code == 200
    refused = app.ask("POST", "/v1/admin")
    assert code(refused) == (403, "not_allowed")
    assert "MILLISIGHT_API_KEYS" in refused.json()["error"]["message"]


def test_with_a_key_file_only_its_keys_pass(guarded: Callable[..., Any], keys: Keys) -> None:
    app = guarded(api_keys=keys.path)
    missing = app.ask("GET", "/v1/who")
    assert code(missing) == (401, "missing_key")
    assert missing.headers["WWW-Authenticate"].startswith("Bearer")
    wrong = app.ask("GET", "/v1/who", headers={"X-API-Key": keys.plain[:-1]})
    assert code(wrong) == (403, "wrong_key")
    assert keys.plain[:-1] not in wrong.text
    for header in ({"X-API-Key": keys.plain}, {"Authorization": f"bearer  {keys.plain} "}):
        assert app.ask("GET", "/v1/who", headers=header).json() == {"name": "ann", "admin": False}
    assert app.counted == ["unauthorised"] * 2
    # Nothing is told of what exists to who has no key.
    assert code(app.ask("GET", "/v1/nothing")) == (401, "missing_key")
    assert code(app.ask("GET", "/v1/nothing", headers={"X-API-Key": keys.plain})) == (404, "not_found")


def test_admin_routes_need_an_admin_key(guarded: Callable[..., Any], keys: Keys) -> None:
    app = guarded(api_keys=keys.path)
    refused = app.ask("POST", "/v1/admin", headers={"X-API-Key": keys.plain})
    assert code(refused) == (403, "not_allowed")
    assert "--role admin" in refused.json()["error"]["message"]
    assert app.ask("POST", "/v1/admin", headers={"X-API-Key": keys.admin}).json() == {"name": "root"}


@pytest.mark.parametrize("path", ["/", "/metrics", "/docs.json"])
def test_public_paths_need_no_key(guarded: Callable[..., Any], keys: Keys, path: str) -> None:
    assert guarded(api_keys=keys.path).ask("GET", path).status_code in (200, 404)


def test_two_different_keys_are_a_400(guarded: Callable[..., Any], keys: Keys) -> None:
    app = guarded(api_keys=keys.path)
    both = {"X-API-Key": keys.plain, "Authorization": f"Bearer {keys.admin}"}
    refused = app.ask("GET", "/v1/who", headers=both)
    assert code(refused) == (400, "conflicting_keys")
    assert not any(key in refused.text for key in (keys.plain, keys.admin))
    same = {"X-API-Key": keys.plain, "Authorization": f"Bearer {keys.plain}"}
    assert app.ask("GET", "/v1/who", headers=same).status_code == 200


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ([], None),
        ([("Authorization", "Basic dTpw")], None),
        ([("Authorization", "Bearer")], None),
        ([("X-API-Key", " ")], None),
        ([("X-API-Key", "a"), ("X-API-Key", "a")], "a"),
        ([("Authorization", "BEARER a")], "a"),
    ],
)
def test_keys_are_found_in_headers(given: list[tuple[str, str]], key: str | None) -> None:
    assert presented_key(Headers(raw=[(name.lower().encode(), value.encode()) for name, value in given])) == key


def test_a_header_given_twice_with_two_keys_is_refused() -> None:
    with pytest.raises(ConflictingKeysError):
        presented_key(Headers(raw=[(b"x-api-key", b"a"), (b"x-api-key", b"b")]))


def test_a_rate_is_held_and_shown(guarded: Callable[..., Any], keys: Keys) -> None:
    app = guarded(api_keys=keys.path)
    limited = {"X-API-Key": keys.limited}
    first, second, third = (app.ask("GET", "/v1/who", headers=limited) for _ in range(3))
    assert (first.headers["RateLimit-Policy"], first.headers["RateLimit"]) == ('"key";q=2;w=120', '"key";r=1;t=60')
    assert second.status_code == 200
    assert code(third) == (429, "rate_limited")
    assert 1 <= int(third.headers["Retry-After"]) <= 60
    assert third.headers["RateLimit"].startswith('"key";r=0;')
    assert app.counted == ["rate_limited"]
    # Others, and paths without keys, are not touched by it.
    unlimited = app.ask("GET", "/v1/who", headers={"X-API-Key": keys.plain})
    assert unlimited.status_code == 200
    assert "RateLimit" not in unlimited.headers
    assert app.ask("GET", "/", headers=limited).status_code == 200


def test_a_wrong_key_file_ends_the_start(guarded: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(KeyFileError):
        guarded(api_keys=tmp_path / "none.json")

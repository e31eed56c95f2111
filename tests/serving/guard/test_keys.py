from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from serving.errors import SettingsError
from serving.guard.keys import ApiKey, KeyFileError, KeyRing, hash_key, new_key, read_keys, write_keys


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_key_is_long_random_and_stored_as_a_hash_alone(tmp_path: Path) -> None:
    made = [new_key(f"n{number}") for number in range(50)]
    keys = {key for key, _ in made}
    assert len(keys) == 50
    assert all(key.startswith("msk_") and len(key) == 47 for key in keys)  # 32 bytes are 43 signs of base 64
    path = tmp_path / "keys.json"
    write_keys(path, [entry for _, entry in made])
    text = path.read_text()
    assert not any(key in text or key[4:] in text for key in keys)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in read_keys(path)] == [entry.name for _, entry in made]
    assert list(tmp_path.iterdir()) == [path]


def test_only_the_very_key_is_found(tmp_path: Path) -> None:
    (first, one), (last, two) = new_key("first", "admin"), new_key("last")
    path = tmp_path / "keys.json"
    write_keys(path, [one, two])
    ring = KeyRing(path)
    assert ring.find(first) == one
    assert ring.find(last) == two
    wrong = ["", first[:-1], first + "x", first.lower(), one.sha256, hash_key(first), "\udcff", "ключ", "x" * 100_000]
    assert [ring.find(key) for key in wrong] == [None] * len(wrong)


def test_every_entry_is_compared_whichever_fits(tmp_path: Path) -> None:
    made = [new_key(f"n{number}") for number in range(5)]
    write_keys(tmp_path / "keys.json", [entry for _, entry in made])
    ring = KeyRing(tmp_path / "keys.json")
    looked: list[str] = []

    class Watched(ApiKey):
        def __getattribute__(self, name: str) -> object:
            if name == "sha256":
                looked.append(object.__getattribute__(self, "name"))
            return object.__getattribute__(self, name)

    ring._keys = tuple(Watched(**entry.model_dump()) for _, entry in made)
    for key in (made[0][0], made[4][0], "unknown"):
        looked.clear()
        ring.find(key)
        assert looked == ["n0", "n1", "n2", "n3", "n4"]


GOOD = new_key("ann", rate_per_minute=60)[1].model_dump(mode="json")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "Invalid JSON"),
        ("{}", "valid array"),
        ([GOOD | {"key": "msk_secret"}], "Extra inputs"),
        ([GOOD | {"sha256": "msk_secret"}], "0.sha256"),
        ([GOOD | {"role": "root"}], "0.role"),
        ([GOOD | {"rate_per_minute": 0}], "0.rate_per_minute"),
        ([GOOD | {"burst": 0}], "0.burst"),
        ([GOOD | {"name": "a b"}], "0.name"),
        ([GOOD | {"name": "anonymous"}], "without a key"),
        ([GOOD | {"created": "yesterday"}], "0.created"),
        ([GOOD, GOOD], "two keys of the name ann"),
        ([{"name": "ann"}], "Field required"),
    ],
)
def test_a_wrong_file_is_refused_without_repeating_it(tmp_path: Path, content: object, words: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(KeyFileError) as caught:
        KeyRing(path)
    assert words in str(caught.value)
    assert "msk_secret" not in str(caught.value)
    assert isinstance(caught.value, SettingsError)  # no start


def test_the_good_file_of_these_cases_is_good(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([GOOD]))
    assert read_keys(path) == (ApiKey.model_validate(GOOD),)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="millisight keys create"):
        KeyRing(tmp_path / "none.json")


def test_a_changed_file_is_read_again_at_most_once_a_second(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    path = tmp_path / "keys.json"
    (old, one), (new, two) = new_key("one"), new_key("two")
    write_keys(path, [one])
    ring = KeyRing(path, clock)
    write_keys(path, [two])
    clock.now += 0.9
    assert (ring.find(old), ring.find(new)) == (one, None)  # not looked yet
    clock.now += 0.2
    assert (ring.find(old), ring.find(new)) == (None, two)  # revoked and added

    for broken in ("[", '[{"name": 1}]'):
        path.write_text(broken)
        clock.now += 1.1
        assert ring.find(new) == two
        assert "stay in force" in caplog.text
        caplog.clear()
        clock.now += 1.1
        assert ring.find(new) == two
        assert not caplog.records  # said once, not every second
    path.unlink()
    clock.now += 1.1
    assert ring.find(new) == two
    assert "cannot be read" in caplog.text
    write_keys(path, [one])
    clock.now += 1.1
    assert (ring.find(old), ring.find(new)) == (one, None)


def test_an_unusable_name_makes_no_key() -> None:
    with pytest.raises(KeyFileError, match="name"):
        new_key("a/b")


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "keys.json").mkdir()
    with pytest.raises(KeyFileError, match="cannot be written"):
        write_keys(tmp_path / "keys.json", [])
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]

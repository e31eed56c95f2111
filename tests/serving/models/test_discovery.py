from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runtime.errors import BundleError
from serving.errors import SettingsError
from serving.models.discovery import check_roots, discover, fingerprint, survey
from serving.settings import Settings
from tests.servers import write_known_bundle


def test_of_two_bundles_with_one_name_the_first_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for root in ("a", "b"):
        write_known_bundle(tmp_path / root / "x", "twin", "derain")
    found = discover(Settings(bundles=(tmp_path / "b", tmp_path / "a")))
    assert [bundle.folder for bundle in found] == [tmp_path / "b" / "x"]
    assert f"{tmp_path / 'a' / 'x'} is hidden by {tmp_path / 'b' / 'x'}" in caplog.text


def test_default_folders_may_be_missing_but_not_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="MILLISIGHT_BUNDLES"):
        discover(Settings())
    write_known_bundle(tmp_path / "zoo" / "x", "x", "derain")
    assert [bundle.manifest.name for bundle in discover(Settings())] == ["x"]


def test_a_folder_somebody_named_must_exist(tmp_path: Path) -> None:
    settings = Settings(bundles=(tmp_path / "nowhere",))
    with pytest.raises(BundleError, match="nowhere"):
        discover(settings)
    with pytest.raises(BundleError, match="nowhere"):
        check_roots(settings)


def test_who_wants_all_of_them_sound_is_told_of_the_first_that_is_not(zoo: Path) -> None:
    (zoo / "b" / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(BundleError, match=r"model\.onnx"):
        discover(Settings(bundles=(zoo,)))


def test_a_survey_tells_what_is_broken_beside_what_is_not(zoo: Path, tmp_path: Path) -> None:
    (zoo / "b" / "model.onnx").write_bytes(b"damaged")
    (zoo / "c" / "manifest.json").write_bytes(b"{")
    write_known_bundle(zoo / "d", "fast", "derain")
    seen = survey(Settings(bundles=(zoo, tmp_path / "nowhere")))
    assert list(seen.found) == ["first"]
    told = [(refusal.label, refusal.name) for refusal in seen.refused]
    assert told == [("zoo/b", "second"), ("zoo/c", ""), ("zoo/d", "fast"), ("nowhere", "")]
    for refusal, word in zip(seen.refused, ("model.onnx", "manifest.json", "role", "no folder"), strict=True):
        assert word in refusal.reason
        assert str(tmp_path) not in refusal.reason  # clients see it
        assert str(tmp_path) in refusal.message  # the log has it


def test_places_are_refused_one_by_one_or_with_their_root(zoo: Path, tmp_path: Path) -> None:
    shutil.rmtree(zoo / "c")
    (zoo / "b" / "model.onnx").write_bytes(b"damaged")
    seen = survey(Settings(bundles=(zoo, tmp_path / "nowhere")))
    asked = [(0, ("a",)), (0, ("b",)), (0, ("c",)), (1, ("anything",))]
    assert [seen.refuses(place) for place in asked] == [False, True, False, True]


def test_a_bundle_that_two_roots_reach_is_one(zoo: Path) -> None:
    seen = survey(Settings(bundles=(zoo / "b", zoo)))
    assert list(seen.found) == ["second", "first", "rain"]
    assert sorted(seen.found.values(), key=lambda found: found.place) == list(seen.found.values())


def test_the_fingerprint_changes_with_the_bundles_and_with_nothing_else(zoo: Path) -> None:
    settings = Settings(bundles=(zoo,))
    before = fingerprint(settings)
    assert len(before) == 9  # three bundles of three files
    (zoo / "notes.txt").write_text("no part of a bundle")
    assert fingerprint(settings) == before
    write_known_bundle(zoo / "a", "first", "denoise", gain=0.5)
    again = fingerprint(settings)
    assert again != before  # the same bytes written anew; whoever looks closer finds no change
    shutil.rmtree(zoo / "a")
    assert fingerprint(settings) < again

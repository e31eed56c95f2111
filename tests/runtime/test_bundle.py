import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.bundle import Bundle, find_bundles, write_bundle
from runtime.errors import BundleError
from runtime.manifest import Manifest

MakeBundle = Callable[..., Bundle]
MakeManifest = Callable[..., Manifest]


def test_what_is_written_is_read(make_bundle: MakeBundle) -> None:
    written = make_bundle()
    read = Bundle.load(written.folder)
    assert read == written
    assert Bundle.load(str(written.folder)) == written
    assert set(read.manifest.files) == {"model.onnx", "card.md"}
    assert read.model_path.is_file()


def test_nothing_is_left_beside_it(make_bundle: MakeBundle, tmp_path: Path) -> None:
    make_bundle()
    make_bundle()
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_others_may_read_it(make_bundle: MakeBundle, tmp_path: Path) -> None:
    # A service in a container runs as another user than the export; the folder gets the rights any new folder gets.
    (tmp_path / "plain").mkdir()
    assert make_bundle().folder.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_missing_file_is_named(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    (bundle.folder / "card.md").unlink()
    with pytest.raises(BundleError, match=r"lacks its file card\.md"):
        Bundle.load(bundle.folder)


def test_a_damaged_file_is_named(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    content = bytearray(bundle.model_path.read_bytes())
    content[len(content) // 2] ^= 1
    bundle.model_path.write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.onnx .* is damaged"):
        Bundle.load(bundle.folder)


def test_a_foreign_file_is_named_and_a_hidden_one_is_not(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    (bundle.folder / ".DS_Store").touch()
    assert Bundle.load(bundle.folder) == bundle
    (bundle.folder / "extra.py").touch()
    with pytest.raises(BundleError, match=r"does not list: extra\.py"):
        Bundle.load(bundle.folder)


def test_a_manifest_without_its_model_is_refused(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    path = bundle.folder / "manifest.json"
    for name in bundle.manifest.files:
        (bundle.folder / name).unlink()
    path.write_text(json.dumps({**json.loads(path.read_text()), "files": {}}))
    with pytest.raises(BundleError, match=r"lists no model\.onnx"):
        Bundle.load(bundle.folder)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"is not a bundle: no readable manifest\.json"):
        Bundle.load(tmp_path)
    with pytest.raises(BundleError, match="is not a bundle"):
        Bundle.load(tmp_path / "absent")
    (tmp_path / "manifest.json").write_bytes(b"\xff\xfe")
    with pytest.raises(BundleError, match="not UTF-8"):
        Bundle.load(tmp_path)
    (tmp_path / "manifest.json").write_bytes(b" " * (2**20 + 1))
    with pytest.raises(BundleError, match="larger than"):
        Bundle.load(tmp_path)


def test_a_bundle_of_the_same_name_is_replaced(make_bundle: MakeBundle, make_model: Callable[..., bytes]) -> None:
    old = make_bundle()
    new = make_bundle(model=make_model(radius=2), parameters=1)
    assert new.folder == old.folder
    assert Bundle.load(old.folder).manifest.parameters == 1
    assert new.manifest.files["model.onnx"] != old.manifest.files["model.onnx"]


def test_a_damaged_bundle_of_the_same_name_is_replaced(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    bundle.model_path.unlink()
    make_bundle()
    assert Bundle.load(bundle.folder) == bundle


def test_what_is_not_ours_is_never_overwritten(
    make_bundle: MakeBundle, make_manifest: MakeManifest, tmp_path: Path
) -> None:
    folder = make_bundle().folder
    with pytest.raises(BundleError, match="holds the bundle 'small', not 'other'"):
        write_bundle(folder, make_manifest(name="other"), {"model.onnx": b"x"})
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.png").write_bytes(b"dear")
    with pytest.raises(BundleError, match="exists and is not a bundle"):
        write_bundle(tmp_path / "photos", make_manifest(), {"model.onnx": b"x"})
    assert (tmp_path / "photos" / "me.png").read_bytes() == b"dear"
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match="exists and is not a bundle"):
        write_bundle(tmp_path / "file", make_manifest(), {"model.onnx": b"x"})


def test_a_write_that_fails_leaves_the_old_bundle_and_no_trace(
    make_bundle: MakeBundle, make_manifest: MakeManifest, tmp_path: Path
) -> None:
    old = make_bundle()
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match="could not be written"):
        write_bundle(tmp_path / "file" / "below", make_manifest(), {"model.onnx": b"x"})
    with pytest.raises(BundleError, match="not a plain file name"):
        write_bundle(old.folder, make_manifest(), {"model.onnx": b"x", "../escape": b"y"})
    with pytest.raises(BundleError, match=r"needs its model model\.onnx; got card\.md"):
        write_bundle(old.folder, make_manifest(), {"card.md": b"y"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "small"]
    assert Bundle.load(old.folder) == old


def test_bundles_are_found_at_every_depth(make_bundle: MakeBundle, tmp_path: Path) -> None:
    a, b, c = make_bundle("zoo/a"), make_bundle("zoo/b"), make_bundle("runs/7/bundle")
    (tmp_path / "runs" / "7" / "notes").mkdir()
    (tmp_path / "runs" / ".hidden").mkdir()
    (tmp_path / "runs" / ".hidden" / "manifest.json").write_text("{")
    assert find_bundles([tmp_path / "zoo", tmp_path / "runs"]) == [a, b, c]
    assert find_bundles([c.folder]) == [c]  # a bundle itself
    assert find_bundles([tmp_path / "zoo", tmp_path / "zoo" / "a"]) == [a, b]  # each once
    assert find_bundles([]) == []


def test_a_broken_bundle_or_an_absent_folder_is_not_passed_over(make_bundle: MakeBundle, tmp_path: Path) -> None:
    make_bundle("zoo/a").model_path.unlink()
    with pytest.raises(BundleError, match="lacks its file"):
        find_bundles([tmp_path / "zoo"])
    with pytest.raises(BundleError, match=r"no folder .*absent"):
        find_bundles([tmp_path / "absent"])

from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.bundle import Bundle
from runtime.bundle_writer import copy_bundle, write_bundle
from runtime.errors import BundleError
from runtime.manifest import Manifest

MakeBundle = Callable[..., Bundle]
MakeManifest = Callable[..., Manifest]


def test_nothing_is_left_beside_it(make_bundle: MakeBundle, tmp_path: Path) -> None:
    make_bundle()
    make_bundle()
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_others_may_read_it(make_bundle: MakeBundle, tmp_path: Path) -> None:
    # A service in a container runs as another user than the export; the folder gets the rights any new folder gets.
    (tmp_path / "plain").mkdir()
    assert make_bundle().folder.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_bundle_of_the_same_name_is_replaced(make_bundle: MakeBundle, make_model: Callable[..., bytes]) -> None:
    old = make_bundle()
    new = make_bundle(model=make_model(radius=2), parameters=1)
    assert new.folder == old.folder
    assert Bundle.load(old.folder).manifest.parameters == 1
    assert new.manifest.files["model.onnx"] != old.manifest.files["model.onnx"]


def test_a_damaged_bundle_of_the_same_name_is_replaced(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    bundle.model_path("fp32").unlink()
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
    with pytest.raises(BundleError, match=r"needs its models model\.onnx; got card\.md"):
        write_bundle(old.folder, make_manifest(), {"card.md": b"y"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "small"]
    assert Bundle.load(old.folder) == old


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_copy_is_equal_to_the_byte(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle()
    copy = copy_bundle(bundle, tmp_path / "copy")
    assert contents(copy.folder) == contents(bundle.folder)
    assert copy.digest == bundle.digest


def test_a_copy_of_an_old_bundle_is_not_renewed(old_bundle: Path, tmp_path: Path) -> None:
    copied = copy_bundle(Bundle.load(old_bundle), tmp_path / "copy")
    assert contents(copied.folder) == contents(old_bundle)


def test_what_was_changed_since_it_was_loaded_is_not_copied(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle()
    (bundle.folder / "card.md").write_bytes(b"# Other\n")
    with pytest.raises(BundleError, match=r"card\.md .* is damaged"):
        copy_bundle(bundle, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()

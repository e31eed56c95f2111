"""Nothing of a bundle can change unseen: each byte of each file, its length, its place, its presence."""

import itertools
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime import Bundle, BundleError, EngineRecord, Manifest, Picture, StepRecord, encode_image, write_bundle
from runtime.checksums import hash_file, sums_text


@pytest.fixture
def bundle(tmp_path: Path, make_manifest: Callable[..., Manifest], make_model: Callable[..., bytes]) -> Bundle:
    """Graphs, an engine, a card, a picture: everything a bundle may hold."""
    model = make_model()
    picture = encode_image(Picture.from_float(np.random.default_rng(0).random((3, 9, 7), dtype=np.float32)), "png")
    files = {"model.onnx": model, "model-int8.onnx": make_model(radius=2), "rtx.engine": bytes(range(256))}
    files |= {"card.md": b"# Small\n", "sample-degraded.png": picture}
    (tmp_path / "model.onnx").write_bytes(model)
    engine = EngineRecord(
        file="rtx.engine", backend="cuda-tensorrtrtx", precision="fp32", source=hash_file(tmp_path / "model.onnx"),
        version="tensorrt-rtx 1.7", capabilities=("8.6",), smallest=(1, 8, 8), usual=(1, 8, 8), largest=(4, 8, 8),
    )  # fmt: skip
    (tmp_path / "model.onnx").unlink()
    step = StepRecord(name="int8", status="ok", db_lost=0.01, max_difference=0.02, ms=1.25, images=3)
    manifest = make_manifest(models={"fp32": "model.onnx", "int8": "model-int8.onnx"}, engines=[engine], steps=[step])
    return write_bundle(tmp_path / "bundle", manifest, files)


@contextmanager
def changed(path: Path, content: bytes) -> Iterator[None]:
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


def refused(folder: Path, name: str) -> None:
    """Loading has to fail and to name the file."""
    with pytest.raises(BundleError) as error:
        Bundle.load(folder)
    assert name in str(error.value)


EVERY_FILE = ("SHA256SUMS", "card.md", "manifest.json", "model-int8.onnx", "model.onnx", "rtx.engine",
              "sample-degraded.png")  # fmt: skip
# The folder is put back after each example, so that one will do for all of them.
SHARED = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_these_are_all_files_and_an_undamaged_bundle_loads(bundle: Bundle) -> None:
    assert tuple(sorted(path.name for path in bundle.folder.iterdir())) == EVERY_FILE
    for name in EVERY_FILE:
        path = bundle.folder / name
        with changed(path, path.read_bytes()):  # the same bytes: it is the damage that is refused, not the touch
            assert Bundle.load(bundle.folder) == bundle


@SHARED
@given(name=st.sampled_from(EVERY_FILE), place=st.integers(0, 2**20), mask=st.integers(1, 255))
def test_any_byte_of_any_file_may_not_change(bundle: Bundle, name: str, place: int, mask: int) -> None:
    path = bundle.folder / name
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= mask
    with changed(path, bytes(content)):
        refused(bundle.folder, name)


def test_no_byte_of_the_texts_may_change(bundle: Bundle) -> None:
    for name in ("SHA256SUMS", "manifest.json"):
        path = bundle.folder / name
        for place in range(path.stat().st_size):
            content = bytearray(path.read_bytes())
            content[place] ^= 1
            with changed(path, bytes(content)):
                refused(bundle.folder, name)


@SHARED
@given(name=st.sampled_from(EVERY_FILE), length=st.integers(0, 2**20), more=st.binary(min_size=1, max_size=3))
def test_no_file_may_be_cut_or_grow(bundle: Bundle, name: str, length: int, more: bytes) -> None:
    path = bundle.folder / name
    content = path.read_bytes()
    for damaged in (content[: length % len(content)], content + more, more + content):
        with changed(path, damaged):
            refused(bundle.folder, name)


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(EVERY_FILE, 2)))
def test_two_files_may_not_change_places(bundle: Bundle, first: str, second: str) -> None:
    one, other = bundle.folder / first, bundle.folder / second
    before = one.read_bytes(), other.read_bytes()
    one.write_bytes(before[1])
    other.write_bytes(before[0])
    with pytest.raises(BundleError):
        Bundle.load(bundle.folder)


@pytest.mark.parametrize("name", EVERY_FILE)
def test_no_file_may_be_missing(bundle: Bundle, name: str) -> None:
    (bundle.folder / name).unlink()
    refused(bundle.folder, name)


@pytest.mark.parametrize("name", ["extra.bin", "MANIFEST.json", "sha256sums", "model.onnx.bak"])
def test_nothing_may_be_added(bundle: Bundle, name: str) -> None:
    (bundle.folder / name).write_bytes(b"")
    refused(bundle.folder, name)


def test_the_system_can_check_the_sums_too(bundle: Bundle) -> None:
    program = shutil.which("sha256sum")
    if program is None:
        pytest.skip("this system has no sha256sum")

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, "--strict", "-c", "SHA256SUMS"], cwd=bundle.folder, capture_output=True, text=True, check=False
        )

    result = check()
    assert (result.returncode, result.stdout.count(": OK")) == (0, len(EVERY_FILE) - 1)
    (bundle.folder / "card.md").write_bytes(b"# Tall!\n")
    assert "card.md: FAILED" in check().stdout


def test_a_line_for_each_file_sorted() -> None:
    assert sums_text({"b": "1" * 64, "a": "2" * 64}) == f"{'2' * 64}  a\n{'1' * 64}  b\n"


def test_an_old_bundle_has_no_sums_and_loads(old_bundle: Path) -> None:
    assert not (old_bundle / "SHA256SUMS").exists()
    assert Bundle.load(old_bundle).manifest.models == {"fp32": "model.onnx"}
    path = old_bundle / "model.onnx"
    with changed(path, path.read_bytes() + b"x"):
        refused(old_bundle, "model.onnx")


def test_an_old_bundle_with_sums_is_held_to_them(old_bundle: Path) -> None:
    sums = sums_text({path.name: hash_file(path) for path in old_bundle.iterdir()})
    (old_bundle / "SHA256SUMS").write_text(sums)
    Bundle.load(old_bundle)
    (old_bundle / "SHA256SUMS").write_text(sums.replace("  card.md", "  other.md"))
    refused(old_bundle, "SHA256SUMS")


def test_a_bundle_cannot_pretend_to_be_old(bundle: Bundle) -> None:
    """Without its sums nothing would vouch for its manifest."""
    path = bundle.folder / "manifest.json"
    (bundle.folder / "SHA256SUMS").unlink()
    refused(bundle.folder, "SHA256SUMS")
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 1}))
    with pytest.raises(BundleError, match=r"schema version 1, which had no models, engines, .*changed after"):
        Bundle.load(bundle.folder)

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.bundle import Bundle, find_bundles
from runtime.bundle_writer import write_bundle
from runtime.engines.stored import StoredEngine
from runtime.errors import BundleError
from runtime.manifest import Manifest
from runtime.records import EngineRecord, StepRecord
from runtime.target import Target

MakeBundle = Callable[..., Bundle]
MakeManifest = Callable[..., Manifest]
Reseal = Callable[..., None]


def test_what_is_written_is_read(make_bundle: MakeBundle) -> None:
    written = make_bundle()
    read = Bundle.load(written.folder)
    assert read == written
    assert Bundle.load(str(written.folder)) == written
    assert set(read.manifest.files) == {"model.onnx", "card.md"}
    assert read.model_path("fp32") == written.folder / "model.onnx"


def test_a_missing_file_is_named(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    (bundle.folder / "card.md").unlink()
    with pytest.raises(BundleError, match=r"lacks its file card\.md"):
        Bundle.load(bundle.folder)


def test_a_damaged_file_is_named(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    path = bundle.model_path("fp32")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.onnx .* is damaged"):
        Bundle.load(bundle.folder)


def test_a_foreign_file_is_named_and_a_hidden_one_is_not(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    (bundle.folder / ".DS_Store").touch()
    assert Bundle.load(bundle.folder) == bundle
    (bundle.folder / "extra.py").touch()
    with pytest.raises(BundleError, match=r"does not list: extra\.py"):
        Bundle.load(bundle.folder)


def test_a_manifest_without_its_model_is_refused(make_bundle: MakeBundle, reseal: Reseal) -> None:
    bundle = make_bundle()
    for name in bundle.manifest.files:
        (bundle.folder / name).unlink()
    reseal(bundle.folder, files={})
    with pytest.raises(BundleError, match=r"lists no model\.onnx"):
        Bundle.load(bundle.folder)


def test_a_precision_that_is_not_there_is_told_from_those_that_are(make_bundle: MakeBundle) -> None:
    step = StepRecord(name="int8", status="dropped", why="it lost 0.5 dB")
    with pytest.raises(BundleError, match=r"no int8 file \(it lost 0\.5 dB\), only fp32\. `millisight export`"):
        make_bundle(steps=[step]).model_path("int8")
    with pytest.raises(BundleError, match=r"no fp16 file, only fp32"):
        make_bundle(steps=[step]).model_path("fp16")


def test_a_file_is_verified_again_when_it_is_read(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    assert bundle.read("card.md") == b"# Small\n"
    (bundle.folder / "card.md").write_bytes(b"# Other\n")
    with pytest.raises(BundleError, match=r"card\.md .* is damaged"):
        bundle.read("card.md")
    with pytest.raises(BundleError, match=r"has no other\.md, only card\.md, model\.onnx"):
        bundle.read("other.md")


def test_the_digest_names_all_bytes(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    assert bundle.digest == hashlib.sha256((bundle.folder / "SHA256SUMS").read_bytes()).hexdigest()
    assert make_bundle("again").digest == bundle.digest
    assert make_bundle("other", parameters=1).digest != bundle.digest


def engine(source: str, **changes: Any) -> EngineRecord:
    fields: dict[str, Any] = {
        "file": "rtx.engine", "backend": "cuda-tensorrtrtx", "precision": "fp32", "source": source,
        "version": "tensorrt-rtx 0.0", "capabilities": ("8.6",), "smallest": (1, 16, 16), "usual": (1, 16, 16),
        "largest": (4, 16, 16),
    }  # fmt: skip
    return EngineRecord.model_validate(fields | changes)


def test_an_engine_is_found_by_what_it_runs(make_manifest: MakeManifest, tmp_path: Path) -> None:
    source = hashlib.sha256(b"graph").hexdigest()
    other = engine(source, file="other.engine", version="tensorrt-rtx 0.1")
    files = {"model.onnx": b"graph", "rtx.engine": b"engine", "other.engine": b"another"}
    bundle = write_bundle(tmp_path / "b", make_manifest(engines=[engine(source), other]), files)
    stored = bundle.engine_for(Target.parse("cuda-tensorrtrtx-fp32"))
    assert stored is not None
    # No machine has these versions: the first is given, so that whoever opens it can say why it does not fit.
    assert stored == StoredEngine(engine(source), bundle.folder / "rtx.engine", hashlib.sha256(b"engine").hexdigest())
    assert bundle.engine_for(Target.parse("cuda-tensorrtrtx-fp16")) is None
    assert bundle.engine_for(Target.parse("cuda-tensorrt-fp32")) is None


def test_an_engine_of_another_graph_is_refused(make_manifest: MakeManifest, tmp_path: Path) -> None:
    files = {"model.onnx": b"graph", "rtx.engine": b"engine"}
    with pytest.raises(BundleError, match=r"'rtx\.engine' was built from another graph"):
        write_bundle(tmp_path / "b", make_manifest(engines=[engine("0" * 64)]), files)
    with pytest.raises(BundleError, match=r"rtx\.engine not in files"):
        write_bundle(tmp_path / "b", make_manifest(engines=[engine("0" * 64)]), {"model.onnx": b"graph"})


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
    make_bundle("zoo/a").model_path("fp32").unlink()
    with pytest.raises(BundleError, match="lacks its file"):
        find_bundles([tmp_path / "zoo"])
    with pytest.raises(BundleError, match=r"no folder .*absent"):
        find_bundles([tmp_path / "absent"])

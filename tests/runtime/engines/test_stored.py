"""Whether a stored engine fits. That one which fits also runs is for `test_gpu.py`."""

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.cuda import cuda_status
from runtime.engine import STORED_ENGINES, open_engine
from runtime.engines.stored import EngineHost, StoredEngine, engine_host, fits, read_stored
from runtime.errors import EngineError, FallbackWarning, TargetError
from runtime.records import EngineRecord
from runtime.target import TARGETS, Target

MODEL = b"an ONNX file"
SOURCE = hashlib.sha256(MODEL).hexdigest()
CONTENT = b"an engine"
TARGET = Target("cuda", "tensorrtrtx", "fp16")
HOST = EngineHost("tensorrt-rtx 1.7.1.116", "8.9")
RECORD = EngineRecord(
    file="tensorrtrtx-fp16.engine",
    backend="cuda-tensorrtrtx",
    precision="fp16",
    source=SOURCE,
    version="tensorrt-rtx 1.7.1.116",
    capabilities=("8.6", "8.9"),
    smallest=(1, 64, 64),
    usual=(4, 64, 64),
    largest=(8, 64, 64),
)


@pytest.fixture
def stored(tmp_path: Path) -> StoredEngine:
    path = tmp_path / RECORD.file
    path.write_bytes(CONTENT)
    return StoredEngine(RECORD, path, hashlib.sha256(CONTENT).hexdigest())


def test_an_engine_for_this_machine_is_read(stored: StoredEngine) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_stored(stored, TARGET, MODEL, HOST) == CONTENT
        assert read_stored(replace(stored, sha256=""), TARGET, MODEL, HOST) == CONTENT
    assert fits(RECORD, TARGET, None, HOST) == fits(RECORD, TARGET, SOURCE, HOST) == ""


FOREIGN = {
    "backend": ({"backend": "cuda-tensorrt"}, "an engine of cuda-tensorrt, not of cuda-tensorrtrtx"),
    "precision": ({"precision": "fp32"}, "computes in fp32, not in fp16"),
    "source": ({"source": "0" * 64}, rf"built from another ONNX file \(0{{16}}\) than this one \({SOURCE[:16]}\)"),
    "version": ({"version": "tensorrt-rtx 1.6.0.1"}, r"built by tensorrt-rtx 1\.6\.0\.1, and tensorrt-rtx 1\.7\.1"),
    "capability": ({"capabilities": ("8.6", "12.0")}, r"GPUs of compute capability 8\.6, 12\.0, and this one has 8\.9"),
    "near capability": ({"capabilities": ("18.9", "8.90")}, r"and this one has 8\.9"),
    "no capability": ({"capabilities": ()}, r"capability unknown, and this one has 8\.9"),
}


@pytest.mark.parametrize(("changes", "reason"), FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_engine_is_not_used_and_it_says_why(
    stored: StoredEngine, changes: dict[str, object], reason: str
) -> None:
    record = RECORD.model_copy(update=changes)
    with pytest.warns(FallbackWarning, match=rf"tensorrtrtx-fp16\.engine is not used: .*{reason}.*built here from the"):
        assert read_stored(replace(stored, record=record), TARGET, MODEL, HOST) is None


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        (EngineHost("", "8.9"), "no such engine is installed"),
        (EngineHost(HOST.version, ""), "capability 8.6, 8.9; there is none here"),
    ],
)
def test_a_machine_that_lacks_something_is_told_what(host: EngineHost, reason: str) -> None:
    assert reason in fits(RECORD, TARGET, SOURCE, host)


def test_any_damaged_byte_is_seen(stored: StoredEngine) -> None:
    for place in range(len(CONTENT)):
        damaged = bytearray(CONTENT)
        damaged[place] ^= 1
        stored.path.write_bytes(damaged)
        with pytest.warns(FallbackWarning, match="damaged: its SHA-256 begins with"):
            assert read_stored(stored, TARGET, MODEL, HOST) is None


def test_a_file_that_is_not_there_or_empty_is_told(stored: StoredEngine) -> None:
    stored.path.write_bytes(b"")
    with pytest.warns(FallbackWarning, match="its file is empty"):
        assert read_stored(stored, TARGET, MODEL, HOST) is None
    stored.path.unlink()
    with pytest.warns(FallbackWarning, match="cannot be read"):
        assert read_stored(stored, TARGET, MODEL, HOST) is None


def test_this_machine_is_asked_where_none_is_given() -> None:
    host = engine_host(TARGET)
    assert host.capability == cuda_status().capability
    assert host.version == "" or host.version.startswith("tensorrt-rtx")
    foreign = RECORD.model_copy(update={"version": "tensorrt-rtx 0.0.0"})
    assert fits(foreign, TARGET).startswith("it was built by tensorrt-rtx 0.0.0")


@pytest.mark.parametrize("slug", TARGETS)
def test_only_engines_that_can_be_stored_take_one(
    stored: StoredEngine, make_model: Callable[..., bytes], slug: str
) -> None:
    target = Target.parse(slug)
    if target.backend not in STORED_ENGINES:
        with pytest.raises(EngineError, match=rf"{target.backend} runs ONNX files and takes no stored engine"):
            open_engine(make_model(), target, stored)
    elif target.missing() is not None:
        with pytest.raises(TargetError, match=f"Target '{slug}' is not available here"):
            open_engine(make_model(), target, stored)
    else:
        with pytest.warns(FallbackWarning, match="is not used"):
            open_engine(make_model(), target, stored)

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from runtime.errors import BundleError
from runtime.manifest import SCHEMA_VERSIONS, Manifest, parse_manifest, read_schema_version
from runtime.records import Card, EngineRecord, LatencyRecord, QualityRecord, SpeedRecord, StepRecord, without_threads

LATENCY = LatencyRecord(
    target="cpu-onnxruntime-fp32-2t",
    device="Example CPU",
    height=512,
    width=512,
    predicted_ms=18.5,
    measured_ms=19.1,
    spread=0.02,
    budget_ms=20.0,
    engine_version="onnxruntime 1.31.1",
    date="2026-01-01",
)
QUALITY = QualityRecord(
    step="onnx-fp32", dataset="embedded", metric="psnr-y", degraded_db=22.0, restored_db=27.5, images=12
)

SPEED = SpeedRecord(
    target="cpu-openvino-int8-2t",
    device="Example CPU",
    engine_version="openvino 2026.4",
    batch=1,
    height=512,
    width=512,
    ms=8.5,
    spread=0.01,
    date="2026-01-01T00:00:00+00:00",
)
STEP = StepRecord(name="int8", status="dropped", why="it lost 0.5 dB", db_lost=0.5)
ENGINE = EngineRecord(
    file="rtx.engine",
    backend="cuda-tensorrtrtx",
    precision="fp32",
    source="0" * 64,
    version="tensorrt-rtx 1.7",
    capabilities=("8.6", "8.9"),
    smallest=(1, 8, 8),
    usual=(1, 512, 512),
    largest=(8, 512, 512),
)
CARD = Card(data="Leaves.", licence="Apache-2.0.", limits="Few.", command="millisight search")
FULL: dict[str, Any] = {
    "latency": [LATENCY], "quality": [QUALITY], "speed": [SPEED], "steps": [STEP], "engines": [ENGINE], "card": CARD,
}  # fmt: skip
LISTS = [name for name, value in FULL.items() if isinstance(value, list)]


def _content(make_manifest: Callable[..., Manifest], **changes: Any) -> dict[str, Any]:
    return {**json.loads(make_manifest(**FULL).to_json()), **changes}


def test_it_survives_json(make_manifest: Callable[..., Manifest]) -> None:
    manifest = make_manifest(**FULL, files={"model.onnx": "0" * 64, "rtx.engine": "1" * 64})
    assert parse_manifest(manifest.to_json(), "here") == manifest
    assert manifest.needed == ("model.onnx", "rtx.engine")


def test_a_step_that_was_not_kept_says_why() -> None:
    with pytest.raises(ValidationError, match="does not say why"):
        StepRecord(name="int8", status="dropped")


def _old(make_manifest: Callable[..., Manifest], **changes: Any) -> dict[str, Any]:
    """The text of a manifest of schema 1."""
    content = _content(make_manifest, schema_version=1, model_file="net.onnx")
    since_2 = ("models", "engines", "default_target", "default_reason", "speed", "steps", "card")
    return {key: value for key, value in content.items() if key not in since_2} | changes


@pytest.mark.parametrize(
    ("slug", "models", "default"),
    [
        ("cpu-onnxruntime-fp32-2t", {"fp32": "net.onnx"}, "cpu-onnxruntime-fp32"),
        ("cuda-tensorrt-fp16", {"fp16": "net.onnx"}, "cuda-tensorrt-fp16"),
    ],
)
def test_an_old_manifest_is_renewed(
    make_manifest: Callable[..., Manifest], slug: str, models: dict[str, str], default: str
) -> None:
    latency = LATENCY.model_dump(mode="json") | {"target": slug}
    text = json.dumps(_old(make_manifest, latency=[latency]))
    manifest = parse_manifest(text, "here")
    assert (manifest.schema_version, manifest.models, manifest.default_target) == (2, models, default)
    assert (read_schema_version(text, "here"), read_schema_version(manifest.to_json(), "here")) == (1, 2)
    assert (manifest.steps, manifest.card) == ([], None)


def test_an_old_manifest_without_timings_ran_on_the_processor(make_manifest: Callable[..., Manifest]) -> None:
    manifest = parse_manifest(json.dumps(_old(make_manifest, latency=[])), "here")
    assert (manifest.models, manifest.default_target) == ({"fp32": "net.onnx"}, "cpu-onnxruntime-fp32")


@pytest.mark.parametrize("latency", [5, [5], "fast", {"a": 1}])
def test_an_old_manifest_of_the_wrong_form_is_refused(make_manifest: Callable[..., Manifest], latency: object) -> None:
    with pytest.raises(BundleError, match="latency"):
        parse_manifest(json.dumps(_old(make_manifest, latency=latency)), "here")


def test_an_old_manifest_has_no_new_keys(make_manifest: Callable[..., Manifest]) -> None:
    with pytest.raises(BundleError, match=r"schema version 1, which had no steps: it was changed"):
        parse_manifest(json.dumps(_old(make_manifest, steps=[])), "here")
    with pytest.raises(BundleError, match=r"typo: Extra inputs"):
        parse_manifest(json.dumps(_old(make_manifest, typo=1)), "here")


def test_threads_are_no_part_of_a_kind() -> None:
    assert without_threads("cpu-openvino-int8-16t") == "cpu-openvino-int8"
    assert without_threads("cuda-tensorrt-fp16") == "cuda-tensorrt-fp16"


@pytest.mark.parametrize("version", [0, 3, 1.0, True, "1", None, [1]])
def test_another_schema_version_is_refused_with_those_that_are_read(
    make_manifest: Callable[..., Manifest], version: object
) -> None:
    # An unread version is named even if everything else is unknown as well.
    content = _content(make_manifest, schema_version=version, something_of_tomorrow=1)
    with pytest.raises(BundleError, match=r"^here has schema version .*; this release reads 1, 2\."):
        parse_manifest(json.dumps(content), "here")
    assert SCHEMA_VERSIONS == (1, 2)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"unknown": 1}, "unknown"),
        ({"task": "colorize"}, "task"),
        ({"scale": 2}, "size.scale is 1"),
        ({"input_range": "0..255"}, "input_range"),
        ({"color": "BGR"}, "color"),
        ({"receptive_field": 0}, "receptive_field"),
        ({"name": "../up"}, "name"),
        ({"models": {"fp32": "a/b.onnx"}}, "models"),
        ({"models": {"fp32": "other.onnx"}, "files": {"model.onnx": "0" * 64}}, "other.onnx"),
        ({"models": {"fp32": "model.onnx", "fp16": "model.onnx"}}, "two precisions share one file"),
        ({"models": {"fp8": "model.onnx"}}, "models"),
        ({"models": {}}, "models"),
        ({"model_file": "model.onnx"}, "model_file"),
        ({"default_target": "cpu-onnxruntime-fp32-2t"}, "default_target"),
        ({"default_target": "fast"}, "default_target"),
        ({"files": {"SHA256SUMS": "0" * 64}}, "cannot be listed"),
        ({"files": {"../../etc/passwd": "0" * 64}}, "files"),
        ({"files": {"manifest.json": "0" * 64}}, "cannot be listed"),
        ({"files": {"model.onnx": "abc"}}, "64 hexadecimal digits"),
        ({"parameters": -1}, "parameters"),
        ({"lineage": {}}, "lineage.genotype"),
    ],
)
def test_a_wrong_field_is_named(make_manifest: Callable[..., Manifest], changes: dict[str, Any], where: str) -> None:
    with pytest.raises(BundleError, match=where):
        parse_manifest(json.dumps(_content(make_manifest, **changes)), "here")


def test_unknown_keys_are_errors_at_every_depth(make_manifest: Callable[..., Manifest]) -> None:
    for path in (*([part] for part in ("size", "lineage", "card")), *([part, 0] for part in LISTS)):
        content = _content(make_manifest)
        part = content
        for key in path:
            part = part[key]  # type: ignore[index]
        part["typo"] = 1
        with pytest.raises(BundleError, match=r"typo: Extra inputs are not permitted"):
            parse_manifest(json.dumps(content), "here")


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"name": "web app"}', "[" * 100_000])
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(BundleError, match="here is not"):
        parse_manifest(text, "here")


def test_what_was_not_timed_has_no_milliseconds_and_survives_json(make_manifest: Callable[..., Manifest]) -> None:
    told = LATENCY.model_dump() | {"predicted_error_ms": 0.4}
    untimed = LatencyRecord.model_validate({k: v for k, v in told.items() if k not in ("measured_ms", "spread")})
    assert (untimed.measured_ms, untimed.spread) == (None, None)
    manifest = make_manifest(latency=[untimed])
    assert json.loads(manifest.to_json())["latency"][0]["measured_ms"] is None
    assert parse_manifest(manifest.to_json(), "here") == manifest
    # A record from before errors were written down.
    assert LATENCY.predicted_error_ms is None


@pytest.mark.parametrize("half", [{"measured_ms": None}, {"spread": None}])
def test_a_spread_belongs_to_a_measurement(half: dict[str, None]) -> None:
    with pytest.raises(ValidationError, match="give both, or neither"):
        LatencyRecord.model_validate(LATENCY.model_dump() | half)


def test_numbers_have_to_be_finite() -> None:
    with pytest.raises(ValidationError):
        QualityRecord.model_validate({**QUALITY.model_dump(), "restored_db": float("inf")})

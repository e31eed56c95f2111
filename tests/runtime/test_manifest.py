import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from runtime.errors import BundleError
from runtime.manifest import SCHEMA_VERSIONS, LatencyRecord, Manifest, QualityRecord, parse_manifest

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


def _content(make_manifest: Callable[..., Manifest], **changes: Any) -> dict[str, Any]:
    return {**json.loads(make_manifest(latency=[LATENCY], quality=[QUALITY]).to_json()), **changes}


def test_it_survives_json(make_manifest: Callable[..., Manifest]) -> None:
    manifest = make_manifest(latency=[LATENCY], quality=[QUALITY], files={"model.onnx": "0" * 64})
    assert parse_manifest(manifest.to_json(), "here") == manifest


@pytest.mark.parametrize("version", [0, 2, "1", None, [1]])
def test_another_schema_version_is_refused_with_those_that_are_read(
    make_manifest: Callable[..., Manifest], version: object
) -> None:
    # An unread version is named even if everything else is unknown as well.
    content = _content(make_manifest, schema_version=version, something_of_tomorrow=1)
    with pytest.raises(BundleError, match=r"^here has schema version .*; this release reads 1\."):
        parse_manifest(json.dumps(content), "here")
    assert SCHEMA_VERSIONS == (1,)


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
        ({"model_file": "a/b.onnx"}, "model_file"),
        ({"model_file": "other.onnx", "files": {"model.onnx": "0" * 64}}, "other.onnx"),
        ({"files": {"../../etc/passwd": "0" * 64}}, "files"),
        ({"files": {"manifest.json": "0" * 64}}, "cannot list itself"),
        ({"files": {"model.onnx": "abc"}}, "64 hexadecimal digits"),
        ({"parameters": -1}, "parameters"),
        ({"lineage": {}}, "lineage.genotype"),
    ],
)
def test_a_wrong_field_is_named(make_manifest: Callable[..., Manifest], changes: dict[str, Any], where: str) -> None:
    with pytest.raises(BundleError, match=where):
        parse_manifest(json.dumps(_content(make_manifest, **changes)), "here")


def test_unknown_keys_are_errors_at_every_depth(make_manifest: Callable[..., Manifest]) -> None:
    for path in (["size"], ["lineage"], ["latency", 0], ["quality", 0]):
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

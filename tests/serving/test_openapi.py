from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.openapi.models import OpenAPI

from runtime import LatencyRecord
from serving.errors import RequestError
from serving.openapi import PATHS, openapi_document
from serving.settings import Settings

DOCUMENT = openapi_document(Settings())


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for child in value.values():
            yield from nodes(child)
    elif isinstance(value, list):
        for child in value:
            yield from nodes(child)


def test_it_is_a_valid_document() -> None:
    parsed = OpenAPI.model_validate(json.loads(json.dumps(DOCUMENT)))
    assert parsed.paths is not None
    assert set(parsed.paths) == set(PATHS)


def test_every_reference_leads_somewhere() -> None:
    references = {node["$ref"] for node in nodes(DOCUMENT) if "$ref" in node}
    assert references
    for reference in references:
        target: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]


def test_operation_ids_are_unique() -> None:
    operations = sum(len(methods) for methods in DOCUMENT["paths"].values())
    ids = [node["operationId"] for node in nodes(DOCUMENT) if "operationId" in node]
    assert len(ids) == len(set(ids)) == operations


def test_only_super_resolution_has_a_scale() -> None:
    for path in PATHS[:3]:
        names = {parameter["name"] for parameter in DOCUMENT["paths"][path]["post"]["parameters"]}
        assert ("scale" in names) == path.endswith("super-resolution")


def test_every_refusal_a_client_can_see_is_documented() -> None:
    def kinds(base: type[RequestError]) -> Iterator[type[RequestError]]:
        for child in base.__subclasses__():
            yield child
            yield from kinds(child)

    documented: dict[str, set[str]] = {}
    for node in nodes(DOCUMENT["paths"]):
        for status, answer in node.get("responses", {}).items():
            documented.setdefault(status, set()).update(re.findall(r"[a-z_]+", answer["description"]))
    # 499 is never received; the others are bases, or answers to paths that are not in the document.
    unseen = {"client_gone", "bad_request", "not_found"}
    for kind in kinds(RequestError):
        if kind.code not in unseen:
            assert kind.code in documented[str(kind.status)], kind
        else:
            assert kind.code not in documented.get(str(kind.status), set())


@pytest.mark.parametrize(
    ("path", "method", "status", "code"),
    [
        ("/v1/derain", "post", "503", "deadline_unattainable"),
        ("/v1/derain", "post", "429", "queue_full"),
        ("/v1/derain", "post", "401", "missing_key"),
        ("/v1/models/reload", "post", "403", "not_allowed"),
        ("/v1/jobs/{id}", "get", "410", "job_gone"),
        ("/v1/jobs", "post", "422", "bad_value"),
    ],
)
def test_a_refusal_stands_where_it_is_given(path: str, method: str, status: str, code: str) -> None:
    assert code in DOCUMENT["paths"][path][method]["responses"][status]["description"]
    assert "job_gone" not in str(DOCUMENT["paths"]["/v1/derain"])


def test_keys_are_asked_for_where_there_is_a_key_file() -> None:
    assert "securitySchemes" not in DOCUMENT["components"]
    guarded = openapi_document(Settings(api_keys=Path("keys.json")))
    for path in PATHS:
        for operation in guarded["paths"][path].values():
            assert ("security" in operation) == path.startswith("/v1/")


def test_a_latency_record_is_described_as_it_is_sent() -> None:
    described = DOCUMENT["components"]["schemas"]["Latency"]
    assert list(described["properties"]) == list(LatencyRecord.model_fields)
    # What is null where a network was not timed says so.
    nullable = {name for name, node in described["properties"].items() if "null" in node["type"]}
    assert nullable == {"predicted_error_ms", "measured_ms", "spread"}
    assert set(described["required"]) >= LatencyRecord.model_fields.keys() - nullable


def test_the_limits_are_the_servers() -> None:
    small = openapi_document(Settings(max_pixels=1234))
    assert "1234 pixels in" in small["paths"]["/v1/derain"]["post"]["description"]

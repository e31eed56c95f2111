from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

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
    ids = [node["operationId"] for node in nodes(DOCUMENT) if "operationId" in node]
    assert len(ids) == len(set(ids)) == len(PATHS)


def test_only_super_resolution_has_a_scale() -> None:
    for path in PATHS[:3]:
        names = {parameter["name"] for parameter in DOCUMENT["paths"][path]["post"]["parameters"]}
        assert ("scale" in names) == path.endswith("super-resolution")


def test_every_refusal_a_client_can_see_is_documented() -> None:
    def codes(base: type[RequestError]) -> Iterator[tuple[str, str]]:
        for child in base.__subclasses__():
            yield str(child.status), child.code
            yield from codes(child)

    responses = DOCUMENT["paths"]["/v1/derain"]["post"]["responses"]
    # 499 is never received; the others are base classes or belong to other paths.
    unseen = {("499", "client_gone"), ("400", "bad_request"), ("404", "not_found")}
    for status, code in set(codes(RequestError)) - unseen:
        assert code in responses[status]["description"]


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

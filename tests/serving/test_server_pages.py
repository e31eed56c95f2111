"""The real server: health, docs, models, metrics."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.openapi import PATHS


def samples(client: httpx.Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples of /metrics by name and labels."""
    text = client.get("/metrics").text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(client: httpx.Client, name: str, **labels: str) -> float:
    return samples(client).get((name, tuple(sorted(labels.items()))), 0.0)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
def test_a_warm_server_is_alive_and_ready(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 200


def test_the_docs_are_ours_and_every_documented_path_answers(client: httpx.Client) -> None:
    response = client.get("/docs.json")
    assert response.headers["Content-Type"] == "application/json"
    document = response.json()
    assert document["info"]["title"] == "millisight"
    assert set(document["paths"]) == set(PATHS)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            asked = path.replace("{name}", "sr-x2").replace("{index}", "0")
            response = client.request(method, asked)
            assert response.status_code != 405, path
            assert str(response.status_code) in operation["responses"], (path, response.text)


def test_the_root_links_to_pages_that_exist(client: httpx.Client) -> None:
    root = client.get("/").json()
    assert root["name"] == "millisight"
    assert all(client.get(link).status_code == 200 for link in root["links"].values())


def test_models_are_listed_in_order_of_choice(client: httpx.Client, bundle_roots: tuple[Path, Path]) -> None:
    response = client.get("/v1/models")
    models = response.json()["models"]
    assert [(model["name"], model["default"]) for model in models] == [
        ("denoise-half", True),
        ("denoise-same", False),
        ("derain-same", True),
        ("sr-x2", True),
        ("sr-x4", True),
    ]
    assert not any(str(root) in response.text for root in bundle_roots)


def test_requests_and_stages_are_counted(client: httpx.Client, png: bytes) -> None:
    served = {"task": "derain", "model": "derain-same"}
    before = samples(client)
    for _ in range(3):
        client.post("/v1/derain", files={"image": png})
    client.post("/v1/derain", files={"image": b"junk"})
    client.post("/v1/derain?model=nobody-at-all", files={"image": png})
    after = samples(client)

    def grown(name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return after[key] - before.get(key, 0.0)

    assert grown("restore_requests_total", code="200", **served) == 3
    # No model was chosen for what is no picture.
    assert grown("restore_requests_total", code="415", task="derain", model="none") == 1
    assert grown("restore_requests_total", code="404", task="derain", model="none") == 1
    assert grown("restore_rejected_total", reason="media_type") == 1
    assert grown("restore_request_duration_seconds_count", **served) == 3
    for stage in ("read", "queue", "decode", "inference", "encode"):
        assert grown("restore_stage_duration_seconds_count", stage=stage, backend="onnxruntime", **served) == 3
    for name in ("predicted", "served"):
        count = f"restore_{name}_duration_seconds_count"
        assert grown(count, target="cpu-onnxruntime-fp32-1t", **served) == 3
    assert grown("restore_tiles_total", **served) == 3
    assert grown("restore_input_megapixels_count", task="derain") == 3
    assert grown("restore_output_megapixels_sum", task="derain") == pytest.approx(3 * 37 * 53 / 1e6)
    assert grown("restore_megapixels_processed_total", **served) == pytest.approx(3 * 37 * 53 / 1e6)
    assert after["restore_requests_in_flight", ()] == 0
    assert "nobody-at-all" not in client.get("/metrics").text


def test_loaded_models_are_shown(client: httpx.Client) -> None:
    infos = [(name, dict(labels)) for name, labels in samples(client) if name == "restore_model_info"]
    assert {labels["model"] for _, labels in infos} == {
        "derain-same", "denoise-half", "denoise-same", "sr-x2", "sr-x4",
    }  # fmt: skip
    assert all(re.fullmatch("[0-9a-f]{64}", labels["sha256"]) for _, labels in infos)
    assert value(client, "restore_model_load_seconds", task="derain", model="derain-same") > 0


def test_paths_nobody_knows_add_no_series(client: httpx.Client) -> None:
    def visit(word: str) -> None:
        client.get(f"/scan/{word}.php")
        client.post(f"/v1/task{word}", content=b"x")
        client.get("/v1/derain", headers={"X-Request-Id": word})

    visit("first")
    client.get("/metrics")  # counts itself
    before = set(samples(client))
    for number in range(50):
        visit(f"another{number}")
    assert set(samples(client)) == before


def test_every_series_has_our_prefix(client: httpx.Client) -> None:
    assert all(name.startswith(("restore_", "process_")) for name, _ in samples(client))

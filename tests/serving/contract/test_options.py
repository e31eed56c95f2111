"""Rows 40, 41 and 42: options that exist, with values in range, and models that are loaded."""

from __future__ import annotations

import httpx
import numpy as np
import pytest

from tests.serving.contract.pictures import noise, saved
from tests.serving.contract.wire import check_refused, opened, send_form, send_raw

PIXELS = noise(40, 30, 3)
PNG = saved(PIXELS)


@pytest.mark.core
@pytest.mark.row(40)
@pytest.mark.parametrize(
    "query", ["strength=1", "tile=64", "scale=2", "Model=x", "model=a&model=b", "callback=", "=1", "image=http://x"]
)
def test_40_an_unknown_option_is_a_400_that_names_it(client: httpx.Client, query: str) -> None:
    message = check_refused(send_form(client, f"/v1/derain?{query}", PNG), 400, "unknown_option")
    assert repr(query.partition("=")[0]) in message


@pytest.mark.row(40)
def test_40_an_unknown_field_of_the_form_is_a_400_that_names_it(client: httpx.Client) -> None:
    response = client.post("/v1/derain", data={"strength": "3"}, files={"image": PNG})
    assert response.status_code == 400
    assert "strength" in response.json()["error"]["message"]


@pytest.mark.row(41)
@pytest.mark.parametrize("scale", ["3", "0", "-1", "two", "2.0", "", "1e9", "2\n", "٢"])
def test_41_a_scale_out_of_range_is_a_422_that_names_it(client: httpx.Client, scale: str) -> None:
    response = client.post("/v1/super-resolution", params={"scale": scale}, files={"image": PNG})
    message = check_refused(response, 422, "bad_value")
    assert "'scale'" in message
    assert "2, 4" in message


@pytest.mark.row(41)
@pytest.mark.parametrize("value", ["gif", "PNG", "", "image/png", "png "])
def test_41_a_format_that_is_not_written_is_a_422_that_names_it(client: httpx.Client, value: str) -> None:
    response = client.post("/v1/derain", params={"format": value}, files={"image": PNG})
    message = check_refused(response, 422, "bad_value")
    assert "'format'" in message
    assert all(name in message for name in ("png", "jpeg", "webp", "tiff"))


@pytest.mark.row(41)
@pytest.mark.parametrize("value", ["0", "101", "-1", "best", "", "50.5", "1_0", "٥"])
def test_41_a_quality_out_of_range_is_a_422_that_names_it(client: httpx.Client, value: str) -> None:
    response = client.post("/v1/derain", params={"quality": value, "format": "jpeg"}, files={"image": PNG})
    message = check_refused(response, 422, "bad_value")
    assert "'quality'" in message
    assert "1 to 100" in message


@pytest.mark.row(41)
def test_41_a_metadata_choice_that_does_not_exist_is_a_422(client: httpx.Client) -> None:
    message = check_refused(send_form(client, "/v1/derain?metadata=some", PNG), 422, "bad_value")
    assert "'metadata'" in message


@pytest.mark.row(41)
@pytest.mark.parametrize("value", ["0", "-5", "soon", "", "3600001", "1.5", "1e3"])
def test_41_a_deadline_out_of_range_is_a_422_that_names_it(client: httpx.Client, value: str) -> None:
    message = check_refused(send_form(client, "/v1/derain", PNG, **{"X-Deadline-Ms": value}), 422, "bad_value")
    assert "X-Deadline-Ms" in message


@pytest.mark.row(41)
@pytest.mark.parametrize("file_format", ["jpeg", "webp"])
def test_41_a_quality_in_range_is_followed(client: httpx.Client, file_format: str) -> None:
    sizes = []
    for quality in (5, 50, 95):
        response = send_form(client, f"/v1/derain?format={file_format}&quality={quality}", PNG)
        assert opened(response).size == (30, 40)
        sizes.append(len(response.content))
    assert sizes == sorted(set(sizes)), "more quality, more bytes"


@pytest.mark.core
@pytest.mark.row(42)
@pytest.mark.parametrize(
    "route",
    [
        "/v1/derain?model=nobody",
        "/v1/derain?model=sr-x2",
        "/v1/super-resolution?scale=4&model=sr-x2",
        "/v1/derain?model=%00",
        "/v1/derain?model=..%2F..%2Fetc",
        f"/v1/derain?model={'x' * 4000}",
    ],
)
def test_42_an_unknown_model_is_a_404_with_the_list(client: httpx.Client, route: str) -> None:
    message = check_refused(send_raw(client, route, PNG), 404, "model_not_found")
    assert "sr-x2" in message
    assert len(message) < 1000


@pytest.mark.row(42)
def test_42_an_unknown_task_is_a_404_with_the_list(client: httpx.Client) -> None:
    message = check_refused(send_raw(client, "/v1/dehaze", PNG), 404, "not_found")
    assert all(f"/v1/{task}" in message for task in ("derain", "denoise", "super-resolution"))


@pytest.mark.row(42)
def test_42_a_refused_option_leaves_the_connection_usable(client: httpx.Client) -> None:
    for _ in range(3):
        assert send_form(client, "/v1/derain?nope=1", PNG).status_code == 400
        np.testing.assert_array_equal(np.asarray(opened(send_form(client, "/v1/derain", PNG))), PIXELS)

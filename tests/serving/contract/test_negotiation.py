"""Row 43: the format of the answer, by `Accept` and by the option `format`."""

from __future__ import annotations

import re

import httpx
import numpy as np
import pytest

from tests.serving.contract.pictures import noise, saved
from tests.serving.contract.wire import check_refused, opened, send_form

PIXELS = noise(40, 30, 3)
PNG = saved(PIXELS)


@pytest.mark.core
@pytest.mark.row(43)
@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("image/png", "PNG"),
        ("image/webp", "WEBP"),
        ("image/jpeg", "JPEG"),
        ("*/*", "PNG"),
        ("image/*", "PNG"),
        ("", "PNG"),
        ("image/webp;q=0.3,image/jpeg;q=0.4", "JPEG"),
        ("text/html,application/xhtml+xml,image/webp,*/*;q=0.8", "WEBP"),
        ("image/png;q=0,image/*;q=0.1", "WEBP"),
    ],
)
def test_43_accept_decides_the_format(client: httpx.Client, accept: str, expected: str) -> None:
    response = send_form(client, "/v1/derain", PNG, Accept=accept)
    result = opened(response)
    assert result.format == expected
    if expected != "JPEG":
        np.testing.assert_array_equal(np.asarray(result), PIXELS)
    assert response.headers["Content-Type"] == f"image/{expected.lower()}"
    assert "Accept" in response.headers["Vary"]


@pytest.mark.core
@pytest.mark.row(43)
@pytest.mark.parametrize("accept", ["text/html", "image/avif", "image/png;q=0", "application/json", "*/*;q=0"])
def test_43_an_accept_without_our_formats_is_a_406(client: httpx.Client, accept: str) -> None:
    check_refused(send_form(client, "/v1/derain", PNG, Accept=accept), 406, "not_acceptable")


@pytest.mark.row(43)
@pytest.mark.parametrize("file_format", ["png", "jpeg", "webp", "tiff"])
@pytest.mark.parametrize("accept", ["*/*", "image/png", "image/webp", "text/html"])
def test_43_the_option_wins_over_accept(client: httpx.Client, file_format: str, accept: str) -> None:
    response = send_form(client, f"/v1/derain?format={file_format}", PNG, Accept=accept)
    assert opened(response).format == file_format.upper()
    assert response.headers["Content-Type"] == f"image/{file_format}"


@pytest.mark.row(43)
def test_43_tiff_is_written_where_accept_asks_for_it(client: httpx.Client) -> None:
    response = send_form(client, "/v1/derain", PNG, Accept="image/tiff")
    np.testing.assert_array_equal(np.asarray(opened(response)), PIXELS)
    assert response.headers["Content-Type"] == "image/tiff"


STAGES = {"read", "queue", "decode", "inference", "encode"}


def stages_of(response: httpx.Response) -> dict[str, float]:
    entries = re.findall(r"([a-z]+);dur=([0-9.]+)", response.headers["Server-Timing"])
    return {name: float(milliseconds) for name, milliseconds in entries}


@pytest.mark.row(1)
def test_01_the_stages_are_timed_in_a_header(client: httpx.Client) -> None:
    stages = stages_of(send_form(client, "/v1/derain", PNG))
    assert set(stages) >= STAGES
    assert all(milliseconds >= 0 for milliseconds in stages.values())


@pytest.mark.row(1)
def test_01_what_was_predicted_and_where_it_ran_is_said(client: httpx.Client) -> None:
    response = send_form(client, "/v1/derain", PNG)
    assert set(stages_of(response)) == STAGES | {"predicted"}
    assert response.headers["X-Target"] == "cpu-onnxruntime-fp32-1t"

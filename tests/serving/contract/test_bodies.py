"""Rows 1 to 12 and 53: how a picture may be sent, and how not."""

from __future__ import annotations

import zlib

import httpx
import numpy as np
import pytest

from tests.serving.contract.pictures import noise, saved
from tests.serving.contract.wire import END, FORM, check_refused, opened, part, send_form, send_raw

PIXELS = noise(37, 53, 3)
PNG = saved(PIXELS)
URL = b"http://127.0.0.1:9/picture.png"

TASKS = [
    ("/v1/derain", "derain-same", 1, 1.0),
    ("/v1/denoise", "denoise-half", 1, 0.5),
    ("/v1/denoise?model=denoise-same", "denoise-same", 1, 1.0),
    ("/v1/super-resolution", "sr-x2", 2, 1.0),
    ("/v1/super-resolution?scale=2", "sr-x2", 2, 1.0),
    ("/v1/super-resolution?scale=4", "sr-x4", 4, 1.0),
    ("/v1/super-resolution?model=sr-x4", "sr-x4", 4, 1.0),
]


@pytest.mark.core
@pytest.mark.row(1, 2)
@pytest.mark.parametrize(("route", "model", "scale", "gain"), TASKS, ids=[task[0] for task in TASKS])
def test_01_02_a_png_is_restored_the_same_in_a_form_and_raw(
    client: httpx.Client, route: str, model: str, scale: int, gain: float
) -> None:
    by_form, raw = send_form(client, route, PNG), send_raw(client, route, PNG)
    expected = np.floor(PIXELS.repeat(scale, 0).repeat(scale, 1) * gain + 0.5)
    for response in (by_form, raw):
        restored = opened(response)
        assert (restored.format, restored.mode) == ("PNG", "RGB")
        np.testing.assert_allclose(np.asarray(restored).astype(float), expected, atol=1 if gain != 1 else 0)
        assert response.headers["Content-Type"] == "image/png"
        assert response.headers["X-Model"] == model
    assert by_form.content == raw.content


@pytest.mark.row(3)
@pytest.mark.parametrize("declared", ["application/octet-stream", "image/png", "image/x-anything", "IMAGE/PNG; a=b"])
def test_03_a_raw_body_may_be_declared_loosely(client: httpx.Client, declared: str) -> None:
    response = client.post("/v1/derain", content=saved(PIXELS, "JPEG"), headers={"Content-Type": declared})
    assert opened(response).size == (53, 37)


@pytest.mark.row(4)
@pytest.mark.parametrize(
    ("stored", "declared"),
    [
        ("JPEG", "image/png"),
        ("PNG", "image/jpeg"),
        ("JPEG", "image/jpg"),
        ("PNG", "image/svg+xml"),
        ("PNG", "text/plain"),
    ],
)
def test_04_the_bytes_decide_not_the_declared_type(client: httpx.Client, stored: str, declared: str) -> None:
    response = client.post("/v1/derain", files={"image": ("x.bin", saved(PIXELS, stored), declared)})
    assert opened(response).size == (53, 37)


@pytest.mark.core
@pytest.mark.row(5)
@pytest.mark.parametrize("content_type", ["image/png", "application/octet-stream"])
def test_05_an_empty_raw_body_is_a_400(client: httpx.Client, content_type: str) -> None:
    check_refused(client.post("/v1/derain", content=b"", headers={"Content-Type": content_type}), 400, "empty")


NOTHING = {
    "empty file": (part("image", b"") + END, "empty"),
    "no part at all": (END, "missing_image"),
    "another part name": (part("picture", PNG) + END, "missing_image"),
    "part without a name": (b"--XX\r\nContent-Type: image/png\r\n\r\n" + PNG + b"\r\n" + END, "missing_image"),
}


@pytest.mark.row(5, 6)
@pytest.mark.parametrize("case", NOTHING)
def test_05_06_a_form_without_a_picture_is_a_400(client: httpx.Client, case: str) -> None:
    body, code = NOTHING[case]
    check_refused(client.post("/v1/derain", content=body, headers={"Content-Type": FORM}), 400, code)


TEXTS = {
    "text": part("image", b"hello", None, None),
    "address": part("image", URL, None, None),
    "address as a typed text": part("image", URL, None, "text/plain"),
}


@pytest.mark.core
@pytest.mark.row(7)
@pytest.mark.parametrize("case", TEXTS)
def test_07_a_text_instead_of_a_file_is_a_400(client: httpx.Client, case: str) -> None:
    """That no address is followed is proven in tests/serving/hostile/test_no_way_out.py."""
    response = client.post("/v1/derain", content=TEXTS[case] + END, headers={"Content-Type": FORM})
    check_refused(response, 400, "not_a_file")


@pytest.mark.core
@pytest.mark.row(8)
def test_08_an_address_instead_of_a_picture_is_a_415(client: httpx.Client) -> None:
    check_refused(client.post("/v1/derain", content=URL), 415, "unsupported_media_type")
    check_refused(send_raw(client, "/v1/derain", URL), 415, "not_an_image")
    check_refused(send_form(client, "/v1/derain", URL), 415, "not_an_image")


TOO_MUCH = {
    "two pictures": part("image", PNG) + part("image", PNG),
    "an extra field": part("image", PNG) + part("strength", b"2", None, None),
    "a hundred parts": part("image", PNG) * 100,
}


@pytest.mark.row(9)
@pytest.mark.parametrize("case", TOO_MUCH)
def test_09_more_than_one_part_is_a_400(client: httpx.Client, case: str) -> None:
    response = client.post("/v1/derain", content=TOO_MUCH[case] + END, headers={"Content-Type": FORM})
    check_refused(response, 400, "unexpected_part")


BROKEN = {
    "empty body": b"",
    "cut in the middle": part("image", PNG)[: len(PNG) // 2],
    "cut before the closing boundary": part("image", PNG),
    "not a form": b"hello" * 100,
    "endless part header": b"--XX\r\nA: " + b"x" * 100_000,
    "many part headers": b"--XX\r\n" + b"A: b\r\n" * 1000 + b"\r\n" + END,
}


@pytest.mark.row(10)
@pytest.mark.parametrize("case", BROKEN)
def test_10_a_broken_form_is_a_400(client: httpx.Client, case: str) -> None:
    response = client.post("/v1/derain", content=BROKEN[case], headers={"Content-Type": FORM})
    check_refused(response, 400, "broken_form")


@pytest.mark.row(10)
@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=", f"{FORM}{'X' * 300}"]
)
def test_10_a_form_without_usable_boundary_is_a_400(client: httpx.Client, content_type: str) -> None:
    response = client.post("/v1/derain", content=part("image", PNG) + END, headers={"Content-Type": content_type})
    check_refused(response, 400, "broken_form")


@pytest.mark.core
@pytest.mark.row(11, 12)
@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "text/plain",
        "",
        "application/vnd.bentoml+pickle",
        "application/x-pickle",
        "application/x-www-form-urlencoded",
        "multipart/mixed; boundary=XX",
        "\xff\xfe",
    ],
)
def test_11_12_a_body_that_does_not_claim_to_be_a_picture_is_a_415(client: httpx.Client, content_type: str) -> None:
    headers = {"Content-Type": content_type.encode("latin-1")} if content_type else {}
    check_refused(client.post("/v1/derain", content=PNG, headers=headers), 415, "unsupported_media_type")


@pytest.mark.row(11)
def test_11_a_packed_body_is_a_415(client: httpx.Client) -> None:
    response = send_raw(client, "/v1/derain", zlib.compress(PNG), **{"Content-Encoding": "gzip"})
    check_refused(response, 415, "unsupported_media_type")


@pytest.mark.row(53)
@pytest.mark.parametrize("name", ["../../../etc/passwd", "a\x00b.png", "x" * 8192, "", "日本.png", 'quo"te.png'])
def test_53_the_file_name_is_ignored(client: httpx.Client, name: str) -> None:
    quoted = name.encode().replace(b'"', b'\\"')
    body = b'--XX\r\nContent-Disposition: form-data; name="image"; filename="' + quoted + b'"\r\n\r\n'
    response = client.post("/v1/derain", content=body + PNG + b"\r\n" + END, headers={"Content-Type": FORM})
    assert opened(response).size == (53, 37)
    assert "passwd" not in str(response.headers)

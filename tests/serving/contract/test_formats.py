"""Rows 13 to 16 and 39: which files are pictures, and which of them are read."""

from __future__ import annotations

import io
import zipfile

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.serving.contract.pictures import header_only_png, noise, saved
from tests.serving.contract.wire import check_refused, opened, send_form, send_raw, shown

PIXELS = noise(40, 30, 3)
OTHER = Image.fromarray(noise(40, 30, 3, seed=4))


def refused_both_ways(client: httpx.Client, data: bytes, statuses: tuple[int, ...], code: str | None = None) -> str:
    """A refusal is the same in a form and raw; returns the message."""
    by_form, raw = send_form(client, "/v1/derain", data), send_raw(client, "/v1/derain", data)
    assert by_form.status_code in statuses, shown(by_form)
    code = code or by_form.json()["error"]["code"]
    check_refused(raw, by_form.status_code, code)
    return check_refused(by_form, by_form.status_code, code)


@pytest.mark.row(1)
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_01_every_allowed_format_is_read(client: httpx.Client, file_format: str) -> None:
    data = saved(PIXELS, file_format, **({"lossless": True} if file_format == "WEBP" else {}))
    restored = np.asarray(opened(send_form(client, "/v1/derain", data)).convert("RGB"))
    np.testing.assert_array_equal(restored, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("picture.png", saved(PIXELS))
    return buffer.getvalue()


NO_PICTURES = {
    "random bytes": np.random.default_rng(5).bytes(3000),
    "html": b"<html><body><img src='x.png'></body></html>",
    "zip": zipped(),
    "json": b'{"image": "http://127.0.0.1/"}',
    "text": b"BM, said the bitmap.",
}


@pytest.mark.core
@pytest.mark.row(13)
@pytest.mark.parametrize("case", NO_PICTURES)
def test_13_what_is_no_picture_is_a_415(client: httpx.Client, case: str) -> None:
    refused_both_ways(client, NO_PICTURES[case], (415,), "not_an_image")


REFUSED_FORMATS = {
    "PDF": b"%PDF-1.7\n1 0 obj<<>>endobj\n",
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
    "PSD": b"8BPS\0\1" + b"\0" * 200,
    "FITS": b"SIMPLE  =                    T" + b" " * 3000,
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
    "ICO": saved(PIXELS, "ICO"),
    "PPM": b"P6 2 2 255\n" + b"\1" * 12,
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 100,
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0" * 100,
    "AVIF": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + b"\0" * 100,
}


@pytest.mark.row(14, 15)
@pytest.mark.parametrize("name", REFUSED_FORMATS)
def test_14_15_a_format_that_is_not_read_is_a_415_that_names_it(client: httpx.Client, name: str) -> None:
    assert name in refused_both_ways(client, REFUSED_FORMATS[name], (415,), "unsupported_format")


@pytest.mark.row(14)
@pytest.mark.parametrize("file_format", ["PCX", "TGA", "SGI", "DDS", "XBM", "IM", "SPIDER", "MSP", "DIB", "PPM"])
def test_14_whatever_else_pillow_reads_is_a_415(client: httpx.Client, file_format: str) -> None:
    mode = {"XBM": "1", "MSP": "1", "SPIDER": "F"}.get(file_format, "RGB")
    data = saved(Image.fromarray(noise(16, 16, 3)).convert(mode), file_format)
    refused_both_ways(client, data, (415,))


@pytest.mark.row(16)
@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n", b"\x89", b"\0", header_only_png(0, 0), header_only_png(0, 5)])
def test_16_a_stump_is_a_415_or_422(client: httpx.Client, data: bytes) -> None:
    refused_both_ways(client, data, (415, 422))


MANY = {"save_all": True, "append_images": [OTHER]}


@pytest.mark.row(39)
@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_39_several_pictures_in_one_file_are_a_422(client: httpx.Client, file_format: str) -> None:
    refused_both_ways(client, saved(PIXELS, file_format, **MANY), (422,), "animated")


@pytest.mark.row(39)
@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_39_one_picture_that_could_have_been_several_is_restored(client: httpx.Client, file_format: str) -> None:
    data = saved(PIXELS, file_format, save_all=True)
    assert opened(send_form(client, "/v1/derain", data)).size == (30, 40)

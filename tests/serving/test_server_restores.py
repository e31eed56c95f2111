"""The real server, pictures it must accept: every answer is compared with the pixels the known networks give."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def opened(response: httpx.Response) -> Image.Image:
    assert response.status_code == 200, response.text
    return Image.open(io.BytesIO(response.content))


def as_part(data: bytes, name: str = "picture.png", part_type: str = "image/png") -> dict[str, tuple[str, bytes, str]]:
    return {"image": (name, data, part_type)}


@pytest.mark.parametrize(
    ("route", "model", "scale", "gain"),
    [
        ("/v1/derain", "derain-same", 1, 1.0),
        ("/v1/denoise", "denoise-half", 1, 0.5),
        ("/v1/denoise?model=denoise-same", "denoise-same", 1, 1.0),
        ("/v1/super-resolution", "sr-x2", 2, 1.0),
        ("/v1/super-resolution?scale=2", "sr-x2", 2, 1.0),
        ("/v1/super-resolution?scale=4", "sr-x4", 4, 1.0),
        ("/v1/super-resolution?model=sr-x4", "sr-x4", 4, 1.0),
    ],
)
def test_every_task_answers_with_its_own_network(
    client: httpx.Client, pixels: Pixels, png: bytes, route: str, model: str, scale: int, gain: float
) -> None:
    by_form = client.post(route, files=as_part(png))
    raw = client.post(route, content=png, headers={"Content-Type": "image/png"})
    expected = np.floor(pixels.repeat(scale, 0).repeat(scale, 1) * gain + 0.5)
    for response in (by_form, raw):
        restored = opened(response)
        assert (restored.format, restored.mode) == ("PNG", "RGB")
        np.testing.assert_allclose(np.asarray(restored).astype(float), expected, atol=1 if gain != 1 else 0)
        assert response.headers["Content-Type"] == "image/png"
        assert response.headers["X-Model"] == model
        assert re.fullmatch(r"[0-9a-f]{32}", response.headers["X-Request-Id"])
    assert by_form.content == raw.content


def test_the_stages_are_timed_in_a_header(client: httpx.Client, png: bytes) -> None:
    timing = client.post("/v1/derain", files=as_part(png)).headers["Server-Timing"]
    entries = dict(re.findall(r"([a-z]+);dur=([0-9.]+)", timing))
    assert set(entries) == {"read", "queue", "decode", "inference", "encode"}
    assert all(float(value) >= 0 for value in entries.values())


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("image/png", "PNG"),
        ("image/webp", "WEBP"),
        ("image/jpeg", "JPEG"),
        ("*/*", "PNG"),
        ("image/webp;q=0.3,image/jpeg;q=0.4", "JPEG"),
    ],
)
def test_accept_decides_the_format(client: httpx.Client, png: bytes, accept: str, expected: str) -> None:
    response = client.post("/v1/derain", files=as_part(png), headers={"Accept": accept})
    assert opened(response).format == expected
    assert response.headers["Content-Type"] == f"image/{expected.lower()}"
    assert response.headers["Vary"] == "Accept"


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
def test_the_bytes_decide_not_the_declared_part_type(
    client: httpx.Client, pixels: Pixels, pack: Callable[..., bytes], stored: str, declared: str
) -> None:
    response = client.post("/v1/derain", files=as_part(pack(pixels, stored), "x.bin", declared))
    assert opened(response).size == (53, 37)


@pytest.mark.parametrize("declared", ["application/octet-stream", "image/png", "image/x-anything", "IMAGE/PNG; a=b"])
def test_a_raw_body_may_be_declared_loosely(
    client: httpx.Client, pixels: Pixels, pack: Callable[..., bytes], declared: str
) -> None:
    response = client.post("/v1/derain", content=pack(pixels, "JPEG"), headers={"Content-Type": declared})
    assert opened(response).size == (53, 37)


@pytest.mark.parametrize("picture_format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_every_allowed_file_format_is_read(
    client: httpx.Client, pixels: Pixels, pack: Callable[..., bytes], picture_format: str
) -> None:
    assert opened(client.post("/v1/derain", files=as_part(pack(pixels, picture_format)))).size == (53, 37)


@pytest.mark.parametrize("name", ["../../../etc/passwd", "a\x00b.png", "x" * 8192, "", "日本.png", 'quo"te.png'])
def test_the_file_name_is_ignored(client: httpx.Client, png: bytes, name: str) -> None:
    boundary = "b0undary"
    quoted = name.encode().replace(b'"', b'\\"')
    body = b'--b0undary\r\nContent-Disposition: form-data; name="image"; filename="' + quoted + b'"\r\n\r\n'
    body += png + b"\r\n--b0undary--\r\n"
    content_type = f"multipart/form-data; boundary={boundary}"
    assert opened(client.post("/v1/derain", content=body, headers={"Content-Type": content_type})).size == (53, 37)


def test_what_follows_the_picture_is_not_in_the_answer(client: httpx.Client, png: bytes) -> None:
    junk = b"<script>PK\x03\x04" * 50
    response = client.post("/v1/derain", files=as_part(png + junk))
    assert opened(response).size == (53, 37)
    assert b"<script>" not in response.content


@pytest.mark.parametrize("size", [(1, 1), (1, 20000), (2, 940), (3, 3), (64, 64), (65, 63), (129, 40)])
def test_any_size_comes_back_exactly(client: httpx.Client, pack: Callable[..., bytes], size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    restored = np.asarray(opened(client.post("/v1/derain", files=as_part(pack(pixels)))))
    np.testing.assert_array_equal(restored, pixels)


def test_every_small_size_comes_back_exactly(client: httpx.Client, pack: Callable[..., bytes]) -> None:
    for side in range(1, 41):
        pixels = np.full((side, 41 - side, 3), side, dtype=np.uint8)
        response = client.post("/v1/super-resolution?scale=2", files=as_part(pack(pixels)))
        assert opened(response).size == (2 * (41 - side), 2 * side)


def test_grey_and_bilevel_pictures_stay_grey(client: httpx.Client, pixels: Pixels) -> None:
    for mode in ("L", "1"):
        buffer = io.BytesIO()
        grey = Image.fromarray(pixels).convert(mode)
        grey.save(buffer, "PNG")
        restored = opened(client.post("/v1/derain", files=as_part(buffer.getvalue())))
        assert restored.mode == "L"
        np.testing.assert_array_equal(np.asarray(restored), np.asarray(grey.convert("L")))


def test_palette_pictures_become_colour(client: httpx.Client, pixels: Pixels) -> None:
    buffer = io.BytesIO()
    palette = Image.fromarray(pixels).convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save(buffer, "PNG")
    restored = opened(client.post("/v1/derain", files=as_part(buffer.getvalue())))
    np.testing.assert_array_equal(np.asarray(restored.convert("RGB")), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("scale", [2, 4])
def test_transparency_is_kept_and_grows_with_the_picture(
    client: httpx.Client, pack: Callable[..., bytes], scale: int
) -> None:
    pixels = np.full((20, 24, 4), (200, 100, 50, 255), dtype=np.uint8)
    pixels[:10] = (0, 255, 0, 0)
    restored = opened(client.post(f"/v1/super-resolution?scale={scale}", files=as_part(pack(pixels))))
    assert (restored.mode, restored.size) == ("RGBA", (24 * scale, 20 * scale))
    result = np.asarray(restored)
    assert result[0, 0, 3] == 0
    assert result[-1, -1].tolist() == [200, 100, 50, 255]
    # The green under alpha 0 must not bleed into what is seen.
    seen = result[result[..., 3] > 128]
    assert seen[:, 1].max() <= 102


def test_transparency_becomes_white_in_jpeg(client: httpx.Client, pack: Callable[..., bytes]) -> None:
    pixels = np.zeros((16, 16, 4), dtype=np.uint8)
    response = client.post("/v1/derain", files=as_part(pack(pixels)), headers={"Accept": "image/jpeg"})
    assert np.asarray(opened(response).convert("RGB")).min() > 250


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_answer_is_upright_and_its_orientation_tag_gone(client: httpx.Client, orientation: int) -> None:
    pixels = np.zeros((24, 40, 3), dtype=np.uint8)
    pixels[:8, :8] = 255
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    restored = opened(client.post("/v1/derain", files=as_part(buffer.getvalue())))
    assert restored.getexif().get(0x0112) is None
    operations = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    upright = image if orientation == 1 else image.transpose(operations[orientation])
    np.testing.assert_array_equal(np.asarray(restored), np.asarray(upright))


def test_many_clients_at_once_get_their_own_pictures(client: httpx.Client, pack: Callable[..., bytes]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def ask(value: int) -> bool:
        pixels = np.full((10 + value, 30, 3), value * 7, dtype=np.uint8)
        return bool((np.asarray(opened(client.post("/v1/derain", files=as_part(pack(pixels))))) == pixels).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(32)))

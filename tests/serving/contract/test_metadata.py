"""Rows 35 to 38: orientation, profiles, and what a picture tells about its owner."""

from __future__ import annotations

import io
import zlib

import httpx
import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.serving.contract.pictures import chunk, chunks_of, icc_profile, noise, saved, with_chunk
from tests.serving.contract.wire import opened, send_form

SAME = "/v1/derain"
ORIENTATION, GPS = 0x0112, 0x8825
PIXELS = noise(24, 40, 3)
# How a picture stored in one orientation is turned to stand upright.
UPRIGHT = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: np.rot90(pixels, 1),
}


def exif_with(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


@pytest.mark.core
@pytest.mark.row(35)
@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_35_the_answer_is_upright_and_its_orientation_tag_gone(
    client: httpx.Client, orientation: int, file_format: str
) -> None:
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}}.get(file_format, {})
    data = saved(PIXELS, file_format, exif=exif_with(orientation), **options)
    result = opened(send_form(client, SAME, data))
    assert result.getexif().get(ORIENTATION) is None
    # What a viewer that ignores the tag sees of the file, turned by hand.
    stored = PIXELS if file_format != "JPEG" else np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(np.asarray(result), UPRIGHT[orientation](stored))


JPEG = saved(PIXELS, "JPEG", quality=95)


def with_app1(content: bytes) -> bytes:
    return JPEG[:2] + b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content + JPEG[2:]


BROKEN_EXIF = {
    "no directory": with_app1(b"Exif\0\0"),
    "junk": with_app1(b"Exif\0\0" + noise(300).tobytes()),
    "directory behind the end": with_app1(b"Exif\0\0II*\0\xff\xff\xff\x7f"),
    "thousands of entries": with_app1(b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + noise(1000).tobytes()),
    "orientation 9": with_app1(b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\x09\0\0\0\0\0\0\0"),
    "orientation as text": with_app1(b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\2\0\4\0\0\0six\0\0\0\0\0"),
    "as large as it may be": with_app1(b"Exif\0\0II*\0\x08\0\0\0" + bytes(65_000)),
    "in a PNG": with_chunk(saved(PIXELS), b"eXIf", noise(500).tobytes()),
    "hundreds of kilobytes in a PNG": with_chunk(saved(PIXELS), b"eXIf", b"II*\0\x08\0\0\0" + bytes(300_000)),
}


@pytest.mark.row(36)
@pytest.mark.parametrize("case", BROKEN_EXIF)
def test_36_a_broken_exif_block_is_dropped(client: httpx.Client, case: str) -> None:
    result = opened(send_form(client, SAME, BROKEN_EXIF[case]))
    assert not result.getexif()
    expected = np.asarray(Image.open(io.BytesIO(BROKEN_EXIF[case])))
    np.testing.assert_array_equal(np.asarray(result), expected)


def test_37_the_profiles_of_this_file_are_profiles() -> None:
    for space in (b"RGB ", b"GRAY"):
        profile = ImageCms.getOpenProfile(io.BytesIO(icc_profile(space)))
        assert profile.profile.xcolor_space == space.decode()


@pytest.mark.row(37)
@pytest.mark.parametrize("accept", ["image/png", "image/webp", "image/jpeg"])
def test_37_a_colour_profile_is_kept_with_its_bytes(client: httpx.Client, accept: str) -> None:
    profile = icc_profile(b"RGB ")
    result = opened(send_form(client, SAME, saved(PIXELS, icc_profile=profile), Accept=accept))
    assert result.info["icc_profile"] == profile
    if accept != "image/jpeg":
        np.testing.assert_array_equal(np.asarray(result), PIXELS)


@pytest.mark.row(37)
def test_37_a_gray_profile_is_kept_with_its_bytes(client: httpx.Client) -> None:
    profile = icc_profile(b"GRAY")
    result = opened(send_form(client, SAME, saved(PIXELS[..., 0], icc_profile=profile)))
    assert result.info["icc_profile"] == profile
    np.testing.assert_array_equal(np.asarray(result), PIXELS[..., 0])


@pytest.mark.row(37)
def test_37_a_profile_of_other_channels_is_dropped(client: httpx.Client) -> None:
    result = opened(send_form(client, SAME, saved(PIXELS, icc_profile=icc_profile(b"GRAY"))))
    assert "icc_profile" not in result.info


SECRET = b"52 Festive Road"
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><photographer>' + SECRET + b"</photographer></x:xmpmeta>"


def telling_exif() -> Image.Exif:
    exif = exif_with(6)
    exif[0x010E] = SECRET.decode()
    exif.get_ifd(GPS).update({1: "N", 2: (51.0, 28.0, 40.0), 3: "W", 4: (0.0, 10.0, 30.0)})
    return exif


def telling_png() -> bytes:
    data = saved(PIXELS, exif=telling_exif())
    data = with_chunk(data, b"tEXt", b"Comment\0" + SECRET)
    data = with_chunk(data, b"zTXt", b"Author\0\0" + zlib.compress(SECRET))
    data = with_chunk(data, b"tIME", b"\x07\xea\1\1\1\1\1")
    return with_chunk(data, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)


def telling_jpeg() -> bytes:
    return saved(PIXELS, "JPEG", exif=telling_exif(), xmp=XMP, comment=SECRET)


TELLING = {
    "PNG": telling_png(),
    "JPEG": telling_jpeg(),
    "WebP": saved(PIXELS, "WEBP", exif=telling_exif(), xmp=XMP),
    "TIFF": saved(PIXELS, "TIFF", exif=telling_exif(), description=SECRET.decode()),
}


@pytest.mark.row(38)
@pytest.mark.parametrize("case", TELLING)
@pytest.mark.parametrize("accept", ["image/png", "image/webp", "image/jpeg"])
def test_38_an_answer_tells_nothing_about_anybody(client: httpx.Client, case: str, accept: str) -> None:
    assert case == "PNG" or SECRET in TELLING[case]
    response = send_form(client, SAME, TELLING[case], Accept=accept)
    result = opened(response)
    assert result.size == (24, 40), "upright, though the tag that says so is dropped"
    assert not result.getexif()
    assert SECRET not in response.content
    assert {"xmp", "comment", "exif", "XML:com.adobe.xmp"}.isdisjoint(result.info)
    if accept == "image/png":
        assert {kind for kind, _ in chunks_of(response.content)} == {b"IHDR", b"IDAT", b"IEND"}


@pytest.mark.row(38)
@pytest.mark.parametrize("file_format", ["png", "webp", "jpeg"])
def test_38_exif_is_kept_where_the_client_asks_for_it(client: httpx.Client, file_format: str) -> None:
    response = send_form(client, f"{SAME}?metadata=keep&format={file_format}", TELLING["JPEG"])
    result = opened(response)
    assert result.size == (24, 40)
    exif = result.getexif()
    assert exif.get(0x010E) == SECRET.decode()
    assert exif.get_ifd(GPS)[2] == (51.0, 28.0, 40.0)
    # The pixels are upright; a viewer that followed the old tag would turn them once more.
    assert exif.get(ORIENTATION) in (None, 1)


def test_38_a_secret_would_be_seen() -> None:
    assert SECRET in saved(PIXELS, exif=telling_exif())
    assert chunks_of(png := telling_png())[1][0] not in (b"IHDR", b"IDAT", b"IEND")
    assert chunk(b"tEXt", b"Comment\0" + SECRET) in png

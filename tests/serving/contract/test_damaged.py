"""Rows 17, 18, 19 and 22: files that were a picture once, or hold more than one."""

from __future__ import annotations

import struct
import zlib

import httpx
import numpy as np
import pytest

from tests.serving.contract.pictures import icc_profile, noise, saved, with_chunk
from tests.serving.contract.wire import check_refused, opened, send_form, send_raw, shown

PIXELS = noise(40, 30, 3)
PNG = saved(PIXELS)
BOMB = zlib.compress(b"\0" * 80_000_000)


def refused_both_ways(client: httpx.Client, data: bytes, code: str = "corrupt") -> None:
    check_refused(send_form(client, "/v1/derain", data), 422, code)
    check_refused(send_raw(client, "/v1/derain", data), 422, code)


@pytest.mark.core
@pytest.mark.row(17)
@pytest.mark.parametrize("percent", [25, 50, 99])
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_17_a_file_that_was_cut_is_a_422(client: httpx.Client, file_format: str, percent: int) -> None:
    whole = saved(PIXELS, file_format)
    refused_both_ways(client, whole[: len(whole) * percent // 100])


def flipped_in_idat() -> bytes:
    data = bytearray(PNG)
    data[PNG.index(b"IDAT") + 200] ^= 0x10
    return bytes(data)


def broken_quantisation() -> bytes:
    data = saved(PIXELS, "JPEG")
    at = data.index(b"\xff\xdb")
    return data[: at + 2] + struct.pack(">H", 3) + data[at + 4 :]


BROKEN = {
    "flipped bit in the pixels": flipped_in_idat(),
    "wrong checksum of the header": PNG[:30] + b"\0\0\0" + PNG[33:],
    "broken quantisation tables": broken_quantisation(),
}


@pytest.mark.row(18)
@pytest.mark.parametrize("case", BROKEN)
def test_18_a_broken_file_is_a_422(client: httpx.Client, case: str) -> None:
    refused_both_ways(client, BROKEN[case])


@pytest.mark.row(19)
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_19_what_follows_the_picture_is_not_in_the_answer(client: httpx.Client, file_format: str) -> None:
    junk = b"<script>PK\x03\x04" * 50
    response = send_form(client, "/v1/derain", saved(PIXELS, file_format) + junk)
    assert opened(response).size == (30, 40)
    assert b"<script>" not in response.content


BOMBS = {
    "zTXt": (b"zTXt", b"Comment\0\0" + BOMB),
    "iTXt": (b"iTXt", b"Comment\0\1\0\0\0" + BOMB),
    "iCCP": (b"iCCP", b"profile\0\0" + BOMB),
}


@pytest.mark.row(22)
@pytest.mark.parametrize("case", BOMBS)
def test_22_a_chunk_that_unpacks_without_end_is_refused(client: httpx.Client, case: str) -> None:
    response = send_form(client, "/v1/derain", with_chunk(PNG, *BOMBS[case]))
    assert response.status_code in (413, 422), shown(response)
    check_refused(response, response.status_code, response.json()["error"]["code"])


@pytest.mark.row(22)
def test_22_the_same_chunks_of_honest_size_are_fine(client: httpx.Client) -> None:
    """So it is the size that is refused above, not the way these chunks were made."""
    chunks = {
        b"zTXt": b"Comment\0\0" + zlib.compress(b"hello"),
        b"iTXt": b"Comment\0\1\0\0\0" + zlib.compress(b"hello"),
        b"iCCP": b"profile\0\0" + zlib.compress(icc_profile(b"RGB ")),
    }
    for kind, data in chunks.items():
        restored = opened(send_form(client, "/v1/derain", with_chunk(PNG, kind, data)))
        np.testing.assert_array_equal(np.asarray(restored), PIXELS)

"""The header alone: the same answers and refusals as decoding, at a thousandth of the cost."""

import io
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from runtime.decode import decode_image
from runtime.encode import encode_image
from runtime.errors import ImageError
from runtime.peek import PictureInfo, peek_image
from runtime.picture import ImageLimits, Picture
from tests.memory import peak_growth_mb

Encode = Callable[..., bytes]
NOISE = np.random.default_rng(5).integers(0, 256, (16, 24, 4), dtype=np.uint8)


def _said(picture: Picture) -> tuple[int, int, int, int]:
    return picture.width, picture.height, picture.pixels.shape[2], picture.depth


def _seen(info: PictureInfo) -> tuple[int, int, int, int]:
    return info.width, info.height, info.channels, info.depth


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["png", "tiff", "jpeg", "webp"])
def test_it_foresees_what_we_write(kind: str, channels: int, depth: int) -> None:
    pixels = np.ascontiguousarray(NOISE[..., :channels])
    data = encode_image(Picture(pixels if depth == 8 else pixels.astype(np.uint16) * 257), kind)
    info = peek_image(data)
    assert info.format.lower() == kind
    decoded = decode_image(data)
    assert _seen(info) == _said(decoded)
    assert info.nbytes == decoded.pixels.nbytes
    assert info.pixels == 16 * 24


WRITTEN_BY_PILLOW = {
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "JPEG": ["1", "L", "RGB", "CMYK", "YCbCr"],
    "TIFF": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"],
    "BMP": ["1", "L", "P", "RGB", "RGBA"],
    "GIF": ["1", "L", "P", "RGB"],
    "WEBP": ["L", "P", "RGB", "RGBA"],
}


@pytest.mark.parametrize(
    ("kind", "mode"), [(kind, mode) for kind, modes in WRITTEN_BY_PILLOW.items() for mode in modes]
)
def test_it_foresees_what_others_write(encode: Encode, kind: str, mode: str) -> None:
    image = Image.fromarray(NOISE).convert("RGB").convert("L" if mode == "I;16" else mode).convert(mode)
    data = encode(image, kind)
    assert _seen(peek_image(data)) == _said(decode_image(data))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_sizes_are_those_of_the_upright_picture(encode: Encode, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(NOISE[..., :3]), kind, exif=exif)
    if kind == "PNG" and orientation >= 5:
        # Pillow writes the tag behind the pixels, where a look at the header does not reach.
        assert (peek_image(data).width, peek_image(data).height) in {(24, 16), (16, 24)}
    else:
        assert _seen(peek_image(data)) == _said(decode_image(data))


def test_transparent_values_are_channels(encode: Encode) -> None:
    rgb, gray = Image.fromarray(NOISE[..., :3]), Image.fromarray(NOISE[..., 0])
    for data in (
        encode(rgb, "PNG", transparency=(1, 2, 3)),
        encode(gray, "PNG", transparency=7),
        encode(rgb.quantize(9), "PNG", transparency=3),
        encode(rgb.quantize(9), "GIF", transparency=3),
    ):
        assert _seen(peek_image(data)) == _said(decode_image(data))


def _refusal(function: Callable[[], object]) -> tuple[str, int] | None:
    try:
        function()
    except ImageError as error:
        return error.code, error.status
    return None


HUGE = b"IHDR" + (100_000).to_bytes(4, "big") * 2 + b"\x08\2\0\0\0"
REFUSED = [
    b"",
    b"<html>",
    b"%PDF-1.7\n",
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"RIFF\0\0\0\0WEBP",
    b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + HUGE + zlib.crc32(HUGE).to_bytes(4, "big") + b"\0\0\0\0IDAT",
    b"GIF89a" + b"\xff\xff" * 2 + bytes(20),
    bytes(10_001),
]


@pytest.mark.parametrize("data", REFUSED)
def test_it_refuses_like_the_decoder(data: bytes) -> None:
    limits = ImageLimits(max_bytes=10_000)
    refusal = _refusal(lambda: peek_image(data, limits))
    assert refusal is not None
    assert refusal == _refusal(lambda: decode_image(data, limits))


def test_faxes_and_packed_bitmaps_are_refused_like_by_the_decoder(encode: Encode) -> None:
    fax = encode(Image.new("1", (9, 9)), "TIFF", compression="group4")
    bitmap = bytearray(encode(Image.new("L", (9, 9)), "BMP"))
    bitmap[30] = 1
    for data in (fax, bytes(bitmap)):
        assert _refusal(lambda data=data: peek_image(data)) == ("unsupported_format", 415)
        assert _refusal(lambda data=data: decode_image(data)) == ("unsupported_format", 415)


def test_what_only_decoding_can_tell_passes(encode: Encode) -> None:
    data = encode(Image.fromarray(NOISE), "PNG")[:-40]
    assert _refusal(lambda: peek_image(data)) is None
    assert _refusal(lambda: decode_image(data)) == ("corrupt", 422)  # so the comparison above can fail


@given(st.sampled_from(["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP"]), st.data())
@settings(max_examples=300, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_whatever_comes_it_is_an_answer_or_an_image_error(kind: str, data: st.DataObject) -> None:
    file = io.BytesIO()
    Image.fromarray(NOISE[..., :3]).save(file, kind)
    content = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, min(200, len(content) - 1)))] = data.draw(st.integers(0, 255))
    bare = bytes(content[: data.draw(st.integers(0, len(content)))])
    refusal = _refusal(lambda: peek_image(bare))
    if refusal is not None:
        assert _refusal(lambda: decode_image(bare)) is not None


def test_looking_at_a_large_webp_takes_no_memory(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8000, 3000)).save(file, "WEBP", method=0)
    (tmp_path / "a.webp").write_bytes(file.getvalue())
    preparation = """
import sys
from runtime import decode_image
from runtime.peek import peek_image
data = open(sys.argv[1], "rb").read()
"""
    assert peak_growth_mb(preparation, "peek_image(data)", str(tmp_path / "a.webp")) < 10
    # planted fault: opening it would
    assert peak_growth_mb(preparation, "decode_image(data)", str(tmp_path / "a.webp")) > 60

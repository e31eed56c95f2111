from collections.abc import Callable

import pytest
from PIL import Image

from runtime.decode import decode_image

Encode = Callable[..., bytes]
PLACE = {1: "N", 2: (52.0, 31.0, 12.0)}


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description"
    exif[0x011A] = 300.0  # resolution of the file it was taken from
    exif[0x8769] = {0x9003: "2026:01:02 03:04:05", 0xA002: 4000, 0x927C: b"maker's own"}
    exif[0x8825] = PLACE
    loaded = Image.Exif()
    loaded.load(exif.tobytes())
    return loaded


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_is_kept_only_when_asked_and_trimmed(encode: Encode, kind: str) -> None:
    data = encode(Image.new("RGB", (24, 16)), kind, exif=_exif())
    assert decode_image(data).exif is None
    picture = decode_image(data, keep_metadata=True)
    assert (picture.width, picture.height) == (16, 24)  # turned, so the tag must not be written again
    assert picture.exif is not None
    found = Image.Exif()
    found.load(picture.exif)
    assert found[0x010E] == "a description"
    assert not {0x0112, 0x011A} & set(found)
    assert found.get_ifd(0x8769) == {0x9003: "2026:01:02 03:04:05"}
    assert found.get_ifd(0x8825) == PLACE
    assert b"maker's own" in data
    assert b"maker's own" not in picture.exif


def test_the_thumbnail_does_not_come_along(encode: Encode) -> None:
    # A directory with one tag, then a second directory with the thumbnail's offset and length.
    thumbnail = encode(Image.new("RGB", (8, 8), "red"), "JPEG")
    tiff = b"MM\0*\0\0\0\x08\0\1\x01\x0f\0\2\0\0\0\x04abc\0\0\0\0\x1a"
    tiff += b"\0\2\x02\x01\0\4\0\0\0\1\0\0\0\x38\x02\x02\0\4\0\0\0\1" + len(thumbnail).to_bytes(4, "big") + bytes(4)
    data = encode(Image.new("RGB", (8, 8)), "JPEG", exif=b"Exif\0\0" + tiff + thumbnail)
    assert thumbnail in data
    picture = decode_image(data, keep_metadata=True)
    assert picture.exif is not None
    assert b"abc" in picture.exif
    assert b"\xff\xd8" not in picture.exif


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0rubbish rubbish", b"Exif\0\0II*\0" + b"\xff" * 9000])
@pytest.mark.filterwarnings("ignore")
def test_a_broken_block_is_dropped(encode: Encode, exif: bytes) -> None:
    picture = decode_image(encode(Image.new("RGB", (8, 8)), "JPEG", exif=exif), keep_metadata=True)
    assert picture.exif is None


def test_a_block_too_long_for_a_jpeg_is_dropped(encode: Encode) -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 70_000
    assert decode_image(encode(Image.new("RGB", (8, 8)), "PNG", exif=exif), keep_metadata=True).exif is None


def test_xmp_never_comes_along(encode: Encode) -> None:
    data = encode(Image.new("RGB", (8, 8)), "WEBP", xmp=b"<x:xmpmeta>home address</x:xmpmeta>")
    assert b"home address" in data
    assert decode_image(data, keep_metadata=True).exif is None

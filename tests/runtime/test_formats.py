import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from runtime.errors import ImageError
from runtime.formats import READ_FORMATS, check_header, check_structure, sniff_format, webp_size

REFUSED = {
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9": "EPS",
    b"\xc5\xd0\xd3\xc6\x20\0\0\0": "EPS",
    b"%PDF-1.7\n": "PDF",
    b"8BPS\0\1\0\0\0\0\0\0": "PSD",
    b"\0\0\1\0\1\0\x10\x10": "ICO",
    b"\0\0\0\x18ftypheic\0\0\0\0": "HEIC",
    b"\0\0\0\x18ftypmif1\0\0\0\0": "HEIC",
    b"\0\0\0\x1cftypavif\0\0\0\0": "AVIF",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
    b"\xff\x4f\xff\x51\0\x2f": "JPEG 2000",
    b"\xff\x0a\xfa\x1f": "JPEG XL",
    b"P6\n2 2\n255\n" + bytes(12): "PPM",
    b"P4 # comment\n": "PPM",
    b"SIMPLE  =                    T": "FITS",
    b'<svg xmlns="http://www.w3.org/2000/svg"/>': "SVG",
    b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- a -->\n<svg width="1"/>': "SVG",
    b"DDS |\0\0\0": "DDS",
    b"qoif\0\0\0\1": "QOI",
    b"\x76\x2f\x31\x01\2\0\0\0": "OpenEXR",
}
NO_PICTURE = [
    b"\0",
    b"\x89PNG",
    b"RIFF\x10\0\0\0WAVEfmt ",
    b"BM: dear all, this is a text about bitmaps",
    b"<html><body>hello</body></html>",
    b"<?xml version='1.0'?><note/>",
    b"PK\x03\x04\x14\0",
    b"https://example.org/picture.png",
    b"\0\0\0\x18ftypmp42\0\0\0\0",
    b"Pages of text",
    b"\x80\x04\x95",
]


@pytest.mark.parametrize("data", REFUSED, ids=list(REFUSED.values()))
def test_known_formats_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(ImageError, match=f"^{REFUSED[data]} is not read. Convert it to one of: PNG") as caught:
        sniff_format(data)
    assert (caught.value.code, caught.value.status) == ("unsupported_format", 415)


@pytest.mark.parametrize("data", NO_PICTURE)
def test_the_rest_is_not_a_picture(data: bytes) -> None:
    with pytest.raises(ImageError, match="not a picture") as caught:
        sniff_format(data)
    assert (caught.value.code, caught.value.status) == ("not_an_image", 415)


@pytest.mark.parametrize("name", READ_FORMATS)
def test_formats_that_are_read_are_recognised(name: str, encode: Callable[..., bytes]) -> None:
    data = encode(Image.new("RGB", (3, 2)), name.upper())
    assert sniff_format(data) == name
    check_structure(data, name)


def test_refusing_a_format_never_runs_nor_loads_its_parser() -> None:
    code = f"""
import sys
from runtime import ImageError, decode_image
for data in {list(REFUSED)!r}:
    try:
        decode_image(data)
    except ImageError as error:
        assert error.code == "unsupported_format", error
    else:
        raise SystemExit("decoded")
names = "Eps Psd Pdf Ico Ppm Fits Dds Avif Jpeg2K Qoi".split()
loaded = [name for name in names if f"PIL.{{name}}ImagePlugin" in sys.modules]
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize("size", [(1, 1), (37, 21), (300, 5)])
@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}])
def test_the_size_of_a_webp_is_in_its_header(
    encode: Callable[..., bytes], size: tuple[int, int], options: dict[str, object]
) -> None:
    assert webp_size(encode(Image.new("RGB", size), "WEBP", **options)) == size


def test_a_webp_without_a_header_is_corrupt(encode: Callable[..., bytes]) -> None:
    data = encode(Image.new("RGB", (5, 5)), "WEBP")
    for broken in (data[:20], data[:12] + b"JUNK" + data[16:]):
        with pytest.raises(ImageError) as caught:
            webp_size(broken)
        assert caught.value.code == "corrupt"


def _chunks(data: bytes) -> list[tuple[int, int]]:
    """Start and end of each chunk of a PNG."""
    position, found = 8, []
    while position < len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        found.append((position, end))
        position = end
    return found


def test_every_checksum_of_a_png_is_checked(encode: Callable[..., bytes]) -> None:
    data = encode(Image.effect_noise((32, 32), 50), "PNG")
    for _, end in _chunks(data):
        broken = bytearray(data)
        broken[end - 1] ^= 1
        with pytest.raises(ImageError, match="checksum") as caught:
            check_structure(bytes(broken), "PNG")
        assert (caught.value.code, caught.value.status) == ("corrupt", 422)


def test_a_png_without_its_end_is_corrupt_and_with_a_tail_is_not(encode: Callable[..., bytes]) -> None:
    data = encode(Image.new("L", (9, 9)), "PNG")
    with pytest.raises(ImageError, match="ends too early"):
        check_structure(data[:-12], "PNG")
    with pytest.raises(ImageError, match="ends too early"):
        check_structure(data[:-1], "PNG")
    check_structure(data + b"PK\x03\x04 junk", "PNG")


def test_a_chunk_that_claims_gigabytes_is_corrupt() -> None:
    header = b"IHDR" + bytes(13)
    data = b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + header + zlib.crc32(header).to_bytes(4, "big") + b"\x7f\xff\xff\xffIDAT"
    with pytest.raises(ImageError, match="ends too early"):
        check_structure(data, "PNG")


def test_a_jpeg_of_thousands_of_scans_is_refused(encode: Callable[..., bytes]) -> None:
    data = encode(Image.effect_noise((64, 64), 50), "JPEG", progressive=True)
    check_structure(data, "JPEG")
    with pytest.raises(ImageError, match="scans"):
        check_structure(data[:-2] + b"\xff\xda\0\0" * 100 + data[-2:], "JPEG")


def test_a_compressed_bmp_is_refused(encode: Callable[..., bytes]) -> None:
    data = bytearray(encode(Image.new("L", (9, 9)), "BMP"))
    data[30] = 1
    check_header(encode(Image.new("L", (9, 9)), "BMP"), "BMP")
    with pytest.raises(ImageError, match="Compressed BMP is not read") as caught:
        check_header(bytes(data), "BMP")
    assert caught.value.code == "unsupported_format"

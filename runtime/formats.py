"""Which format a file is, told by its first bytes alone, and the checks its parser leaves out.

Declared types and file names are never trusted. A format that is known but not read is refused here by name, so its
parser never sees the bytes.
"""

import re
import zlib

from runtime.errors import ImageError

__all__ = ["READ_FORMATS", "check_header", "check_structure", "sniff_format", "unsupported_format", "webp_size"]

READ_FORMATS: tuple[str, ...] = ("PNG", "JPEG", "WebP", "TIFF", "BMP", "GIF")
"""Formats that are read, by the names `sniff_format` gives."""

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    # From here on: known, refused.
    (b"%!PS", "EPS"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"%PDF", "PDF"),
    (b"8BPS", "PSD"),
    (b"\0\0\1\0", "ICO"),
    (b"\0\0\2\0", "CUR"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"SIMPLE  =", "FITS"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
    (b"icns", "ICNS"),
    (b"\x8aMNG\r\n\x1a\n", "MNG"),
    (b"gimp xcf", "XCF"),
)
_BRANDS = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"hevc": "HEIC",
    b"hevx": "HEIC",
    b"heim": "HEIC",
    b"heis": "HEIC",
    b"mif1": "HEIC",
    b"msf1": "HEIC",
}
_NETPBM = re.compile(rb"P[1-7fF][\s#]")
_SVG = re.compile(rb"\A(\xef\xbb\xbf)?\s*<(\?xml|!--|!DOCTYPE svg|svg[\s>:])", re.IGNORECASE)
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_BMP_UNCOMPRESSED = (0, 3, 6)  # plain, and the two kinds of bit fields

# A progressive JPEG has about ten scans. Each scan costs a pass over the whole picture, so a small file with thousands
# of empty ones would keep a core busy for minutes.
_MAX_JPEG_SCANS = 100


def sniff_format(data: bytes) -> str:
    """The format of a file by its first bytes: one of `READ_FORMATS`.

    Raises:
        ImageError: 415 `unsupported_format` naming a known format that is not read, 415 `not_an_image` for the rest.
    """
    name = _recognise(data)
    if name is None:
        raise ImageError(
            f"This is not a picture. Formats that are read: {', '.join(READ_FORMATS)}.",
            code="not_an_image",
            status=415,
        )
    if name not in READ_FORMATS:
        raise unsupported_format(name)
    return name


def check_header(data: bytes, name: str) -> None:
    """Refuse, by its first bytes, what a format's parser must not see.

    Args:
        data: The file.
        name: Its format, from `sniff_format`.

    Raises:
        ImageError: 415 `unsupported_format` for a run-length compressed BMP.
    """
    if name == "BMP" and _bmp_compression(data) not in _BMP_UNCOMPRESSED:
        # The decoder for these is a Python loop over bytes that a tiny file can keep busy for long.
        raise unsupported_format("Compressed BMP")


def check_structure(data: bytes, name: str) -> None:
    """Refuse what the format's parser would accept or choke on, by a walk over the whole file.

    Args:
        data: The file.
        name: Its format, from `sniff_format`.

    Raises:
        ImageError: 422 `corrupt` for a PNG with a wrong checksum or without its end, and for a JPEG with absurdly many
            scans.
    """
    if name == "PNG":
        _check_png(data)
    elif name == "JPEG" and data.count(b"\xff\xda") > _MAX_JPEG_SCANS:
        raise ImageError(
            f"This JPEG has more than {_MAX_JPEG_SCANS} scans. Save it again with another program.",
            code="corrupt",
            status=422,
        )


def webp_size(data: bytes) -> tuple[int, int]:
    """Width and height of a WebP from its header.

    Its decoder allocates the whole canvas as soon as it is opened, so the size has to be known before.

    Raises:
        ImageError: 422 `corrupt` if the header is none of a WebP.
    """
    chunk = data[12:16]
    if chunk == b"VP8X" and len(data) >= 30:
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if chunk == b"VP8L" and len(data) >= 25 and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 " and len(data) >= 30 and data[23:26] == b"\x9d\x01\x2a":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    raise ImageError("This WebP is corrupt: it has no valid header. Send it again.", code="corrupt", status=422)


def unsupported_format(name: str) -> ImageError:
    """The error for a known format that is not read: 415 `unsupported_format`."""
    return ImageError(
        f"{name} is not read. Convert it to one of: {', '.join(READ_FORMATS)}.",
        code="unsupported_format",
        status=415,
    )


def _recognise(data: bytes) -> str | None:
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    # Two letters alone would make a picture of every text that begins with them.
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12])
    if _NETPBM.match(data):
        return "PPM"
    head = data[:1024]
    if _SVG.match(head) and b"<svg" in head.lower():
        return "SVG"
    return None


def _bmp_compression(data: bytes) -> int:
    # The oldest header, of 12 bytes, has no such field.
    return int.from_bytes(data[30:34], "little") if int.from_bytes(data[14:18], "little") >= 40 else 0


def _check_png(data: bytes) -> None:
    """Check every chunk up to the end. Pillow skips the checksum of the pixel data and does not miss a lost end."""
    view, position = memoryview(data), 8
    while position + 12 <= len(data):
        length = int.from_bytes(view[position : position + 4], "big")
        end = position + 12 + length
        if end > len(data):
            break
        kind = bytes(view[position + 4 : position + 8])
        if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise ImageError("This PNG is corrupt: a checksum is wrong. Send it again.", code="corrupt", status=422)
        if kind == b"IEND":
            return  # what follows is not part of the picture and is never looked at
        position = end
    raise ImageError("This PNG is corrupt: it ends too early. Send it again.", code="corrupt", status=422)

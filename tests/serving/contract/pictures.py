"""Picture files made by hand, where Pillow cannot write them or would be its own witness."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Samples = NDArray[np.uint8] | NDArray[np.uint16]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Samples of a pixel by PNG colour type.
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def noise(*shape: int, seed: int = 3) -> NDArray[np.uint8]:
    """A picture of independent values."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def saved(pixels: NDArray[np.uint8] | Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    """A file as Pillow writes it."""
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def chunks_of(png: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and content of all chunks of a whole PNG."""
    found, at = [], len(PNG_SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def with_chunk(png: bytes, kind: bytes, data: bytes) -> bytes:
    """The PNG with one chunk more, right after its header."""
    return png[:33] + chunk(kind, data) + png[33:]


def png_file(samples: Samples, colour: int, *, bits: int = 8, extra: bytes = b"") -> bytes:
    """A PNG with filter 0 on every row.

    Args:
        samples: (H, W) or (H, W, C). Below 8 bits the values of a row are packed.
        colour: PNG colour type.
        bits: Of one sample.
        extra: Whole chunks between header and pixels.
    """
    height, width = samples.shape[:2]
    if bits < 8:
        places = np.arange(bits - 1, -1, -1)
        rows = np.packbits((samples[..., None] >> places & 1).reshape(height, -1).astype(np.uint8), axis=1)
    else:
        rows = samples.astype(">u2" if bits == 16 else np.uint8).reshape(height, -1).view(np.uint8)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return PNG_SIGNATURE + header + extra + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def header_only_png(width: int, height: int, bits: int = 8, colour: int = 2) -> bytes:
    """A PNG that claims a size and has next to no pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return PNG_SIGNATURE + header + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


def read_png(png: bytes) -> Samples:
    """The samples of a PNG of 8 or 16 bits, (H, W, C), by our own reading of the standard.

    Pillow opens 16-bit colour as 8-bit, so it cannot say whether depth was kept.
    """
    chunks = chunks_of(png)
    width, height, bits, colour, _, _, interlace = struct.unpack(">IIBBBBB", chunks[0][1])
    assert bits in (8, 16)
    assert interlace == 0
    step = CHANNELS[colour] * bits // 8
    data = zlib.decompress(b"".join(content for kind, content in chunks if kind == b"IDAT"))
    rows = np.frombuffer(data, np.uint8).reshape(height, 1 + width * step)
    above = np.zeros(width * step, np.uint8)
    result = np.empty((height, width * step), np.uint8)
    for row in range(height):
        above = result[row] = _unfiltered(int(rows[row, 0]), rows[row, 1:], above, step)
    if bits == 16:
        return result.view(">u2").astype(np.uint16).reshape(height, width, -1)
    return result.reshape(height, width, -1)


def _unfiltered(kind: int, row: NDArray[np.uint8], above: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    if kind == 0:
        return row
    if kind == 2:
        return row + above
    out = bytearray(len(row))
    for at, value in enumerate(row.tolist()):
        left = out[at - step] if at >= step else 0
        up = int(above[at])
        corner = int(above[at - step]) if at >= step else 0
        guess = left if kind == 1 else (left + up) // 2 if kind == 3 else _paeth(left, up, corner)
        out[at] = (value + guess) & 255
    return np.frombuffer(bytes(out), np.uint8)


def _paeth(left: int, up: int, corner: int) -> int:
    estimate = left + up - corner
    return min((left, up, corner), key=lambda value: abs(estimate - value))


def tiff_file(samples: Samples, *, floats: bool = False) -> bytes:
    """An uncompressed little-endian TIFF of one strip: (H, W) gray or (H, W, 3) RGB; 32-bit float if `floats`."""
    height, width = samples.shape[:2]
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    pixels = (samples.astype("<f4") / 65535 if floats else samples.astype(samples.dtype.newbyteorder("<"))).tobytes()
    bits = 32 if floats else samples.dtype.itemsize * 8
    depths_at, pixels_at = 8, 16
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, channels, bits if channels == 1 else depths_at),
        (259, 3, 1, 1),
        (262, 3, 1, 1 if channels == 1 else 2),
        (273, 4, 1, pixels_at),
        (277, 3, 1, channels),
        (278, 4, 1, height),
        (279, 4, 1, len(pixels)),
        (339, 3, 1, 3 if floats else 1),
    ]
    if channels == 3:
        entries.pop()  # three values do not fit into the entry, and unsigned is what it says anyway
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in entries) + struct.pack("<I", 0)
    head = b"II*\0" + struct.pack("<I", pixels_at + len(pixels))
    return head + struct.pack("<4H", bits, bits, bits, 0) + pixels + directory


def ycck_jpeg(ink: NDArray[np.uint8]) -> bytes:
    """A JPEG as Photoshop writes CMYK: colours as YCbCr, everything inverted, told by the Adobe marker.

    Args:
        ink: (H, W, 4), cyan, magenta, yellow, black; 255 is full ink.
    """
    colour = Image.fromarray(np.ascontiguousarray(ink[..., :3])).convert("YCbCr")
    planes = np.dstack([255 - np.asarray(colour), ink[..., 3]])
    # Pillow inverts what it is given, so the planes are stored as Y, Cb, Cr and 255 - K.
    data = saved(Image.fromarray(planes, "CMYK"), "JPEG", quality=100, subsampling=0)
    at = data.index(b"Adobe")
    assert data[at + 11] == 0, "the transform of the Adobe marker"
    return data[: at + 11] + b"\2" + data[at + 12 :]


def icc_profile(space: bytes) -> bytes:
    """A small colour profile: `b"RGB "` with the colours of Display P3, or `b"GRAY"`."""
    gamma = b"curv" + struct.pack(">II H H", 0, 1, 563, 0)  # 2.2 in 8.8 fixed point
    tags = {b"wtpt": _xyz(0.9642, 1.0, 0.8249)}
    if space == b"GRAY":
        tags[b"kTRC"] = gamma
    else:
        tags |= {b"rXYZ": _xyz(0.5151, 0.2412, -0.0011), b"gXYZ": _xyz(0.2920, 0.6922, 0.0419)}
        tags |= {b"bXYZ": _xyz(0.1571, 0.0666, 0.7841)}
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma)
    table, content, at = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", at + len(content), len(data))
        content += data
    header = struct.pack(
        ">I4sI4s4s4s12s4s", at + len(content), b"\0" * 4, 0x02400000, b"mntr", space, b"XYZ ", b"", b"acsp"
    )
    header = header.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + content


def _xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))

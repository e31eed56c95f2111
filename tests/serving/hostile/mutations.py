"""Real picture files, damaged in ways that follow from (seed, index) alone.

python -m tests.serving.hostile.mutations 1 4711 > damaged      # seed, index: writes that file again
"""

from __future__ import annotations

import random
import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from tests.serving.contract.pictures import PNG_SIGNATURE, chunk, icc_profile, noise, png_file, saved, ycck_jpeg

Random = random.Random
Mutator = Callable[[bytes, Random], bytes]

INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@cache
def sources() -> dict[str, bytes]:
    """Small files of every kind that is read, with the blocks that parsers trip over."""
    smooth = np.add.outer(np.arange(24) * 5, np.arange(20) * 6).astype(np.uint8)
    colour = np.dstack([smooth, smooth.T.copy().reshape(24, 20), noise(24, 20)])
    image = Image.fromarray(colour)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    deep = np.random.default_rng(1).integers(0, 65536, (24, 20)).astype(np.uint16)
    palette = image.convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    extras = {"exif": exif, "icc_profile": icc_profile(b"RGB ")}
    files = {
        "png": saved(colour),
        "png with blocks": saved(colour, **extras),
        "png gray 16": png_file(deep, 0, bits=16),
        "png rgb 16": png_file(np.dstack([deep] * 3), 2, bits=16, extra=chunk(b"tRNS", struct.pack(">3H", 1, 2, 3))),
        "png alpha": saved(np.dstack([colour, smooth])),
        "png palette": saved(palette, transparency=3),
        "png bits": png_file(smooth >> 7, 0, bits=1),
        "jpeg": saved(colour, "JPEG", **extras),
        "jpeg progressive": saved(colour, "JPEG", progressive=True, subsampling=2),
        "jpeg gray": saved(smooth, "JPEG"),
        "jpeg cmyk": saved(image.convert("CMYK"), "JPEG"),
        "jpeg ycck": ycck_jpeg(np.dstack([colour, smooth])),
        "webp": saved(colour, "WEBP", **extras),
        "webp lossless": saved(np.dstack([colour, smooth]), "WEBP", lossless=True),
        "bmp": saved(colour, "BMP"),
        "bmp palette": saved(palette, "BMP"),
        "gif": saved(palette, "GIF"),
        "tiff": saved(colour, "TIFF", **extras),
        "tiff 16": saved(Image.fromarray(deep), "TIFF"),
    }
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        files[f"tiff {compression}"] = saved(colour, "TIFF", compression=compression)
    return files


@dataclass(frozen=True)
class Mutation:
    """One damaged file.

    Attributes:
        source: Which file it was.
        how: What was done to it, in order.
        data: What is left.
    """

    source: str
    how: tuple[str, ...]
    data: bytes


def mutation(seed: int, index: int) -> Mutation:
    """The damaged file of this number; the same on every machine with the same Pillow."""
    rng = Random(f"{seed}-{index}")
    name, data = rng.choice(list(sources().items()))
    how = []
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        done = rng.choice(list(MUTATORS))
        data = MUTATORS[done](data, rng)
        how.append(done)
    if data.startswith(PNG_SIGNATURE) and rng.random() < 0.7:
        data = with_right_checksums(data)
        how.append("checksums made right")
    return Mutation(name, tuple(how), data)


def _flip_bits(data: bytes, rng: Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 40))):
        if out:
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def _edit_header(data: bytes, rng: Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 2, 4))):
        if out:
            out[rng.randrange(min(len(out), 64))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(out)


def _overwrite_run(data: bytes, rng: Random) -> bytes:
    at, length = rng.randrange(len(data) + 1), rng.choice((1, 4, 16, 64, 300))
    run = bytes([rng.randrange(256)]) * length if rng.random() < 0.5 else rng.randbytes(length)
    return data[:at] + run + data[at + length :]


def _insert_run(data: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.choice((1, 2, 7, 64, 1000))) + data[at:]


def _cut(data: bytes, rng: Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _remove_run(data: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.choice((1, 2, 8, 100)) :]


def _edit_number(data: bytes, rng: Random) -> bytes:
    """Writes a number at the edge of its range where a length, a size or an offset may be."""
    size = rng.choice((2, 4))
    if len(data) < size:
        return data
    at = rng.randrange(len(data) - size + 1)
    value = rng.choice(INTERESTING) & (2 ** (8 * size) - 1)
    return data[:at] + value.to_bytes(size, rng.choice(("little", "big"))) + data[at + size :]


def _edit_length(data: bytes, rng: Random) -> bytes:
    """Changes the length field of one block."""
    blocks = blocks_of(data)
    if not blocks:
        return _edit_number(data, rng)
    at, _ = rng.choice(blocks)
    # Where a PNG, JPEG and RIFF block have their length.
    offset, size, order = (0, 4, "big") if data.startswith(b"\x89") else (2, 2, "big")
    if data.startswith(b"RIFF"):
        offset, size, order = 4, 4, "little"
    old = int.from_bytes(data[at + offset : at + offset + size], order)
    new = rng.choice((0, old - 1, old + 1, old * 2, *INTERESTING)) % 2 ** (8 * size)
    return data[: at + offset] + new.to_bytes(size, order) + data[at + offset + size :]


def _swap_blocks(data: bytes, rng: Random) -> bytes:
    blocks = blocks_of(data)
    if len(blocks) < 2:
        return data[len(data) // 2 :] + data[: len(data) // 2]
    (a, a_end), (b, b_end) = sorted(rng.sample(blocks, 2))
    return data[:a] + data[b:b_end] + data[a_end:b] + data[a:a_end] + data[b_end:]


def _repeat_block(data: bytes, rng: Random) -> bytes:
    start, end = rng.choice(blocks_of(data) or [(0, len(data) // 2)])
    return data[:end] + data[start:end] * rng.choice((1, 2, 30)) + data[end:]


def _drop_block(data: bytes, rng: Random) -> bytes:
    start, end = rng.choice(blocks_of(data) or [(len(data) // 3, len(data) // 2)])
    return data[:start] + data[end:]


def _splice(data: bytes, rng: Random) -> bytes:
    other = rng.choice(list(sources().values()))
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other)) :]


MUTATORS: dict[str, Mutator] = {
    "bits flipped": _flip_bits,
    "header edited": _edit_header,
    "run overwritten": _overwrite_run,
    "run inserted": _insert_run,
    "cut": _cut,
    "run removed": _remove_run,
    "number edited": _edit_number,
    "length edited": _edit_length,
    "blocks swapped": _swap_blocks,
    "block repeated": _repeat_block,
    "block dropped": _drop_block,
    "spliced": _splice,
}


def blocks_of(data: bytes) -> list[tuple[int, int]]:
    """Start and end of the chunks of a PNG, segments of a JPEG, chunks of a WebP, or entries of a TIFF's directory."""
    if data.startswith(PNG_SIGNATURE):
        return _walk(data, 8, lambda at: 12 + int.from_bytes(data[at : at + 4], "big"))
    if data.startswith(b"RIFF"):
        return _walk(data, 12, lambda at: 8 + (int.from_bytes(data[at + 4 : at + 8], "little") + 1) // 2 * 2)
    if data.startswith(b"\xff\xd8"):
        return _walk(data, 2, lambda at: 2 + int.from_bytes(data[at + 2 : at + 4], "big"))
    if data.startswith(b"II*\0"):
        at = int.from_bytes(data[4:8], "little")
        count = int.from_bytes(data[at : at + 2], "little")
        ends = [at + 2 + 12 * (number + 1) for number in range(min(count, 40))]
        return [(end - 12, end) for end in ends if end <= len(data)]
    return []


def _walk(data: bytes, at: int, length_at: Callable[[int], int]) -> list[tuple[int, int]]:
    blocks = []
    while at + 8 <= len(data) and len(blocks) < 40:
        end = min(at + length_at(at), len(data))
        blocks.append((at, end))
        at = end
    return blocks


def with_right_checksums(png: bytes) -> bytes:
    """Repairs what guards a PNG, so that the damage gets past the door."""
    out, at = bytearray(png), 8
    while at + 12 <= len(out):
        end = at + 12 + int.from_bytes(out[at : at + 4], "big")
        if end > len(out):
            break
        out[end - 4 : end] = zlib.crc32(out[at + 4 : end - 4]).to_bytes(4, "big")
        at = end
    return bytes(out)


if __name__ == "__main__":
    sys.stdout.buffer.write(mutation(int(sys.argv[1]), int(sys.argv[2])).data)

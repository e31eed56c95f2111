"""16 bits stay 16 bits, whatever the order of bytes, compression and layout."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from runtime.decode import decode_image
from runtime.errors import ImageError

DEEP = np.random.default_rng(2).integers(0, 65536, (33, 21, 4), dtype=np.uint16)
COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def _png(pixels: NDArray[np.uint16], *extra: tuple[bytes, bytes], interlaced: bool = False) -> bytes:
    """A PNG by hand, unfiltered; interlaced ones in the seven passes of Adam7."""
    height, width, channels = pixels.shape
    passes = [(0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1)]
    parts = [pixels[a::b, c::d] for a, b, c, d in passes] if interlaced else [pixels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for part in parts if part.size for row in part)
    header = struct.pack(">IIBBBBB", width, height, 16, COLOR_TYPES[channels], 0, 0, int(interlaced))
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_of_16_bits_is_exact(channels: int, interlaced: bool) -> None:
    picture = decode_image(_png(DEEP[..., :channels], interlaced=interlaced))
    assert picture.depth == 16
    np.testing.assert_array_equal(picture.pixels, DEEP[..., :channels])
    # planted fault: the upper halves alone, which is what Pillow gives
    assert ((picture.pixels >> 8) * 257 != DEEP[..., :channels]).any()


@pytest.mark.parametrize("channels", [1, 3])
def test_the_transparent_colour_is_compared_with_all_its_bits(channels: int) -> None:
    pixels = DEEP[..., :channels].copy()
    pixels[3, 4] = 0x1020
    pixels[3, 5] = 0x1021  # the same upper half
    key = struct.pack(f">{channels}H", *[0x1020] * channels)
    picture = decode_image(_png(pixels, (b"tRNS", key)))
    assert picture.alpha is not None
    assert np.argwhere(picture.alpha == 0).tolist() == [[3, 4]]
    np.testing.assert_array_equal(picture.colors, pixels)


def _tiff(pixels: NDArray[np.uint16], order: str, compressed: bool, **options: object) -> bytes:
    """A TIFF by tifffile, which is no part of what is tested."""
    file = io.BytesIO()
    more = {"compression": "zlib", "predictor": False} if compressed else {}
    tifffile.imwrite(file, pixels, byteorder=order, **({"photometric": "rgb"} | more | options))
    return file.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_of_16_bits_is_exact(order: str, compressed: bool) -> None:
    np.testing.assert_array_equal(decode_image(_tiff(DEEP[..., :3], order, compressed)).pixels, DEEP[..., :3])
    alpha = _tiff(DEEP, order, compressed, extrasamples=["unassalpha"])
    np.testing.assert_array_equal(decode_image(alpha).pixels, DEEP)
    nothing = _tiff(DEEP, order, compressed, extrasamples=["unspecified"])
    np.testing.assert_array_equal(decode_image(nothing).pixels, DEEP[..., :3])


def test_premultiplied_colours_are_divided_by_their_alpha() -> None:
    straight = DEEP.copy()
    straight[..., 3] |= 0x4000
    premultiplied = straight.copy()
    product = straight[..., :3].astype(np.uint64) * straight[..., 3:] + 32767
    premultiplied[..., :3] = product // 65535
    found = decode_image(_tiff(premultiplied, "<", False, extrasamples=["assocalpha"])).pixels
    np.testing.assert_array_equal(found[..., 3], straight[..., 3])
    assert np.abs(found.astype(int) - straight).max() <= 2


def test_a_tiff_that_is_turned_is_upright() -> None:
    data = _tiff(DEEP[..., :3], "<", False, extratags=[(274, "H", 1, 6, True)])
    np.testing.assert_array_equal(decode_image(data).pixels, np.rot90(DEEP[..., :3], -1))


@pytest.mark.parametrize("compressed", [False, True])
def test_what_cannot_be_read_with_all_its_bits_is_refused_not_cut(compressed: bool) -> None:
    planes = np.ascontiguousarray(DEEP[..., :3].transpose(2, 0, 1))
    planar = _tiff(planes, "<", compressed, photometric="rgb", planarconfig="separate")
    cmyk = _tiff(DEEP, "<", compressed, photometric="separated")
    for data in (planar, cmyk):
        with pytest.raises(ImageError) as caught:
            decode_image(data)
        assert caught.value.status == 422
        assert caught.value.code in {"unsupported_depth", "corrupt"}

"""PNG and TIFF of our own making, read by programs that are not ours."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from runtime.decode import decode_image
from runtime.lossless import png_bytes, tiff_bytes
from runtime.picture import Picture

DEEP = np.random.default_rng(6).integers(0, 65536, (37, 21, 4), dtype=np.uint16)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# More than one band of 4 MiB, and its last one shorter; neighbours differ, so a seam between bands would show.
TALL = np.random.default_rng(7).integers(0, 65536, (1500, 700, 3), dtype=np.uint16)


def _picture(pixels: np.ndarray, channels: int, depth: int, icc: bytes | None = None) -> Picture:
    values = np.ascontiguousarray(pixels[..., :channels])
    return Picture(values if depth == 16 else (values >> 8).astype(np.uint8), icc)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(37, 21), (1, 1), (1, 9), (9, 1)])
def test_nothing_is_lost(size: tuple[int, int], channels: int, depth: int) -> None:
    picture = _picture(DEEP[: size[0], : size[1]], channels, depth)
    np.testing.assert_array_equal(decode_image(png_bytes(picture)).pixels, picture.pixels)
    found = decode_image(tiff_bytes(picture))
    assert found.depth == depth
    if (channels, depth) == (2, 16):  # written as RGBA, see there
        np.testing.assert_array_equal(found.pixels, picture.pixels[..., [0, 0, 0, 1]])
    else:
        np.testing.assert_array_equal(found.pixels, picture.pixels)


@pytest.mark.parametrize("depth", [8, 16])
def test_bands_follow_each_other_without_a_seam(depth: int) -> None:
    picture = _picture(TALL, 3, depth)
    assert picture.pixels.nbytes > 2 * 2**20
    for data in (png_bytes(picture), tiff_bytes(picture)):
        np.testing.assert_array_equal(decode_image(data).pixels, picture.pixels)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("depth", [8, 16])
def test_tifffile_reads_our_tiff(channels: int, depth: int) -> None:
    if depth == 16 and sys.byteorder == "big":
        pytest.skip("tifffile decodes predictors in its own byte order")
    picture = _picture(DEEP, channels, depth, PROFILE)
    with tifffile.TiffFile(io.BytesIO(tiff_bytes(picture))) as file:
        page = file.pages[0]
        assert (page.imagewidth, page.imagelength, page.bitspersample) == (21, 37, depth)
        assert page.tags[34675].value == PROFILE
        assert page.predictor == 2


def test_pillow_verifies_our_png() -> None:
    data = png_bytes(_picture(DEEP, 4, 8, PROFILE))
    image = Image.open(io.BytesIO(data))
    image.verify()  # checksums of all chunks
    assert Image.open(io.BytesIO(data)).info["icc_profile"] == PROFILE
    broken = bytearray(data)
    broken[-20] ^= 1
    with pytest.raises((SyntaxError, OSError)):
        Image.open(io.BytesIO(bytes(broken))).verify()


def test_photographs_stay_small() -> None:
    sample = Path(__file__).parents[2] / "zoo" / "denoise" / "sample-restored.png"
    picture = decode_image(sample.read_bytes())
    file = io.BytesIO()
    Image.fromarray(picture.pixels).save(file, "PNG")
    assert len(png_bytes(picture)) < 1.25 * len(file.getvalue())
    assert len(png_bytes(picture)) < 0.8 * picture.pixels.nbytes

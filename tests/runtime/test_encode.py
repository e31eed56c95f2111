import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageCms

from runtime.decode import decode_image
from runtime.encode import WRITTEN_FORMATS, encode_image
from runtime.errors import ImageError
from runtime.picture import Picture, to_uint8


def _rgb(height: int = 9, width: int = 13) -> np.ndarray:
    return np.random.default_rng(3).random((3, height, width), dtype=np.float32)


def _opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


# What a TIFF cannot do without, and its profile; no other format has any tags.
STRUCTURE = {256, 257, 258, 259, 262, 273, 277, 278, 279, 317, 338, 34675}


@pytest.mark.parametrize("kind", ["png", "webp", "tiff"])
@pytest.mark.parametrize("alpha", [False, True])
def test_lossless_formats_give_back_what_was_written(kind: str, alpha: bool) -> None:
    opacity = np.linspace(0.1, 1, 9 * 13, dtype=np.float32).reshape(9, 13) if alpha else None
    picture = Picture.from_float(_rgb(), alpha=opacity)
    again = decode_image(encode_image(picture, kind))
    np.testing.assert_array_equal(to_uint8(again.rgb), to_uint8(picture.rgb))
    if opacity is None:
        assert again.alpha is None
    else:
        assert again.alpha is not None
        np.testing.assert_array_equal(to_uint8(again.alpha), to_uint8(opacity))


def test_jpeg_is_close_and_keeps_the_resolution_of_colours() -> None:
    rgb = np.zeros((3, 16, 16), dtype=np.float32)
    rgb[0, :, ::2] = 1.0  # red lines of one pixel would be smeared at half the resolution
    data = encode_image(Picture.from_float(rgb), "jpeg")
    assert np.abs(decode_image(data).rgb - rgb).max() < 0.1


@pytest.mark.parametrize(
    ("kind", "modes"), [("png", ("L", "LA")), ("tiff", ("L", "LA")), ("jpeg", ("L", "L")), ("webp", ("RGB", "RGBA"))]
)
def test_gray_is_written_with_one_channel(kind: str, modes: tuple[str, str]) -> None:
    rgb = np.repeat(_rgb()[:1], 3, axis=0)
    alpha = np.full(rgb.shape[1:], 0.5, dtype=np.float32)
    for opacity, mode in zip((None, alpha), modes, strict=True):
        image = _opened(encode_image(Picture.from_float(rgb, alpha=opacity, gray=True), kind))
        assert image.mode == mode


def test_jpeg_puts_transparent_pictures_on_white() -> None:
    rgb = np.zeros((3, 16, 16), dtype=np.float32)
    alpha = np.zeros((16, 16), dtype=np.float32)
    alpha[:, 8:] = 1.0
    for gray in (False, True):
        result = decode_image(encode_image(Picture.from_float(rgb, alpha=alpha, gray=gray), "jpeg", 100)).rgb
        assert result[:, :, :8].min() > 0.98
        assert result[:, :, 8:].max() < 0.02


@pytest.mark.parametrize("kind", WRITTEN_FORMATS)
def test_the_profile_is_kept_and_nothing_else_is_there(kind: str) -> None:
    image = _opened(encode_image(Picture.from_float(_rgb(), icc=PROFILE), kind))
    assert image.info["icc_profile"] == PROFILE
    assert set(image.getexif()) <= STRUCTURE
    assert "icc_profile" not in _opened(encode_image(Picture.from_float(_rgb()), kind)).info


def test_metadata_of_the_source_does_not_come_out(encode: Callable[..., bytes]) -> None:
    exif = Image.Exif()
    exif[0x010E] = "home address"
    exif[0x0112] = 6
    data = encode(Image.new("RGB", (8, 8)), "JPEG", exif=exif)
    assert b"home address" in data
    for kind in WRITTEN_FORMATS:
        result = encode_image(decode_image(data), kind)
        assert b"home address" not in result
        assert set(_opened(result).getexif()) <= STRUCTURE


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_quality_changes_the_size(kind: str) -> None:
    picture = Picture.from_float(_rgb(64, 64))
    sizes = [len(encode_image(picture, kind, quality)) for quality in (1, 50, 100)]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_a_quality_out_of_range_is_refused(quality: int) -> None:
    with pytest.raises(ImageError, match="from 1 to 100") as caught:
        encode_image(Picture.from_float(_rgb()), "jpeg", quality)
    assert (caught.value.code, caught.value.status) == ("bad_quality", 422)


def test_an_unknown_format_is_refused_with_the_list() -> None:
    with pytest.raises(ImageError, match="png, jpeg, webp, tiff") as caught:
        encode_image(Picture.from_float(_rgb()), "gif")
    assert caught.value.status == 422


def test_a_side_the_format_cannot_hold_is_refused_with_the_limit() -> None:
    long = Picture.from_float(np.zeros((3, 1, 16_384), dtype=np.float32))
    with pytest.raises(ImageError, match="16383") as caught:
        encode_image(long, "webp")
    assert (caught.value.code, caught.value.status) == ("side_too_long", 422)
    assert _opened(encode_image(long, "png")).size == (16_384, 1)
    with pytest.raises(ImageError, match="65535"):
        encode_image(Picture.from_float(np.zeros((3, 65_536, 1), dtype=np.float32)), "jpeg")


DEEP = np.random.default_rng(6).integers(0, 65536, (9, 13, 4), dtype=np.uint16)


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_16_bits_are_rounded_to_8_where_the_format_has_no_more(kind: str) -> None:
    ramp = np.tile(np.arange(0, 65536, 64, dtype=np.uint16)[None, :, None], (8, 1, 3))
    again = decode_image(encode_image(Picture(ramp), kind, 100 if kind == "jpeg" else None))
    assert again.depth == 8
    if kind == "webp":
        np.testing.assert_array_equal(again.pixels, np.floor(ramp / 257 + 0.5))
    assert np.abs(again.pixels - ramp / 257).max() < 3
    # planted fault: cutting off the low byte is another picture
    assert ((ramp >> 8) != np.floor(ramp / 257 + 0.5)).any()


def test_jpeg_of_16_bits_with_alpha_is_put_on_white() -> None:
    pixels = np.zeros((8, 8, 2), dtype=np.uint16)
    pixels[:, 4:, 1] = 65535
    result = decode_image(encode_image(Picture(pixels), "jpeg", 100)).pixels[..., 0]
    assert result[:, :4].min() > 250
    assert result[:, 4:].max() < 5


@pytest.mark.parametrize("kind", WRITTEN_FORMATS)
def test_exif_is_written_where_the_picture_carries_it(kind: str, encode: Callable[..., bytes]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Maker"
    exif[0x8769] = {0x9003: "2026:01:02 03:04:05", 0xA002: 999}
    source = encode(Image.new("RGB", (12, 8)), "JPEG", exif=exif)
    picture = decode_image(source, keep_metadata=True)
    found = _opened(encode_image(picture, kind)).getexif()
    assert found[0x010F] == "Maker"
    assert 0x0112 not in found
    assert found.get_ifd(0x8769) == {0x9003: "2026:01:02 03:04:05"}


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("kind", WRITTEN_FORMATS)
def test_the_programs_of_others_agree_on_the_pixels(kind: str, depth: int) -> None:
    pixels = DEEP if depth == 16 else (DEEP >> 8).astype(np.uint8)
    for channels in (1, 2, 3, 4):
        picture = Picture(np.ascontiguousarray(pixels[..., :channels]))
        image = _opened(encode_image(picture, kind))  # Pillow, not our own reader
        assert image.size == (13, 9)
        if kind in {"png", "tiff"} and depth == 8:
            np.testing.assert_array_equal(np.asarray(image).reshape(picture.pixels.shape), picture.pixels)

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageCms

from runtime.decode import decode_image
from runtime.encode import WRITTEN_FORMATS, encode_image, to_uint8
from runtime.errors import ImageError
from runtime.picture import Picture


def _rgb(height: int = 9, width: int = 13) -> np.ndarray:
    return np.random.default_rng(3).random((3, height, width), dtype=np.float32)


def _opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_rounding_is_half_up_and_clipped() -> None:
    values = np.asarray([-1.0, 0.0, 0.49 / 255, 0.5 / 255, 1.5 / 255, 254.49 / 255, 1.0, 2.0], dtype=np.float32)
    assert to_uint8(values).tolist() == [0, 0, 0, 1, 2, 254, 255, 255]


def test_every_8_bit_value_survives() -> None:
    values = np.arange(256, dtype=np.float32) / np.float32(255)
    assert to_uint8(values).tolist() == list(range(256))


@pytest.mark.parametrize("kind", ["png", "webp"])
@pytest.mark.parametrize("alpha", [False, True])
def test_lossless_formats_give_back_what_was_written(kind: str, alpha: bool) -> None:
    opacity = np.linspace(0.1, 1, 9 * 13, dtype=np.float32).reshape(9, 13) if alpha else None
    picture = Picture(rgb=_rgb(), alpha=opacity)
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
    data = encode_image(Picture(rgb=rgb), "jpeg")
    assert np.abs(decode_image(data).rgb - rgb).max() < 0.1


@pytest.mark.parametrize(("kind", "modes"), [("png", ("L", "LA")), ("jpeg", ("L", "L")), ("webp", ("RGB", "RGBA"))])
def test_gray_is_written_with_one_channel(kind: str, modes: tuple[str, str]) -> None:
    rgb = np.repeat(_rgb()[:1], 3, axis=0)
    alpha = np.full(rgb.shape[1:], 0.5, dtype=np.float32)
    for opacity, mode in zip((None, alpha), modes, strict=True):
        image = _opened(encode_image(Picture(rgb=rgb, alpha=opacity, gray=True), kind))
        assert image.mode == mode


def test_jpeg_puts_transparent_pictures_on_white() -> None:
    rgb = np.zeros((3, 16, 16), dtype=np.float32)
    alpha = np.zeros((16, 16), dtype=np.float32)
    alpha[:, 8:] = 1.0
    for gray in (False, True):
        result = decode_image(encode_image(Picture(rgb=rgb, alpha=alpha, gray=gray), "jpeg", 100)).rgb
        assert result[:, :, :8].min() > 0.98
        assert result[:, :, 8:].max() < 0.02


@pytest.mark.parametrize("kind", WRITTEN_FORMATS)
def test_the_profile_is_kept_and_nothing_else_is_there(kind: str) -> None:
    image = _opened(encode_image(Picture(rgb=_rgb(), icc=PROFILE), kind))
    assert image.info["icc_profile"] == PROFILE
    assert not image.getexif()
    assert "icc_profile" not in _opened(encode_image(Picture(rgb=_rgb()), kind)).info


def test_metadata_of_the_source_does_not_come_out(encode: Callable[..., bytes]) -> None:
    exif = Image.Exif()
    exif[0x010E] = "home address"
    exif[0x0112] = 6
    data = encode(Image.new("RGB", (8, 8)), "JPEG", exif=exif)
    assert b"home address" in data
    for kind in WRITTEN_FORMATS:
        result = encode_image(decode_image(data), kind)
        assert b"home address" not in result
        assert not _opened(result).getexif()


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_quality_changes_the_size(kind: str) -> None:
    picture = Picture(rgb=_rgb(64, 64))
    sizes = [len(encode_image(picture, kind, quality)) for quality in (1, 50, 100)]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_a_quality_out_of_range_is_refused(quality: int) -> None:
    with pytest.raises(ImageError, match="from 1 to 100") as caught:
        encode_image(Picture(rgb=_rgb()), "jpeg", quality)
    assert (caught.value.code, caught.value.status) == ("bad_quality", 422)


def test_an_unknown_format_is_refused_with_the_list() -> None:
    with pytest.raises(ImageError, match="png, jpeg, webp") as caught:
        encode_image(Picture(rgb=_rgb()), "tiff")
    assert caught.value.status == 422


def test_a_side_the_format_cannot_hold_is_refused_with_the_limit() -> None:
    long = Picture(rgb=np.zeros((3, 1, 16_384), dtype=np.float32))
    with pytest.raises(ImageError, match="16383") as caught:
        encode_image(long, "webp")
    assert (caught.value.code, caught.value.status) == ("side_too_long", 422)
    assert _opened(encode_image(long, "png")).size == (16_384, 1)
    with pytest.raises(ImageError, match="65535"):
        encode_image(Picture(rgb=np.zeros((3, 65_536, 1), dtype=np.float32)), "jpeg")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_numbers_never_become_black(value: float) -> None:
    rgb = _rgb()
    rgb[1, 2, 3] = value
    with pytest.raises(ImageError, match="not numbers") as caught:
        encode_image(Picture(rgb=rgb), "png")
    assert (caught.value.code, caught.value.status) == ("not_finite", 500)

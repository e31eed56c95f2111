"""Right pixels from every kind of file that is read."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from runtime.decode import decode_image
from runtime.errors import ImageError
from runtime.picture import ImageLimits, Picture

Encode = Callable[..., bytes]


def _noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)


def _rgb8(picture: Picture) -> NDArray[np.uint8]:
    """(H, W, 3), exact for values that came from 8 bits."""
    return np.rint(picture.rgb.transpose(1, 2, 0) * 255).astype(np.uint8)


def _png(width: int, height: int, depth: int, color: int, rows: list[bytes], *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG by hand, for kinds Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [(b"IHDR", header), *extra, (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def _tiff(width: int, height: int, bits: int, photometric: int, data: bytes) -> bytes:
    """A gray TIFF by hand, one strip."""
    tags = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, bits),
        (259, 3, 1),
        (262, 3, photometric),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, height),
        (279, 4, len(data)),
    ]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, kind, 1, v) for tag, kind, v in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + bytes(4)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "WEBP"])
def test_lossless_rgb_is_exact(encode: Encode, kind: str) -> None:
    pixels = _noise(13, 21, 3)
    picture = decode_image(encode(Image.fromarray(pixels), kind, lossless=True))
    np.testing.assert_array_equal(_rgb8(picture), pixels)
    assert picture.rgb.dtype == np.float32
    assert picture.rgb.shape == (3, 13, 21)
    assert (picture.height, picture.width) == (13, 21)
    assert picture.alpha is None
    assert not picture.gray
    assert picture.rgb.flags.c_contiguous


def test_white_and_black_are_exactly_one_and_zero(encode: Encode) -> None:
    picture = decode_image(encode(Image.fromarray(np.asarray([[0, 255]], dtype=np.uint8)), "PNG"))
    assert picture.rgb[:, 0].tolist() == [[0.0, 1.0]] * 3


def test_a_jpeg_is_what_its_decoder_says(encode: Encode) -> None:
    data = encode(Image.fromarray(_noise(24, 40, 3)), "JPEG")
    np.testing.assert_array_equal(_rgb8(decode_image(data)), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "BMP", "GIF"])
def test_gray_stays_gray(encode: Encode, kind: str) -> None:
    pixels = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (8, 1))
    picture = decode_image(encode(Image.fromarray(pixels), kind, quality=100))
    if kind in {"PNG", "TIFF", "JPEG"}:
        assert picture.gray
    assert (picture.rgb[0] == picture.rgb[1]).all()
    assert (picture.rgb[0] == picture.rgb[2]).all()
    assert np.abs(_rgb8(picture)[..., 0].astype(int) - pixels).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_one_bit_becomes_black_and_white(encode: Encode, kind: str) -> None:
    pixels = _noise(9, 11) > 127
    picture = decode_image(encode(Image.fromarray(pixels), kind))
    np.testing.assert_array_equal(picture.rgb[0], pixels.astype(np.float32))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_kept_beside_the_colours(encode: Encode, kind: str) -> None:
    pixels = _noise(10, 12, 4)
    picture = decode_image(encode(Image.fromarray(pixels), kind, lossless=True, exact=True))
    np.testing.assert_array_equal(_rgb8(picture), pixels[..., :3])
    assert picture.alpha is not None
    np.testing.assert_array_equal(np.rint(picture.alpha * 255), pixels[..., 3])


def test_gray_with_alpha(encode: Encode) -> None:
    pixels = _noise(10, 12, 2)
    picture = decode_image(encode(Image.fromarray(pixels), "PNG"))
    assert picture.gray
    assert picture.alpha is not None
    np.testing.assert_array_equal(np.rint(picture.rgb[1] * 255), pixels[..., 0])
    np.testing.assert_array_equal(np.rint(picture.alpha * 255), pixels[..., 1])


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_a_palette_becomes_rgb(encode: Encode, kind: str) -> None:
    image = Image.fromarray(_noise(16, 16, 3)).quantize(31)
    picture = decode_image(encode(image, kind))
    np.testing.assert_array_equal(_rgb8(picture), np.asarray(image.convert("RGB")))
    assert not picture.gray
    assert picture.alpha is None


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_palette_with_a_transparent_entry_becomes_rgb_with_alpha(encode: Encode, kind: str) -> None:
    image = Image.fromarray(_noise(16, 16, 3)).quantize(31)
    hidden = np.asarray(image) == 3
    assert hidden.any()
    picture = decode_image(encode(image, kind, transparency=3))
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, np.where(hidden, 0.0, 1.0))


def test_a_palette_with_an_alpha_for_each_entry(encode: Encode) -> None:
    image = Image.fromarray(_noise(16, 16, 3)).quantize(4)
    alphas = np.asarray([0, 80, 160, 255])
    picture = decode_image(encode(image, "PNG", transparency=bytes(alphas.tolist())))
    assert picture.alpha is not None
    np.testing.assert_array_equal(np.rint(picture.alpha * 255), alphas[np.asarray(image)])


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_the_transparent_gray_of_a_png_is_in_its_own_depth(depth: int) -> None:
    count = 8 // depth
    row = bytes(range(8)) if depth == 8 else bytes([0b00011011, 0b11100100])
    values = [byte >> (8 - depth * (i + 1)) & (2**depth - 1) for byte in row for i in range(count)]
    key = values[1]
    picture = decode_image(_png(len(values), 1, depth, 0, [row], (b"tRNS", struct.pack(">H", key))))
    np.testing.assert_allclose(picture.rgb[0, 0], np.asarray(values) / (2**depth - 1), atol=1e-6)
    assert picture.gray
    assert picture.alpha is not None
    assert picture.alpha[0].tolist() == [float(value != key) for value in values]


def test_the_transparent_colour_of_a_png(encode: Encode) -> None:
    pixels = _noise(6, 6, 3)
    pixels[2, 3] = pixels[4, 1] = (10, 20, 30)
    picture = decode_image(encode(Image.fromarray(pixels), "PNG", transparency=(10, 20, 30)))
    assert picture.alpha is not None
    assert np.argwhere(picture.alpha == 0).tolist() == [[2, 3], [4, 1]]
    np.testing.assert_array_equal(_rgb8(picture), pixels)


def test_the_transparent_colour_of_a_png_of_16_bits() -> None:
    row = struct.pack(">6H", 0x1020, 0x3040, 0x5060, 0xFFFF, 0, 0xFFFF)
    picture = decode_image(_png(2, 1, 16, 2, [row], (b"tRNS", struct.pack(">3H", 0x1020, 0x3040, 0x5060))))
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[0.0, 1.0]]


DEEP = np.asarray([[0, 1, 255, 256, 4095, 32768, 65534, 65535]], dtype=np.uint16)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_gray_of_16_bits_is_scaled_not_clipped(encode: Encode, kind: str) -> None:
    data = encode(Image.fromarray(DEEP), kind)
    picture = decode_image(data)
    np.testing.assert_allclose(picture.rgb[1], DEEP / 65535, atol=1e-7)
    assert picture.gray
    # planted fault: what Pillow's own conversion makes of it
    clipped = np.asarray(Image.open(io.BytesIO(data)).convert("L")) / 255
    assert np.abs(clipped - DEEP / 65535).max() > 0.9


def test_gray_of_16_bits_of_the_other_byte_order(encode: Encode) -> None:
    data = encode(Image.frombytes("I;16B", (8, 1), DEEP.astype(">u2").tobytes()), "TIFF")
    assert data.startswith(b"MM")
    np.testing.assert_allclose(decode_image(data).rgb[0], DEEP / 65535, atol=1e-7)


def test_gray_of_16_bits_with_a_transparent_value() -> None:
    picture = decode_image(_png(8, 1, 16, 0, [DEEP.astype(">u2").tobytes()], (b"tRNS", struct.pack(">H", 256))))
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[1, 1, 1, 0, 1, 1, 1, 1]]


def test_gray_of_16_bits_where_white_is_zero() -> None:
    picture = decode_image(_tiff(8, 1, 16, 0, DEEP.astype("<u2").tobytes()))
    np.testing.assert_allclose(picture.rgb[0], 1 - DEEP / 65535, atol=1e-7)


def test_gray_of_12_bits_is_white_at_4095() -> None:
    # two pixels in three bytes: 0xFFF and 0x800
    picture = decode_image(_tiff(2, 1, 12, 1, bytes([0xFF, 0xF8, 0x00])))
    np.testing.assert_allclose(picture.rgb[0, 0], [1.0, 0x800 / 4095], atol=1e-5)
    assert picture.depth == 16


@pytest.mark.parametrize("channels", [3, 4])
def test_colours_of_16_bits_keep_all_of_them(channels: int) -> None:
    values = np.random.default_rng(2).integers(0, 65536, (5, 7, channels), dtype=np.uint16)
    rows = [row.astype(">u2").tobytes() for row in values]
    picture = decode_image(_png(7, 5, 16, 2 if channels == 3 else 6, rows))
    exact = values[..., :3].transpose(2, 0, 1) / 65535
    np.testing.assert_array_equal(picture.pixels, values)
    np.testing.assert_allclose(picture.rgb, exact, atol=1e-7)


def test_depths_of_which_nobody_knows_the_white_are_refused(encode: Encode) -> None:
    for array in (np.ones((4, 4), np.float32), np.ones((4, 4), np.int32)):
        with pytest.raises(ImageError, match="32 bits") as caught:
            decode_image(encode(Image.fromarray(array), "TIFF"))
        assert (caught.value.code, caught.value.status) == ("unsupported_depth", 422)


def test_colours_pillow_cannot_convert_are_refused(encode: Encode) -> None:
    with pytest.raises(ImageError, match="LAB") as caught:
        decode_image(encode(Image.new("LAB", (4, 4)), "TIFF"))
    assert (caught.value.code, caught.value.status) == ("unsupported_color", 422)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(encode: Encode, kind: str) -> None:
    # Pillow writes CMYK JPEG files inverted, with Adobe's marker, like Photoshop.
    ink = np.zeros((16, 16, 4), dtype=np.uint8)
    ink[:, :8] = (255, 0, 0, 0)
    ink[:, 8:] = (0, 255, 255, 0)
    picture = decode_image(encode(Image.fromarray(ink, mode="CMYK"), kind, quality=100))
    np.testing.assert_allclose(picture.rgb[:, 4, 3], [0, 1, 1], atol=0.03)  # cyan ink
    np.testing.assert_allclose(picture.rgb[:, 4, 12], [1, 0, 0], atol=0.03)  # magenta and yellow ink
    assert not picture.gray


def test_ycbcr_tiff_becomes_rgb(encode: Encode) -> None:
    pixels = np.full((8, 8, 3), (200, 100, 50), dtype=np.uint8)
    data = encode(Image.fromarray(pixels).convert("YCbCr"), "TIFF")
    assert np.abs(_rgb8(decode_image(data)).astype(int) - pixels).max() <= 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(encode: Encode, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(_noise(16, 24, 4 if kind == "PNG" else 3))
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    data = encode(image, kind, exif=exif, **options)
    picture = decode_image(data)
    reference = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(_rgb8(picture), np.asarray(reference)[..., :3])
    assert picture.rgb.shape[1:] == ((24, 16) if orientation >= 5 else (16, 24))
    if kind == "PNG":
        assert picture.alpha is not None
        np.testing.assert_array_equal(np.rint(picture.alpha * 255), np.asarray(reference)[..., 3])


@pytest.mark.parametrize(
    "exif",
    [b"Exif\0\0", b"Exif\0\0rubbish rubbish", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0" + b"\xff" * 9000],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_broken_exif_tag_is_dropped(encode: Encode, kind: str, exif: bytes) -> None:
    pixels = np.full((8, 8, 3), 128, dtype=np.uint8)
    picture = decode_image(encode(Image.fromarray(pixels), kind, exif=exif))
    assert picture.rgb.shape == (3, 8, 8)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_does_not_exist_is_none(encode: Encode, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = _noise(4, 6, 3)
    np.testing.assert_array_equal(_rgb8(decode_image(encode(Image.fromarray(pixels), "PNG", exif=exif))), pixels)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_profile_that_fits_is_kept_as_it_is(encode: Encode, kind: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decode_image(encode(Image.new("RGB", (4, 4)), kind, icc_profile=profile)).icc == profile


def test_a_profile_that_does_not_fit_is_dropped(encode: Encode) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert decode_image(encode(Image.new("L", (4, 4)), "PNG", icc_profile=profile)).icc is None
    assert decode_image(encode(Image.new("RGB", (4, 4)), "JPEG", icc_profile=lab)).icc is None
    assert decode_image(encode(Image.new("RGB", (4, 4)), "JPEG", icc_profile=b"rubbish" * 30)).icc is None
    gray = profile[:16] + b"GRAY" + profile[20:]
    assert decode_image(encode(Image.new("L", (4, 4)), "PNG", icc_profile=gray)).icc == gray


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_several_pictures_are_refused_and_a_single_one_is_not(encode: Encode, kind: str) -> None:
    frames = [Image.fromarray(_noise(8, 8, 3)), Image.new("RGB", (8, 8), "red")]
    with pytest.raises(ImageError, match="several pictures") as caught:
        decode_image(encode(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert (caught.value.code, caught.value.status) == ("animated", 422)
    assert decode_image(encode(frames[0], kind, save_all=True)).rgb.shape == (3, 8, 8)


def test_of_the_several_pictures_of_a_phone_the_first_is_taken(encode: Encode) -> None:
    frames = [Image.new("RGB", (16, 16), "red"), Image.new("RGB", (8, 8), "blue")]
    picture = decode_image(encode(frames[0], "MPO", save_all=True, append_images=frames[1:]))
    np.testing.assert_allclose(picture.rgb[:, 8, 8], [1, 0, 0], atol=0.02)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_a_tail_is_no_part_of_the_picture(encode: Encode, kind: str) -> None:
    data = encode(Image.fromarray(_noise(8, 8, 3)), kind)
    with_tail = decode_image(data + b"PK\x03\x04<script>alert(1)</script>")
    np.testing.assert_array_equal(with_tail.rgb, decode_image(data).rgb)


@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (940, 2), (3, 3)])
def test_extreme_sizes_are_read(encode: Encode, size: tuple[int, int]) -> None:
    picture = decode_image(encode(Image.new("RGB", size), "PNG"))
    assert (picture.width, picture.height) == size


def test_text_in_a_png_is_dropped(encode: Encode) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "taken at 52.5 N, 13.4 E")
    assert decode_image(encode(Image.new("RGB", (4, 4)), "PNG", pnginfo=info)).icc is None


def test_limits_are_inclusive(encode: Encode) -> None:
    data = encode(Image.new("L", (20, 10)), "PNG")
    limits = ImageLimits(max_pixels=200, max_bytes=len(data))
    assert decode_image(data, limits).width == 20
    for smaller, code in (
        (ImageLimits(max_pixels=199, max_bytes=len(data)), "too_many_pixels"),
        (ImageLimits(max_pixels=200, max_bytes=len(data) - 1), "too_many_bytes"),
    ):
        with pytest.raises(ImageError) as caught:
            decode_image(data, smaller)
        assert (caught.value.code, caught.value.status) == (code, 413)

import numpy as np
import pytest

from runtime.errors import ImageError
from runtime.picture import Picture, to_integers, to_uint8

RGB = np.random.default_rng(0).random((3, 4, 5), dtype=np.float32)
NOISE = np.random.default_rng(1).integers(0, 65536, (4, 5, 4), dtype=np.uint16)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_picture_says_what_it_is(channels: int, depth: int) -> None:
    pixels = np.ascontiguousarray(NOISE[..., :channels])
    picture = Picture(pixels if depth == 16 else (pixels >> 8).astype(np.uint8), icc=b"profile", exif=b"exif")
    assert (picture.height, picture.width, picture.depth) == (4, 5, depth)
    assert picture.white == 2**depth - 1
    assert picture.gray == (channels < 3)
    assert picture.has_alpha == (channels in {2, 4})
    assert picture.colors.shape == (4, 5, 1 if channels < 3 else 3)
    assert (picture.alpha is not None) == picture.has_alpha
    assert picture.rgb.shape == (3, 4, 5)
    assert picture.rgb.dtype == np.float32
    assert picture.rgb.flags.c_contiguous
    if picture.gray:
        assert (picture.rgb[0] == picture.rgb[2]).all()


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("alpha", [None, RGB[1]])
def test_floats_and_integers_are_the_same_picture(depth: int, gray: bool, alpha: np.ndarray | None) -> None:
    picture = Picture.from_float(RGB, alpha, gray=gray, depth=depth, icc=b"profile")
    assert picture.icc == b"profile"
    assert (picture.depth, picture.gray, picture.has_alpha) == (depth, gray, alpha is not None)
    half = 0.5001 / (2**depth - 1)
    np.testing.assert_allclose(picture.rgb, np.repeat(RGB[:1], 3, axis=0) if gray else RGB, atol=half)
    if alpha is not None:
        assert picture.alpha is not None
        np.testing.assert_allclose(picture.alpha, alpha, atol=half)
    again = Picture.from_float(picture.rgb, picture.alpha, gray=gray, depth=depth)
    np.testing.assert_array_equal(again.pixels, picture.pixels)


def test_rounding_is_half_up_and_clipped() -> None:
    values = np.asarray([-1.0, 0.0, 0.49 / 255, 0.5 / 255, 1.5 / 255, 254.49 / 255, 1.0, 2.0], dtype=np.float32)
    assert to_uint8(values).tolist() == [0, 0, 0, 1, 2, 254, 255, 255]
    assert to_integers(np.asarray([-1, 0.4 / 65535, 0.6 / 65535, 1, 9], np.float32), 16).tolist() == [
        0,
        0,
        1,
        65535,
        65535,
    ]


@pytest.mark.parametrize("depth", [8, 16])
def test_every_value_survives(depth: int) -> None:
    values = np.arange(2**depth, dtype=np.float32) / np.float32(2**depth - 1)
    assert to_integers(values, depth).tolist() == list(range(2**depth))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_numbers_never_become_black(value: float) -> None:
    rgb = RGB.copy()
    rgb[1, 2, 3] = value
    with pytest.raises(ImageError, match="not numbers") as caught:
        Picture.from_float(rgb)
    assert (caught.value.code, caught.value.status) == ("not_finite", 500)


@pytest.mark.parametrize(
    "pixels",
    [
        NOISE[0],
        NOISE[:, :0],
        NOISE[..., :3],  # not contiguous
        NOISE.astype(np.float32),
        NOISE.astype(np.int32),
        np.zeros((4, 5, 5), dtype=np.uint8),
        np.zeros((4, 5, 0), dtype=np.uint8),
    ],
)
def test_other_pixels_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"contiguous uint8 or uint16 of shape \(H, W, 1 to 4\)") as caught:
        Picture(pixels)
    assert (caught.value.code, caught.value.status) == ("bad_array", 422)


@pytest.mark.parametrize(
    "rgb",
    [RGB[0], RGB[:2], RGB[:, :0], RGB.astype(np.float64), (RGB * 255).astype(np.uint8), RGB.transpose(1, 2, 0)],
)
def test_other_floats_are_refused(rgb: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"float32 of shape \(3, H, W\)") as caught:
        Picture.from_float(rgb)
    assert caught.value.code == "bad_array"


@pytest.mark.parametrize("alpha", [RGB[0].T, RGB[:1], RGB[0].astype(np.float64)])
def test_an_alpha_of_another_shape_is_refused(alpha: np.ndarray) -> None:
    with pytest.raises(ImageError, match="alpha"):
        Picture.from_float(RGB, alpha)

"""Rows 27 to 34 and 44: sizes, depths and colours; every pixel is compared with one computed here."""

from __future__ import annotations

import io
import struct

import httpx
import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.serving.contract.pictures import (
    chunk,
    noise,
    png_file,
    read_png,
    saved,
    tiff_file,
    ycck_jpeg,
)
from tests.serving.contract.wire import check_refused, opened, send_form, shown

SAME = "/v1/derain"
DOUBLE = "/v1/super-resolution?scale=2"


def restored(client: httpx.Client, data: bytes, route: str = SAME, **headers: str) -> np.ndarray:
    return np.asarray(opened(send_form(client, route, data, **headers)))


@pytest.mark.core
@pytest.mark.row(27)
@pytest.mark.parametrize("size", [(1, 1), (1, 20000), (20000, 1), (2, 940), (3, 3), (64, 64), (65, 63), (129, 40)])
def test_27_any_size_comes_back_exactly(client: httpx.Client, size: tuple[int, int]) -> None:
    pixels = noise(*size, 3)
    np.testing.assert_array_equal(restored(client, saved(pixels)), pixels)


@pytest.mark.row(28)
def test_28_every_small_size_comes_back_exactly(client: httpx.Client) -> None:
    for side in range(1, 41):
        pixels = noise(side, 41 - side, 3)
        np.testing.assert_array_equal(restored(client, saved(pixels)), pixels)
        doubled = restored(client, saved(pixels), DOUBLE)
        np.testing.assert_array_equal(doubled, pixels.repeat(2, 0).repeat(2, 1))


@pytest.mark.row(29)
def test_29_gray_stays_gray(client: httpx.Client) -> None:
    pixels = noise(37, 53)
    result = opened(send_form(client, SAME, saved(pixels)))
    assert result.mode == "L"
    np.testing.assert_array_equal(np.asarray(result), pixels)


@pytest.mark.row(29)
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_29_few_gray_levels_are_spread_over_all(client: httpx.Client, bits: int) -> None:
    levels = noise(37, 53) >> (8 - bits)
    result = opened(send_form(client, SAME, png_file(levels, 0, bits=bits)))
    assert result.mode == "L"
    np.testing.assert_array_equal(np.asarray(result), levels * (255 // (2**bits - 1)))


PALETTE = noise(16, 3, seed=8)
INDEXES = noise(37, 53) % 16
PALETTE_CHUNK = chunk(b"PLTE", PALETTE.tobytes())


@pytest.mark.row(30)
def test_30_a_palette_becomes_rgb(client: httpx.Client) -> None:
    result = restored(client, png_file(INDEXES, 3, bits=4, extra=PALETTE_CHUNK))
    np.testing.assert_array_equal(result, PALETTE[INDEXES])


@pytest.mark.row(30)
def test_30_a_palette_with_transparency_becomes_rgba(client: httpx.Client) -> None:
    alphas = np.array([0, 128, *[255] * 14], np.uint8)
    data = png_file(INDEXES, 3, bits=4, extra=PALETTE_CHUNK + chunk(b"tRNS", alphas.tobytes()))
    result = restored(client, data)
    np.testing.assert_array_equal(result[..., 3], alphas[INDEXES])
    seen = INDEXES != 0
    np.testing.assert_array_equal(result[seen, :3], PALETTE[INDEXES][seen])


@pytest.mark.row(31)
@pytest.mark.parametrize("colours", [1, 3])
def test_31_alpha_is_kept(client: httpx.Client, colours: int) -> None:
    pixels = np.dstack([noise(37, 53, colours), np.tile(np.arange(53, dtype=np.uint8) * 4, (37, 1))])
    result = restored(client, saved(pixels))
    assert result.shape == pixels.shape
    np.testing.assert_array_equal(result[..., -1], pixels[..., -1])
    np.testing.assert_array_equal(result[:, 1:, :-1], pixels[:, 1:, :-1])


@pytest.mark.row(31)
def test_31_a_transparent_colour_becomes_alpha(client: httpx.Client) -> None:
    pixels = noise(20, 24, 3)
    pixels[5:9] = (10, 20, 30)
    result = restored(client, png_file(pixels, 2, extra=chunk(b"tRNS", struct.pack(">3H", 10, 20, 30))))
    hidden = (pixels == (10, 20, 30)).all(axis=-1)
    np.testing.assert_array_equal(result[..., 3], np.where(hidden, 0, 255))
    np.testing.assert_array_equal(result[~hidden, :3], pixels[~hidden])


@pytest.mark.row(31)
@pytest.mark.parametrize("scale", [2, 4])
def test_31_alpha_grows_with_the_picture_and_hidden_colours_do_not_bleed(client: httpx.Client, scale: int) -> None:
    pixels = np.full((20, 24, 4), (200, 100, 50, 255), dtype=np.uint8)
    pixels[:10] = (0, 255, 0, 0)
    result = restored(client, saved(pixels), f"/v1/super-resolution?scale={scale}")
    assert result.shape == (20 * scale, 24 * scale, 4)
    assert result[0, 0, 3] == 0
    assert result[-1, -1].tolist() == [200, 100, 50, 255]
    seen = result[result[..., 3] > 128]
    assert seen[:, 1].max() <= 102


@pytest.mark.row(31)
def test_31_alpha_is_resized_smoothly(client: httpx.Client) -> None:
    ramp = np.tile(np.linspace(20, 235, 40).astype(np.uint8), (30, 1))
    result = restored(client, saved(np.dstack([noise(30, 40, 3), ramp])), DOUBLE)
    # Between two columns of a ramp every interpolation gives nearly the same; repeating them would be off by more.
    places = (np.arange(80) + 0.5) / 2 - 0.5
    expected = np.interp(places, np.arange(40), ramp[0])
    np.testing.assert_allclose(result[:, 4:-4, 3].astype(float), np.tile(expected, (60, 1))[:, 4:-4], atol=1.2)


DEEP_GRAY = np.random.default_rng(6).integers(0, 65536, (37, 53)).astype(np.uint16)
DEEP_RGB = np.random.default_rng(7).integers(0, 65536, (37, 53, 3)).astype(np.uint16)
DEEP = {
    "gray PNG": (png_file(DEEP_GRAY, 0, bits=16), DEEP_GRAY),
    "RGB PNG": (png_file(DEEP_RGB, 2, bits=16), DEEP_RGB),
    "gray TIFF": (tiff_file(DEEP_GRAY), DEEP_GRAY),
    "RGB TIFF": (tiff_file(DEEP_RGB), DEEP_RGB),
}


@pytest.mark.core
@pytest.mark.row(32)
@pytest.mark.parametrize("case", DEEP)
def test_32_sixteen_bits_are_scaled_never_clipped(client: httpx.Client, case: str) -> None:
    data, samples = DEEP[case]
    response = send_form(client, SAME, data)
    if response.status_code == 422:
        check_refused(response, 422, "unsupported_depth")
        return
    assert response.status_code == 200, shown(response)
    result = read_png(response.content)
    levels = result / (257 if result.dtype == np.uint16 else 1)
    assert np.abs(levels.reshape(samples.shape) - samples / 257).mean() < 1


@pytest.mark.row(32)
@pytest.mark.parametrize("case", DEEP)
def test_32_sixteen_bits_come_back_exactly(client: httpx.Client, case: str) -> None:
    data, samples = DEEP[case]
    response = send_form(client, SAME, data)
    assert response.status_code == 200, shown(response)
    result = read_png(response.content)
    assert result.dtype == np.uint16
    np.testing.assert_array_equal(result.reshape(samples.shape), samples)


@pytest.mark.row(32)
def test_32_sixteen_bits_of_alpha_come_back(client: httpx.Client) -> None:
    samples = np.random.default_rng(9).integers(1, 65536, (20, 24, 4)).astype(np.uint16)
    result = read_png(send_form(client, SAME, png_file(samples, 6, bits=16)).content)
    assert result.dtype == np.uint16
    np.testing.assert_array_equal(result, samples)


@pytest.mark.row(32)
def test_32_sixteen_bits_can_be_had_as_tiff(client: httpx.Client) -> None:
    import tifffile

    response = send_form(client, f"{SAME}?format=tiff", DEEP["RGB PNG"][0])
    assert response.status_code == 200, shown(response)
    assert response.headers["Content-Type"] == "image/tiff"
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(response.content)), DEEP_RGB)


@pytest.mark.row(32)
def test_32_floats_are_a_422(client: httpx.Client) -> None:
    check_refused(send_form(client, SAME, tiff_file(DEEP_GRAY, floats=True)), 422, "unsupported_depth")


def test_32_our_own_reader_agrees_with_pillow() -> None:
    """The witness is examined too: every filter of a PNG, on noise and on a slope."""
    slope = np.add.outer(np.arange(40), np.arange(30)).astype(np.uint8)
    for pixels in (noise(40, 30, 3), np.dstack([slope] * 3), slope, noise(9, 7, 4), noise(9, 7, 2)):
        png = saved(pixels)
        np.testing.assert_array_equal(read_png(png).reshape(pixels.shape), pixels)
    deep = saved(Image.fromarray(DEEP_GRAY))
    np.testing.assert_array_equal(read_png(deep)[..., 0], DEEP_GRAY)


# Cyan, magenta, yellow, black of nine patches of 16 x 16 pixels; 255 is full ink.
INKS = np.array(
    [
        [0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 0, 0],
        [0, 0, 255, 0], [0, 0, 0, 255], [128, 64, 0, 0],
        [0, 128, 255, 64], [60, 60, 60, 60], [255, 255, 0, 0],
    ],
    np.uint8,
)  # fmt: skip
INK = INKS.reshape(3, 3, 4).repeat(16, 0).repeat(16, 1)


@pytest.mark.row(33)
@pytest.mark.parametrize("kind", ["CMYK", "YCCK"])
def test_33_inks_become_the_colours_they_print(client: httpx.Client, kind: str) -> None:
    plain = saved(Image.fromarray(INK, "CMYK"), "JPEG", quality=100, subsampling=0)
    result = opened(send_form(client, SAME, plain if kind == "CMYK" else ycck_jpeg(INK)))
    assert result.mode == "RGB"
    expected = (255 - INKS[:, :3].astype(float)) * (255 - INKS[:, 3:].astype(float)) / 255
    patches = np.asarray(result, float)[8::16, 8::16].reshape(9, 3)
    np.testing.assert_allclose(patches, expected, atol=6)


@pytest.mark.row(34)
def test_34_luma_and_chroma_in_a_tiff(client: httpx.Client) -> None:
    colours = INK[..., :3]
    data = saved(Image.fromarray(np.ascontiguousarray(colours)).convert("YCbCr"), "TIFF")
    response = send_form(client, SAME, data)
    if response.status_code == 422:
        check_refused(response, 422, "unsupported_color")
        return
    np.testing.assert_allclose(np.asarray(opened(response), float), colours, atol=4)


@pytest.mark.row(34)
def test_34_lab_in_a_tiff(client: httpx.Client) -> None:
    space = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    lab = ImageCms.profileToProfile(
        Image.fromarray(np.ascontiguousarray(INK[..., :3])), space[1], space[0], outputMode="LAB"
    )
    response = send_form(client, SAME, saved(lab, "TIFF"))
    if response.status_code == 422:
        check_refused(response, 422, "unsupported_color")
        return
    np.testing.assert_allclose(np.asarray(opened(response), float), INK[..., :3], atol=6)


@pytest.mark.row(44)
def test_44_transparency_becomes_white_in_jpeg(client: httpx.Client) -> None:
    assert restored(client, saved(np.zeros((16, 16, 4), np.uint8)), Accept="image/jpeg").min() > 250


@pytest.mark.row(44)
def test_44_half_transparent_black_becomes_gray_when_jpeg_is_asked_for(client: httpx.Client) -> None:
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[..., 3] = 128
    result = restored(client, saved(pixels), f"{SAME}?format=jpeg")
    assert result.shape == (16, 16, 3)
    assert abs(result.astype(float) - 127).max() < 3

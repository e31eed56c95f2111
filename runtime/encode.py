"""Picture to bytes: PNG, JPEG, WebP or TIFF, with the colour profile, and EXIF where the picture carries some."""

import io
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime.errors import ImageError
from runtime.lossless import png_bytes, tiff_bytes
from runtime.picture import Picture

__all__ = ["LOSSY_FORMATS", "WRITTEN_FORMATS", "WrittenFormat", "encode_image"]

WrittenFormat = Literal["png", "jpeg", "webp", "tiff"]
WRITTEN_FORMATS: tuple[WrittenFormat, ...] = get_args(WrittenFormat)
"""Formats that are written."""

LOSSY_FORMATS: tuple[WrittenFormat, ...] = ("jpeg", "webp")
"""Those that a quality means something for; the others never lose anything."""

_LONGEST_SIDE: dict[str, int] = {"png": 2**31 - 1, "jpeg": 65_535, "webp": 16_383, "tiff": 2**31 - 1}

# Measured by `benchmarks/encoders.py`, in processor time per megapixel of restored photographs. JPEG: optimised tables
# take twice as long or more for 4 % of the bytes. WebP without loss: method 0 with effort 0 takes 40 ms, Pillow's
# default 1,400 ms for 11 % less. WebP with loss: method 2 takes 90 ms, the default 170 ms for 1 % less.
_JPEG: dict[str, Any] = {"subsampling": 0, "optimize": False}
_JPEG_QUALITY = 95
_WEBP_LOSSLESS: dict[str, Any] = {"lossless": True, "method": 0, "quality": 0}
_WEBP_METHOD = 2

_BAND_ROWS = 128


def encode_image(picture: Picture, format: WrittenFormat, quality: int | None = None) -> bytes:  # noqa: A002
    """Encode a picture, with its colour profile and, if it carries one, its EXIF.

    PNG and TIFF keep 16 bits; JPEG and WebP have 8, to which 16 are rounded.

    Args:
        picture: A gray picture is written with one channel, except for WebP, which has none such and loses a gray
            colour profile by it. JPEG has no alpha: the picture is put on white.
        format: `"png"`, `"jpeg"` (full colour resolution), `"webp"` or `"tiff"`.
        quality: 1 to 100. None: 95 for JPEG, lossless for WebP. PNG and TIFF are always lossless and have no use for
            it.

    Raises:
        ImageError: 422 `unsupported_format`, `bad_quality` or `side_too_long`.
    """
    if format not in WRITTEN_FORMATS:
        raise ImageError(
            f"Pictures are not written as '{format}'. Formats that are written: {', '.join(WRITTEN_FORMATS)}.",
            code="unsupported_format",
            status=422,
        )
    if quality is not None and not 1 <= quality <= 100:
        raise ImageError(f"quality is {quality}; it has to be from 1 to 100.", code="bad_quality", status=422)
    side = max(picture.height, picture.width)
    if side > _LONGEST_SIDE[format]:
        raise ImageError(
            f"A side of {side} pixels does not fit into {format}, which ends at {_LONGEST_SIDE[format]}. Use png.",
            code="side_too_long",
            status=422,
        )
    match format:
        case "png":
            return png_bytes(picture)
        case "tiff":
            return tiff_bytes(picture)
        case "jpeg":
            options = _JPEG | {"quality": quality or _JPEG_QUALITY}
        case "webp":
            options = _WEBP_LOSSLESS if quality is None else {"quality": quality, "method": _WEBP_METHOD}
    return _by_pillow(picture, format, options)


def _by_pillow(picture: Picture, format: Literal["jpeg", "webp"], options: dict[str, Any]) -> bytes:  # noqa: A002
    pixels = _on_white(picture) if format == "jpeg" and picture.has_alpha else _to_8_bits(picture)
    if picture.icc is not None and not (picture.gray and format == "webp"):
        options = options | {"icc_profile": picture.icc}
    if picture.exif is not None:
        options = options | {"exif": picture.exif}
    # Pillow takes one channel as (H, W), two to four as (H, W, C): L, LA, RGB, RGBA.
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    file = io.BytesIO()
    image.save(file, format=format.upper(), **options)
    return file.getvalue()


def _to_8_bits(picture: Picture) -> NDArray[np.uint8]:
    """The pixels with 8 bits, rounded: 257 steps of 16 bits to one of 8."""
    if picture.depth == 8:
        return picture.pixels.astype(np.uint8, copy=False)
    result = np.empty(picture.pixels.shape, dtype=np.uint8)
    for top in range(0, picture.height, _BAND_ROWS):
        result[top : top + _BAND_ROWS] = (picture.pixels[top : top + _BAND_ROWS].astype(np.uint32) + 128) // 257
    return result


def _on_white(picture: Picture) -> NDArray[np.uint8]:
    """The colours with 8 bits, blended with white by alpha, rounded half up."""
    white = picture.white
    result = np.empty(picture.colors.shape, dtype=np.uint8)
    for top in range(0, picture.height, _BAND_ROWS):
        band = picture.pixels[top : top + _BAND_ROWS].astype(np.float32)
        colors, alpha = band[..., :-1] / white, band[..., -1:] / white
        result[top : top + _BAND_ROWS] = (colors * alpha + (1 - alpha)) * 255 + np.float32(0.5)
    return result

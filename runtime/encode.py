"""Picture to bytes: PNG, JPEG or WebP, without any metadata but the colour profile."""

import io
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime.errors import ImageError
from runtime.picture import Picture

__all__ = ["WRITTEN_FORMATS", "WrittenFormat", "encode_image", "to_uint8"]

WrittenFormat = Literal["png", "jpeg", "webp"]
WRITTEN_FORMATS: tuple[WrittenFormat, ...] = get_args(WrittenFormat)
"""Formats that are written."""

_LONGEST_SIDE: dict[str, int] = {"png": 2**31 - 1, "jpeg": 65_535, "webp": 16_383}
_JPEG_QUALITY = 95


def encode_image(picture: Picture, format: WrittenFormat, quality: int | None = None) -> bytes:  # noqa: A002
    """Encode a picture with 8 bits a channel, rounded half up.

    Args:
        picture: Values outside [0, 1] are clipped. A gray picture is written with one channel, except for WebP, which
            has none such and loses a gray colour profile by it. JPEG has no alpha: the picture is put on white.
        format: `"png"`, `"jpeg"` (full colour resolution) or `"webp"`.
        quality: 1 to 100. None: 95 for JPEG, lossless for WebP. PNG is always lossless and has no use for it.

    Raises:
        ImageError: 422 `unsupported_format`, `bad_quality` or `side_too_long`; 500 `not_finite` if a value is not a
            number.
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
    image = _pillow_image(picture, keep_alpha=format != "jpeg")
    options: dict[str, Any] = {}
    if picture.icc is not None and not (picture.gray and format == "webp"):
        options["icc_profile"] = picture.icc
    if format == "jpeg":
        options |= {"quality": quality or _JPEG_QUALITY, "subsampling": 0}
    elif format == "webp":
        options |= {"lossless": True} if quality is None else {"quality": quality}
    file = io.BytesIO()
    image.save(file, format=format.upper(), **options)
    return file.getvalue()


def to_uint8(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Map [0, 1] to 0..255, rounded half up, clipped; any shape.

    Raises:
        ImageError: 500 `not_finite` if a value is infinite or not a number.
    """
    if not np.isfinite(values).all():
        raise ImageError("The picture holds values that are not numbers.", code="not_finite", status=500)
    # The cast cuts off what is behind the point, which for positive values is rounding down.
    return (np.clip(values, 0.0, 1.0) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def _pillow_image(picture: Picture, keep_alpha: bool) -> Image.Image:
    colors = picture.rgb[:1] if picture.gray else picture.rgb
    if picture.alpha is None:
        channels = to_uint8(colors)
    elif keep_alpha:
        channels = to_uint8(np.concatenate([colors, picture.alpha[None]]))
    else:
        channels = to_uint8(colors * picture.alpha + (1.0 - picture.alpha))
    pixels = np.ascontiguousarray(channels.transpose(1, 2, 0))
    # Pillow takes one channel as (H, W), two to four as (H, W, C): L, LA, RGB, RGBA.
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)

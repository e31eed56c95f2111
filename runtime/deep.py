"""Pixels of more than 8 bits, whole. Pillow keeps the upper half of colours; here the lower half is fetched as well.

For colours of 16 bits Pillow's unpackers take the high byte of each value, and there are unpackers for both byte
orders. Told the other order than the file's they take the low byte. So the same hardened decoder reads the file twice,
and no further library has to parse what strangers send: imagecodecs (26 MB) and OpenCV (61 MB) would bring parsers of
their own.
"""

import sys

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin

from runtime.errors import ImageError
from runtime.parsers import open_header

__all__ = ["deep_pixels", "is_deep"]

Deep = NDArray[np.uint16]

_SWAPPED = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}


def is_deep(image: ImageFile.ImageFile, data: bytes, name: str) -> bool:
    """Whether the channels of an opened file have 9 to 16 bits.

    Args:
        image: The opened file.
        data: Its bytes.
        name: Its format.
    """
    if image.mode.startswith("I;16"):
        return True
    if name == "TIFF" and image.mode in {"I", "F"}:
        return False  # signed or fractional, whatever their length
    return _bits(image, data, name) == 16


def deep_pixels(image: ImageFile.ImageFile, data: bytes, name: str) -> Deep:
    """All bits of a loaded file of which `is_deep` holds, upright if it is a TIFF.

    Args:
        image: The file, loaded.
        data: Its bytes.
        name: `"PNG"` or `"TIFF"`.

    Returns:
        uint16 (H, W, C) as in `Picture`; white is 65535.

    Raises:
        ImageError: 422 `unsupported_depth` for kinds that can only be read with 8 bits.
    """
    key = image.info.get("transparency")
    if image.mode.startswith("I;16") or image.mode == "I":
        gray = _gray(image)
        return _keyed(gray[..., None], _raw(image) == key) if isinstance(key, int) else gray[..., None]
    if isinstance(image, TiffImagePlugin.TiffImageFile) and not _has_both_halves(image):
        raise ImageError(
            "Colours of this kind (CMYK, or one plane after the other) are read with 8 bits only, and this file has "
            "more. Save it as an RGB PNG, or with 8 bits a channel.",
            code="unsupported_depth",
            status=422,
        )
    rawmode = _rawmode(data, name)
    if rawmode == "LA;16B":
        # Two channels of two bytes are as long as four of one.
        whole = _reread(data, name, "RGBA", "RGBA")
        return whole.reshape(*whole.shape[:2], 2, 2).copy().view(">u2")[..., 0].astype(np.uint16)
    premultiplied = rawmode.startswith("RGBa")
    if premultiplied or rawmode.startswith("RGBX"):
        rawmode = "RGBA" + rawmode[4:]
    mode = rawmode[: rawmode.index(";")]
    pixels = _reread(data, name, mode, rawmode).astype(np.uint16)
    pixels <<= 8
    pixels |= _reread(data, name, mode, rawmode[:-1] + _SWAPPED[rawmode[-1]])
    if premultiplied:
        _divide_by_alpha(pixels)
    elif image.mode == "RGB" and mode == "RGBA":  # the fourth value means nothing
        pixels = np.ascontiguousarray(pixels[..., :3])
    if isinstance(key, tuple):
        return _keyed(pixels, (pixels == np.asarray(key, dtype=np.uint16)).all(axis=-1))
    return pixels


def _bits(image: ImageFile.ImageFile, data: bytes, name: str) -> int:
    if name == "PNG":
        return data[24]
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        found = image.tag_v2.get(ExifTags.Base.BitsPerSample, (1,))
        return int(found[0]) if isinstance(found, tuple) else int(found)
    return 8


def _raw(image: Image.Image) -> Deep:
    return np.asarray(image).astype(np.uint16)


def _gray(image: ImageFile.ImageFile) -> Deep:
    """Gray of 9 to 16 bits, scaled by its own white. Pillow's conversion to 8 bits would clip it to white."""
    values = _raw(image)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = image.tag_v2.get(ExifTags.Base.BitsPerSample, (16,))[0]
        white = 2 ** min(int(bits), 16) - 1
        if white < 65535:
            np.minimum(values, white, out=values)
            values = ((values.astype(np.uint32) * 65535 + white // 2) // white).astype(np.uint16)
        # Pillow turns around "white is zero" only for 8 bits and less.
        if image.tag_v2.get(ExifTags.Base.PhotometricInterpretation) == 0:
            values = 65535 - values
    return values


def _keyed(colors: Deep, hidden: NDArray[np.bool_]) -> Deep:
    alpha = np.where(hidden, np.uint16(0), np.uint16(65535))
    return np.concatenate([colors, alpha[..., None]], axis=-1)


def _has_both_halves(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether the channels of a TIFF of 16 bits stand side by side as RGB."""
    tags = image.tag_v2
    return (
        tags.get(ExifTags.Base.PlanarConfiguration, 1) == 1
        and tags.get(ExifTags.Base.PhotometricInterpretation) == 2
        and tags.get(ExifTags.Base.SampleFormat, (1,))[0] == 1
    )


def _rawmode(data: bytes, name: str) -> str:
    """The unpacker Pillow chose. A loaded picture has forgotten, so the header is read again."""
    with open_header(data, name) as fresh:
        arguments = fresh.tile[0].args
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _reread(data: bytes, name: str, mode: str, rawmode: str) -> NDArray[np.uint8]:
    """Decode a file with another unpacker: uint8 (H, W, C)."""
    with open_header(data, name) as image:
        image._mode = mode  # as a parser does itself: it is what `tile` is unpacked to
        image.tile = [
            tile._replace(args=(rawmode, *tile.args[1:]) if isinstance(tile.args, tuple) else rawmode)
            for tile in image.tile
        ]
        image.info.pop("transparency", None)
        image.load()
        return np.asarray(image)


def _divide_by_alpha(pixels: Deep) -> None:
    """Undo a premultiplication in place, rounded."""
    for row in pixels:
        alpha = np.maximum(row[:, 3:], 1).astype(np.uint32)
        row[:, :3] = np.minimum((row[:, :3].astype(np.uint32) * 65535 + alpha // 2) // alpha, 65535)

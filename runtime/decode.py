"""Bytes to picture: every file becomes a `Picture` or an `ImageError`, nothing else."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, MpoImagePlugin

from runtime.color import cmyk_to_rgb, usable_profile
from runtime.deep import deep_pixels, is_deep
from runtime.errors import ImageError
from runtime.exif import kept_exif, orientation_of
from runtime.formats import check_header, check_structure, webp_size
from runtime.parsers import PILLOW_ERRORS, check_pixels, corrupt, open_header, recognise
from runtime.picture import DEFAULT_LIMITS, ImageLimits, Picture, Pixels

__all__ = ["decode_image"]

_BAND_ROWS = 128


def decode_image(data: bytes, limits: ImageLimits = DEFAULT_LIMITS, keep_metadata: bool = False) -> Picture:
    """Decode a PNG, JPEG, WebP, TIFF, BMP or GIF file.

    The first bytes decide on the format. Orientation is applied. A colour profile that fits the decoded channels is
    kept as it is; all other metadata is dropped, XMP always, EXIF (and the place in it) unless it is asked for. 9 to 16
    bits a channel become 16, gray or colour, with or without alpha. CMYK becomes sRGB by its embedded profile, or by
    the plain formula if it has none that can be used. Of a JPEG with several pictures (MPO, as phones write them) the
    first is taken.

    Args:
        data: The file.
        limits: Checked before any pixel is decoded.
        keep_metadata: Whether the picture carries the EXIF of the file on, as `runtime.exif.kept_exif` trims it.

    Raises:
        ImageError: Whatever the bytes are, nothing else. Codes: `empty` (400); `too_many_bytes`, `too_many_pixels`
            (413); `not_an_image`, `unsupported_format` (415); `corrupt`, `animated`, `unsupported_depth`,
            `unsupported_color` (422).
    """
    name = recognise(data, limits)
    try:
        return _decode(data, name, limits, keep_metadata)
    except PILLOW_ERRORS as error:
        raise corrupt(name, error) from error


def _decode(data: bytes, name: str, limits: ImageLimits, keep_metadata: bool) -> Picture:
    check_header(data, name)
    if name == "WebP":
        check_pixels(webp_size(data), limits)
    # The size is in the header and checked first; the structure needs a walk over the whole file.
    with open_header(data, name) as image:
        check_pixels(image.size, limits)
        check_structure(data, name)
        if getattr(image, "is_animated", False) and not isinstance(image, MpoImagePlugin.MpoImageFile):
            raise ImageError(f"This {name} holds several pictures. Send a single one.", code="animated", status=422)
        image.load()
        profile = image.info.get("icc_profile")
        exif = kept_exif(image) if keep_metadata else None
        orientation = orientation_of(image)
        pixels = deep_pixels(image, data, name) if is_deep(image, data, name) else _channels(image, data, name)
    upright = np.ascontiguousarray(_upright(pixels, orientation))
    return Picture(upright, usable_profile(profile, gray=upright.shape[2] <= 2), exif)


def _channels(image: ImageFile.ImageFile, data: bytes, name: str) -> NDArray[np.uint8]:
    """The pixels of a picture of up to 8 bits: uint8 (H, W, C) as in `Picture`."""
    mode, key = image.mode, image.info.get("transparency")
    if mode in {"1", "L"}:
        gray = _array(image, "L")
        if not isinstance(key, int):
            return gray
        # A PNG states the transparent value in its own depth, Pillow has stretched the pixels to 8 bits.
        return _keyed(gray, gray[..., 0] == key * 255 // (2 ** (data[24] if name == "PNG" else 8) - 1))
    if mode in {"LA", "La"}:
        return _array(image, "LA")
    if mode == "RGB" and isinstance(key, tuple):
        colors = _array(image, "RGB")
        return _keyed(colors, (colors == np.asarray(key)).all(axis=-1))
    if mode in {"RGBA", "RGBa", "PA"} or (mode == "P" and (key is not None or _palette_has_alpha(image))):
        return _array(image, "RGBA")
    if mode == "CMYK":
        return _array(cmyk_to_rgb(image, image.info.get("icc_profile")), "RGB")
    if mode in {"RGB", "RGBX", "P", "YCbCr", "HSV"}:
        return _array(image, "RGB")
    if mode in {"I", "F"}:
        raise ImageError(
            "Pixels of 32 bits, and signed ones, are not read, because nothing says which value is white. Convert the "
            "picture to 8 or 16 bits.",
            code="unsupported_depth",
            status=422,
        )
    raise ImageError(
        f"Colours of the kind {mode} are not read. Convert the picture to RGB.", code="unsupported_color", status=422
    )


def _array(image: Image.Image, mode: str) -> NDArray[np.uint8]:
    """Convert and copy in bands: Pillow's own way to an array takes the picture three times over."""
    channels = len(mode)
    pixels = np.empty((image.height, image.width, channels), dtype=np.uint8)
    for top in range(0, image.height, _BAND_ROWS):
        band = image.crop((0, top, image.width, min(top + _BAND_ROWS, image.height)))
        # A palette's transparency is among the information, which a crop keeps.
        pixels[top : top + _BAND_ROWS] = np.asarray(band.convert(mode)).reshape(band.height, band.width, channels)
    return pixels


def _keyed(colors: NDArray[np.uint8], hidden: NDArray[np.bool_]) -> NDArray[np.uint8]:
    alpha = np.where(hidden, np.uint8(0), np.uint8(255))
    return np.concatenate([colors, alpha[..., None]], axis=-1)


def _palette_has_alpha(image: Image.Image) -> bool:
    return image.palette is not None and image.palette.mode == "RGBA"


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation on the first two axes."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    return pixels

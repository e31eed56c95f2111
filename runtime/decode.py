"""Bytes to picture: every file becomes a `Picture` or an `ImageError`, nothing else."""

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from runtime.errors import ImageError
from runtime.formats import check_structure, sniff_format, unsupported_format, webp_size
from runtime.picture import DEFAULT_LIMITS, ImageLimits, Picture

__all__ = ["decode_image"]

Pixels = NDArray[np.uint8] | NDArray[np.float32]

# Pillow's parsers answer hostile bytes with nearly any of these; the list is what its sources raise on purpose and what
# its Python code runs into. Warning: a process may turn warnings into errors. AssertionError: parsers assert.
_PILLOW_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    Image.DecompressionBombError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    Warning,
    struct.error,
    zlib.error,
)

# The decoder for these fills in what it cannot read and writes a line to stderr for each row of it.
_FAX_COMPRESSIONS = {2, 3, 4}

_MAX_ICC_BYTES = 2**20  # Pillow reads no longer one from a PNG; real profiles are below 1 MiB, most below 10 KiB


def decode_image(data: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> Picture:
    """Decode a PNG, JPEG, WebP, TIFF, BMP or GIF file.

    The first bytes decide on the format. Orientation is applied; all other metadata is dropped, except for a colour
    profile that fits the decoded channels, which is kept as it is. Gray of 16 bits keeps its depth; colours of 16 bits
    are cut to the upper 8. CMYK becomes RGB by the plain formula, without its profile. Of a JPEG with several pictures
    (MPO, as phones write them) the first is taken.

    Args:
        data: The file.
        limits: Checked before any pixel is decoded.

    Raises:
        ImageError: Whatever the bytes are, nothing else. Codes: `empty` (400); `too_many_bytes`, `too_many_pixels`
            (413); `not_an_image`, `unsupported_format` (415); `corrupt`, `animated`, `unsupported_depth`,
            `unsupported_color` (422).
    """
    if not data:
        raise ImageError("The file is empty.", code="empty", status=400)
    if len(data) > limits.max_bytes:
        raise ImageError(
            f"The file has {len(data)} bytes; at most {limits.max_bytes} are read.", code="too_many_bytes", status=413
        )
    name = sniff_format(data)
    try:
        return _decode(data, name, limits)
    except _PILLOW_ERRORS as error:
        raise ImageError(
            f"This {name} cannot be decoded ({str(error) or type(error).__name__}): it is corrupt, cut off, or of an "
            "unusual kind. Send it again, or save it with another program.",
            code="corrupt",
            status=422,
        ) from error


def _decode(data: bytes, name: str, limits: ImageLimits) -> Picture:
    if name == "WebP":
        _check_pixels(webp_size(data), limits)
    # The size is in the header and checked first; the structure needs a walk over the whole file.
    with _open(data, name) as image:
        _check_pixels(image.size, limits)
        check_structure(data, name)
        if _is_fax(image):
            raise unsupported_format("Fax-compressed TIFF")
        if getattr(image, "is_animated", False) and not isinstance(image, MpoImagePlugin.MpoImageFile):
            raise ImageError(f"This {name} holds several pictures. Send a single one.", code="animated", status=422)
        image.load()
        pixels, alpha, gray = _channels(image, data, name)
        orientation = _orientation(image)
        profile = image.info.get("icc_profile")
    pixels = _upright(pixels, orientation)
    rgb = np.empty((3, *pixels.shape[-2:]), dtype=np.float32)
    rgb[:] = _unit(pixels)  # one channel of gray fills all three
    return Picture(
        rgb=rgb,
        alpha=None if alpha is None else np.ascontiguousarray(_unit(_upright(alpha, orientation))),
        gray=gray,
        icc=_usable_profile(profile, gray),
    )


def _open(data: bytes, name: str) -> ImageFile.ImageFile:
    """Read the header with the one parser meant for it.

    Parsers are called directly, not through `Image.open`: that would compare the size with Pillow's own global limit,
    warn on stderr about pictures our limit handles, and refuse what a higher limit of ours allows.
    """
    file = io.BytesIO(data)
    match name:
        case "PNG":
            return PngImagePlugin.PngImageFile(file)
        case "JPEG":
            return JpegImagePlugin.jpeg_factory(file)
        case "WebP":
            return WebPImagePlugin.WebPImageFile(file)
        case "TIFF":
            return TiffImagePlugin.TiffImageFile(file)
        case "BMP":
            return BmpImagePlugin.BmpImageFile(file)
        case _:
            return GifImagePlugin.GifImageFile(file)


def _is_fax(image: Image.Image) -> bool:
    return (
        isinstance(image, TiffImagePlugin.TiffImageFile)
        and image.tag_v2.get(ExifTags.Base.Compression) in _FAX_COMPRESSIONS
    )


def _check_pixels(size: tuple[int, int], limits: ImageLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        raise ImageError(
            f"The picture has {width}x{height} pixels; at most {limits.max_pixels} are read.",
            code="too_many_pixels",
            status=413,
        )


def _channels(image: Image.Image, data: bytes, name: str) -> tuple[Pixels, Pixels | None, bool]:
    """Colours (3 or 1, H, W) and alpha (H, W), uint8 or float32 in [0, 1], and whether the picture is gray."""
    mode, key = image.mode, image.info.get("transparency")
    depth = data[24] if name == "PNG" else 8
    if mode.startswith("I;16") or (mode == "I" and name == "PNG"):
        return _deep_gray(image, key)
    if mode in {"1", "L"}:
        gray = np.asarray(image.convert("L"))
        # A PNG states the transparent value in its own depth, Pillow has stretched the pixels to 8 bits.
        level = key * 255 // (2**depth - 1) if isinstance(key, int) else None
        return gray[None], None if level is None else _keyed(gray != level), True
    if mode in {"LA", "La"}:
        values = np.asarray(image.convert("LA"))
        return values[None, ..., 0], values[..., 1], True
    if mode == "RGB" and isinstance(key, tuple):
        colors = np.asarray(image)
        shown = [value >> 8 if depth == 16 else value for value in key]
        return colors.transpose(2, 0, 1), _keyed((colors != np.asarray(shown)).any(axis=-1)), False
    if mode in {"RGBA", "RGBa", "PA"} or (mode == "P" and (key is not None or _palette_has_alpha(image))):
        values = np.asarray(image.convert("RGBA"))
        return values[..., :3].transpose(2, 0, 1), values[..., 3], False
    if mode in {"RGB", "RGBX", "P", "CMYK", "YCbCr", "HSV"}:
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1), None, False
    if mode in {"I", "F"}:
        raise ImageError(
            "Pixels of 32 bits are not read, because nothing says which value is white. Convert the picture to 8 or "
            "16 bits.",
            code="unsupported_depth",
            status=422,
        )
    raise ImageError(
        f"Colours of the kind {mode} are not read. Convert the picture to RGB.", code="unsupported_color", status=422
    )


def _deep_gray(image: Image.Image, key: object) -> tuple[Pixels, Pixels | None, bool]:
    """Gray of 9 to 16 bits, scaled by its own white. Pillow's conversion to 8 bits would clip it to white."""
    values = np.asarray(image)
    white, inverted = 65535, False
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = image.tag_v2.get(ExifTags.Base.BitsPerSample, (16,))[0]
        white = 2 ** min(int(bits), 16) - 1
        # Pillow turns around "white is zero" only for 8 bits and less.
        inverted = image.tag_v2.get(ExifTags.Base.PhotometricInterpretation) == 0
    gray = np.clip(values.astype(np.float32) / np.float32(white), 0.0, 1.0)
    if inverted:
        gray = 1.0 - gray
    return gray[None], _keyed(values != key) if isinstance(key, int) else None, True


def _keyed(visible: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return visible.astype(np.uint8) * np.uint8(255)


def _palette_has_alpha(image: Image.Image) -> bool:
    return image.palette is not None and image.palette.mode == "RGBA"


def _orientation(image: Image.Image) -> int:
    """The orientation 1 to 8, 1 if the tag is absent or broken. To be asked after loading.

    TIFF pictures are turned by Pillow while they load, which also removes the tag.
    """
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _PILLOW_ERRORS:
        return 1  # a broken tag is dropped like all other metadata; the pixels are fine
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation on the last two axes."""
    if orientation >= 5:
        pixels = pixels.swapaxes(-1, -2)
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[..., ::-1]
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[..., ::-1, :]
    return pixels


def _unit(pixels: Pixels) -> NDArray[np.float32]:
    if pixels.dtype == np.uint8:
        return pixels.astype(np.float32) / np.float32(255)
    return pixels.astype(np.float32)


def _usable_profile(profile: object, gray: bool) -> bytes | None:
    """The colour profile if it describes the channels we hand on; one for CMYK would spoil the RGB result."""
    if not isinstance(profile, bytes) or not 128 <= len(profile) <= _MAX_ICC_BYTES:
        return None
    if profile[36:40] != b"acsp" or profile[16:20] != (b"GRAY" if gray else b"RGB "):
        return None
    return profile

"""Pictures in and out: from bytes or files to `Picture` and back."""

from collections.abc import Mapping
from pathlib import Path

from runtime.decode import decode_image
from runtime.encode import LOSSY_FORMATS, WRITTEN_FORMATS, WrittenFormat, encode_image
from runtime.errors import ImageError
from runtime.formats import READ_FORMATS
from runtime.peek import PictureInfo, peek_image
from runtime.picture import DEFAULT_LIMITS, ImageLimits, Picture

__all__ = [
    "DEFAULT_LIMITS",
    "LOSSY_FORMATS",
    "READ_FORMATS",
    "SUFFIXES",
    "WRITTEN_FORMATS",
    "ImageLimits",
    "Picture",
    "PictureInfo",
    "WrittenFormat",
    "decode_image",
    "encode_image",
    "peek_image",
    "read_image",
    "suffix_of",
    "write_image",
]

SUFFIXES: Mapping[str, WrittenFormat] = {
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".webp": "webp",
    ".tif": "tiff",
    ".tiff": "tiff",
}
"""Ending of a file's name to the format it asks for; of several endings the usual one comes first."""


def suffix_of(picture_format: WrittenFormat) -> str:
    """The usual ending of a file of this format."""
    return next(suffix for suffix, known in SUFFIXES.items() if known == picture_format)


def read_image(path: Path | str, limits: ImageLimits = DEFAULT_LIMITS, keep_metadata: bool = False) -> Picture:
    """Read a picture from a file; its name plays no part in what it is taken for.

    Args:
        path: The file.
        limits: Checked before any pixel is decoded.
        keep_metadata: See `decode_image`.

    Raises:
        ImageError: If the file cannot be read (`not_readable`), or as `decode_image` does; the message names the file.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(limits.max_bytes + 1)
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}.", code="not_readable", status=422) from error
    try:
        return decode_image(data, limits, keep_metadata)
    except ImageError as error:
        raise ImageError(f"{path}: {error}", code=error.code, status=error.status) from error


def write_image(path: Path | str, picture: Picture, quality: int | None = None) -> None:
    """Write a picture in the format its file name ends with: .png, .jpg, .jpeg, .webp, .tif or .tiff.

    Args:
        path: The file; it is replaced if it exists.
        picture: See `encode_image`.
        quality: See `encode_image`.

    Raises:
        ImageError: If the ending is another one (`unsupported_format`), if the file cannot be written
            (`not_writable`), or as `encode_image` does.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ImageError(
            f"{path} cannot be written: '{suffix}' is not one of {', '.join(SUFFIXES)}.",
            code="unsupported_format",
            status=422,
        )
    data = encode_image(picture, SUFFIXES[suffix], quality)
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ImageError(f"{path} cannot be written: {error.strerror}.", code="not_writable", status=422) from error

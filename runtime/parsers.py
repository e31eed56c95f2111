"""Pillow's parsers, called one by one, and what they raise. The header of a file is read, no pixel."""

import io
import struct
import zlib

from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from runtime.errors import ImageError
from runtime.formats import sniff_format, unsupported_format
from runtime.picture import ImageLimits

__all__ = ["PILLOW_ERRORS", "check_pixels", "corrupt", "open_header", "recognise"]

PILLOW_ERRORS = (
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
"""Pillow's parsers answer hostile bytes with nearly any of these; the list is what its sources raise on purpose and
what its Python code runs into. Warning: a process may turn warnings into errors. AssertionError: parsers assert."""

# The decoder for these fills in what it cannot read and writes a line to stderr for each row of it.
_FAX_COMPRESSIONS = {2, 3, 4}


def recognise(data: bytes, limits: ImageLimits) -> str:
    """The format of a file, from its length and its first bytes.

    Raises:
        ImageError: 400 `empty`, 413 `too_many_bytes`, 415 as `sniff_format` does.
    """
    if not data:
        raise ImageError("The file is empty.", code="empty", status=400)
    if len(data) > limits.max_bytes:
        raise ImageError(
            f"The file has {len(data)} bytes; at most {limits.max_bytes} are read.", code="too_many_bytes", status=413
        )
    return sniff_format(data)


def open_header(data: bytes, name: str) -> ImageFile.ImageFile:
    """Read the header with the one parser meant for it. For WebP this allocates the canvas: check its size before.

    Parsers are called directly, not through `Image.open`: that would compare the size with Pillow's own global limit,
    warn on stderr about pictures our limit handles, and refuse what a higher limit of ours allows.

    Raises:
        ImageError: 415 `unsupported_format` for a TIFF compressed as a fax.
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
            image = TiffImagePlugin.TiffImageFile(file)
            if image.tag_v2.get(ExifTags.Base.Compression) in _FAX_COMPRESSIONS:
                raise unsupported_format("Fax-compressed TIFF")
            return image
        case "BMP":
            return BmpImagePlugin.BmpImageFile(file)
        case _:
            return GifImagePlugin.GifImageFile(file)


def check_pixels(size: tuple[int, int], limits: ImageLimits) -> None:
    """Compare width times height with the limit.

    Raises:
        ImageError: 413 `too_many_pixels`.
    """
    width, height = size
    if width * height > limits.max_pixels:
        raise ImageError(
            f"The picture has {width}x{height} pixels; at most {limits.max_pixels} are read.",
            code="too_many_pixels",
            status=413,
        )


def corrupt(name: str, error: BaseException) -> ImageError:
    """422 `corrupt` for what a parser raised."""
    return ImageError(
        f"This {name} cannot be decoded ({str(error) or type(error).__name__}): it is corrupt, cut off, or of an "
        "unusual kind. Send it again, or save it with another program.",
        code="corrupt",
        status=422,
    )

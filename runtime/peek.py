"""What a file's header says of the picture, in well under a millisecond and without a pixel of memory."""

from dataclasses import dataclass
from typing import Literal

from PIL import TiffImagePlugin

from runtime.deep import is_deep
from runtime.errors import ImageError
from runtime.exif import orientation_of
from runtime.formats import check_header, webp_size
from runtime.parsers import PILLOW_ERRORS, check_pixels, corrupt, open_header, recognise
from runtime.picture import DEFAULT_LIMITS, Depth, ImageLimits

__all__ = ["PictureInfo", "peek_image"]

Channels = Literal[1, 2, 3, 4]

_CHANNELS: dict[str, Channels] = {"1": 1, "L": 1, "I": 1, "F": 1, "LA": 2, "La": 2, "PA": 4, "RGBA": 4, "RGBa": 4}


@dataclass(frozen=True)
class PictureInfo:
    """What `decode_image` will make of a file, if the rest of it is sound.

    Attributes:
        format: One of `READ_FORMATS`.
        width: Columns of the upright picture.
        height: Rows of the upright picture.
        channels: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.
        depth: Bits of a channel: 8 or 16.
    """

    format: str
    width: int
    height: int
    channels: int
    depth: Depth

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.width * self.height

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded picture."""
        return self.pixels * self.channels * self.depth // 8


def peek_image(data: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> PictureInfo:
    """Read the header of a picture file: the same refusals as `decode_image`, as far as the header shows a reason.

    Neither the checksums nor the end of the file are looked at, so a picture that passes may still be corrupt or
    animated. An orientation that a PNG or WebP states behind its pixels is not seen: width and height may be swapped.

    Args:
        data: The file.
        limits: Compared with the length of the file and its width times height.

    Raises:
        ImageError: Codes `empty` (400); `too_many_bytes`, `too_many_pixels` (413); `not_an_image`,
            `unsupported_format` (415); `corrupt` (422).
    """
    name = recognise(data, limits)
    try:
        check_header(data, name)
        return _peek_webp(data, limits) if name == "WebP" else _peek(data, name, limits)
    except PILLOW_ERRORS as error:
        raise corrupt(name, error) from error


def _peek(data: bytes, name: str, limits: ImageLimits) -> PictureInfo:
    with open_header(data, name) as image:
        check_pixels(image.size, limits)
        width, height = image.size
        # Pillow states the size of a TIFF as it will be once it is turned.
        if not isinstance(image, TiffImagePlugin.TiffImageFile) and orientation_of(image) >= 5:
            width, height = height, width
        mode = image.mode
        deep = is_deep(image, data, name)
        channels = _CHANNELS.get("I" if mode.startswith("I;16") else mode, 3)
        if name == "PNG" and data[25] == 4:
            channels = 2  # of 16 bits Pillow makes four channels
        if "transparency" in image.info and channels in {1, 3}:
            channels = 4 if channels == 3 else 2
    return PictureInfo(name, width, height, channels, 16 if deep else 8)


def _peek_webp(data: bytes, limits: ImageLimits) -> PictureInfo:
    """By hand, because opening a WebP allocates its whole canvas."""
    width, height = webp_size(data)
    check_pixels((width, height), limits)
    if not (width and height):
        raise ImageError("This WebP is corrupt: it has no pixels. Send it again.", code="corrupt", status=422)
    extended, lossless = data[12:16] == b"VP8X", data[12:16] == b"VP8L"
    alpha = bool(data[20] & 0x10) if extended else bool(data[24] & 0x10) if lossless else False
    return PictureInfo("WebP", width, height, 4 if alpha else 3, 8)

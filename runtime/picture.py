"""A picture as files have it, and the limits on what is decoded."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ImageError

__all__ = ["DEFAULT_LIMITS", "Depth", "ImageLimits", "Picture", "Pixels", "to_integers", "to_uint8"]

FloatArray = NDArray[np.float32]
Pixels = NDArray[np.uint8 | np.uint16]
Depth = Literal[8, 16]


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture ready to be restored, or restored: the integers of a file, never a whole picture of floats.

    Attributes:
        pixels: uint8 or uint16 of shape (H, W, C), C-contiguous. C is 1 for gray, 2 for gray and alpha, 3 for RGB, 4
            for RGB and alpha; alpha is not premultiplied. White is 255, or 65535.
        icc: Colour profile the values are meant in, as found in the file, or None.
        exif: EXIF block to write into the restored file (`Exif`, two zeros, then a small TIFF), or None. It is there
            only if `decode_image` was asked to keep it, and says nothing of orientation or size.

    Raises:
        ImageError: 422 `bad_array` if the pixels have another shape, dtype or order in memory.
    """

    pixels: Pixels
    icc: bytes | None = None
    exif: bytes | None = None

    def __post_init__(self) -> None:
        pixels = self.pixels
        sound = pixels.dtype in (np.uint8, np.uint16) and pixels.ndim == 3 and 1 <= pixels.shape[2] <= 4
        if not sound or 0 in pixels.shape or not pixels.flags.c_contiguous:
            raise ImageError(
                "The pixels of a picture are contiguous uint8 or uint16 of shape (H, W, 1 to 4), "
                f"got {pixels.dtype} {pixels.shape}. Picture.from_float takes floats.",
                code="bad_array",
                status=422,
            )

    @classmethod
    def from_float(
        cls,
        rgb: FloatArray,
        alpha: FloatArray | None = None,
        *,
        gray: bool = False,
        depth: Depth = 8,
        icc: bytes | None = None,
    ) -> "Picture":
        """A picture of float arrays, rounded half up.

        Args:
            rgb: float32 (3, H, W); values outside [0, 1] are clipped. Of a gray picture the first channel is taken.
            alpha: float32 (H, W) likewise, or None for an opaque picture.
            gray: Whether it has one channel of colour.
            depth: Bits of a channel.
            icc: Its colour profile.

        Raises:
            ImageError: 422 `bad_array` for another shape or dtype; 500 `not_finite` if a value is not a number.
        """
        if rgb.dtype != np.float32 or rgb.ndim != 3 or rgb.shape[0] != 3 or 0 in rgb.shape:
            raise ImageError(
                f"The colours of a picture are float32 of shape (3, H, W), got {rgb.dtype} {rgb.shape}.",
                code="bad_array",
                status=422,
            )
        if alpha is not None and (alpha.dtype != np.float32 or alpha.shape != rgb.shape[1:]):
            raise ImageError(
                f"The alpha of this picture has to be float32 of shape {rgb.shape[1:]}, "
                f"got {alpha.dtype} {alpha.shape}.",
                code="bad_array",
                status=422,
            )
        planes = [*(rgb[:1] if gray else rgb), *([] if alpha is None else [alpha])]
        return cls(np.stack([to_integers(plane, depth) for plane in planes], axis=-1), icc)

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])

    @property
    def depth(self) -> Depth:
        """Bits of a channel."""
        return 8 if self.pixels.dtype == np.uint8 else 16

    @property
    def white(self) -> int:
        """The largest value of a channel: 255 or 65535."""
        return int(2**self.depth - 1)

    @property
    def gray(self) -> bool:
        """Whether it has one channel of colour."""
        return int(self.pixels.shape[2]) <= 2

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is alpha."""
        return self.pixels.shape[2] in {2, 4}

    @property
    def colors(self) -> Pixels:
        """The pixels without alpha: a view (H, W, 1 or 3)."""
        return self.pixels[..., :1] if self.gray else self.pixels[..., :3]

    @property
    def rgb(self) -> FloatArray:
        """The whole picture as float32 (3, H, W) in [0, 1], made anew; three equal channels if it is gray."""
        rgb = np.empty((3, self.height, self.width), dtype=np.float32)
        np.divide(self.colors.transpose(2, 0, 1), np.float32(self.white), out=rgb)
        return rgb

    @property
    def alpha(self) -> FloatArray | None:
        """Alpha as float32 (H, W) in [0, 1], made anew, or None for an opaque picture."""
        return np.asarray(self.pixels[..., -1] / np.float32(self.white), np.float32) if self.has_alpha else None


@dataclass(frozen=True)
class ImageLimits:
    """What is refused before any pixel is decoded.

    Attributes:
        max_pixels: Largest width times height.
        max_bytes: Largest file.
    """

    max_pixels: int = 24_000_000
    max_bytes: int = 20 * 2**20


DEFAULT_LIMITS = ImageLimits()


def to_integers(values: FloatArray, depth: Depth) -> Pixels:
    """Map [0, 1] to 0..255 or 0..65535, rounded half up, clipped; any shape.

    Raises:
        ImageError: 500 `not_finite` if a value is infinite or not a number.
    """
    if not np.isfinite(values).all():
        raise ImageError("The picture holds values that are not numbers.", code="not_finite", status=500)
    scaled = np.clip(values, 0.0, 1.0)
    scaled *= np.float32(2**depth - 1)
    scaled += np.float32(0.5)
    # The cast cuts off what is behind the point, which for positive values is rounding down.
    return scaled.astype(np.uint8 if depth == 8 else np.uint16)


def to_uint8(values: FloatArray) -> NDArray[np.uint8]:
    """`to_integers` for 8 bits."""
    return to_integers(values, 8).astype(np.uint8, copy=False)

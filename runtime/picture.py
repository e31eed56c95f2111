"""A decoded picture and the limits on what is decoded."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ImageError

__all__ = ["DEFAULT_LIMITS", "ImageLimits", "Picture"]


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture ready to be restored, or restored.

    Attributes:
        rgb: float32 (3, H, W) in [0, 1]. Three equal channels if `gray`.
        alpha: float32 (H, W) in [0, 1], not premultiplied into `rgb`, or None for an opaque picture.
        gray: True if it came as, and shall be written as, one channel.
        icc: Colour profile the values are meant in, as found in the file, or None.

    Raises:
        ImageError: If an array has another shape or dtype.
    """

    rgb: NDArray[np.float32]
    alpha: NDArray[np.float32] | None = None
    gray: bool = False
    icc: bytes | None = None

    def __post_init__(self) -> None:
        if self.rgb.dtype != np.float32 or self.rgb.ndim != 3 or self.rgb.shape[0] != 3 or 0 in self.rgb.shape:
            raise ImageError(
                f"The colours of a picture are float32 of shape (3, H, W), got {self.rgb.dtype} {self.rgb.shape}.",
                code="bad_array",
                status=422,
            )
        if self.alpha is not None and (self.alpha.dtype != np.float32 or self.alpha.shape != self.rgb.shape[1:]):
            raise ImageError(
                f"The alpha of this picture has to be float32 of shape {self.rgb.shape[1:]}, "
                f"got {self.alpha.dtype} {self.alpha.shape}.",
                code="bad_array",
                status=422,
            )

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.rgb.shape[1])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.rgb.shape[2])


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

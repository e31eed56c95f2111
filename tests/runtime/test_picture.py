import numpy as np
import pytest

from runtime.errors import ImageError
from runtime.picture import Picture

RGB = np.zeros((3, 4, 5), dtype=np.float32)


def test_sides_are_named() -> None:
    picture = Picture(rgb=RGB)
    assert (picture.height, picture.width) == (4, 5)


@pytest.mark.parametrize(
    "rgb",
    [RGB[0], RGB[:2], RGB[:, :0], RGB.astype(np.float64), (RGB * 255).astype(np.uint8), RGB.transpose(1, 2, 0)],
)
def test_other_arrays_are_refused(rgb: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"float32 of shape \(3, H, W\)") as caught:
        Picture(rgb=rgb)
    assert caught.value.code == "bad_array"


@pytest.mark.parametrize("alpha", [RGB[0].T, RGB[:1], RGB[0].astype(np.float64)])
def test_an_alpha_of_another_shape_is_refused(alpha: np.ndarray) -> None:
    with pytest.raises(ImageError, match="alpha"):
        Picture(rgb=RGB, alpha=alpha)

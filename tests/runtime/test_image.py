from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.errors import ImageError
from runtime.image import read_image, write_image
from runtime.picture import ImageLimits, Picture, to_uint8

PICTURE = Picture.from_float(np.random.default_rng(4).random((3, 8, 9), dtype=np.float32))


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.webp", "a.jpg", "a.jpeg", "a.tif", "a.tiff"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    write_image(tmp_path / name, PICTURE, quality=None)
    again = read_image(tmp_path / name)
    assert again.rgb.shape == PICTURE.rgb.shape
    if "j" not in name:
        np.testing.assert_array_equal(to_uint8(again.rgb), to_uint8(PICTURE.rgb))


def test_the_content_decides_on_the_format_not_the_name(tmp_path: Path, encode: Callable[..., bytes]) -> None:
    (tmp_path / "really.png").write_bytes(encode(Image.new("RGB", (7, 5)), "JPEG"))
    assert read_image(tmp_path / "really.png").width == 7


def test_an_absent_file_is_an_image_error(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.png", tmp_path):
        with pytest.raises(ImageError, match="cannot be read") as caught:
            read_image(path)
        assert caught.value.code == "not_readable"


def test_errors_name_the_file_and_keep_their_code(tmp_path: Path) -> None:
    (tmp_path / "note.png").write_text("hello")
    with pytest.raises(ImageError, match=r"note\.png: This is not a picture") as caught:
        read_image(tmp_path / "note.png")
    assert (caught.value.code, caught.value.status) == ("not_an_image", 415)


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(bytes(1000))
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / "large.png", ImageLimits(max_bytes=999))
    assert caught.value.code == "too_many_bytes"


@pytest.mark.parametrize("name", ["a.gif", "a", "a.png.bak"])
def test_other_endings_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError, match=r"not one of \.png") as caught:
        write_image(tmp_path / name, PICTURE)
    assert caught.value.code == "unsupported_format"
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_an_image_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be written") as caught:
        write_image(tmp_path / "absent" / "a.png", PICTURE)
    assert caught.value.code == "not_writable"

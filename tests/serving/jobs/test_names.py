from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.jobs.names import archive_names, harmless


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("holiday.jpg", "holiday.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\windows\\system32\\x.png", "x.png"),
        ("a\0b\n.png", "ab.png"),
        ("日本.png", "日本.png"),
        ("gpj.\u202eexe", "gpj.exe"),
        ("..", "file-3"),
        ("/", "file-3"),
        ("", "file-3"),
        (" . ", "file-3"),
        ("CON.png", "_CON.png"),
        ('a<b>:"|?*.png', "a_b______.png"),
        ("\ud800.png", "png"),
    ],
)
def test_names_are_made_harmless(sent: str, kept: str) -> None:
    assert harmless(sent, 3) == kept


@given(st.text(max_size=400))
def test_any_name_is_harmless(name: str) -> None:
    kept = harmless(name, 0)
    assert 0 < len(kept.encode()) <= 256
    assert kept.isprintable()
    assert not set(kept) & set('/\\<>:"|?*\0')
    assert kept not in (".", "..")


def test_archive_names_get_the_suffix_of_what_is_inside() -> None:
    files = [("a.jpeg", "image/png"), ("b", "image/webp"), ("v1.5", "image/tiff"), (".png", "image/jpeg")]
    assert archive_names(files) == ["a.png", "b.webp", "v1.5.tif", ".png.jpg"]


@given(st.lists(st.sampled_from(["a.png", "A.jpg", "a (2).png", "a", "b.png"]), max_size=30))
def test_archive_names_are_unique_on_every_file_system(names: list[str]) -> None:
    unique = archive_names((name, "image/png") for name in names)
    assert len({name.casefold() for name in unique}) == len(names)

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tasks import ImageSet, Sample, TaskError, load_data
from tasks.sources import split_samples

WritePicture = Callable[[Path, NDArray[np.uint8]], None]


def pixels(value: int, height: int = 20, width: int = 24) -> NDArray[np.uint8]:
    return np.random.default_rng(value).integers(0, 256, (height, width, 3), dtype=np.uint8)


def everything(images: ImageSet) -> dict[str, Sample]:
    return {sample.name: sample for sample in (*images.train, *images.valid)}


def test_clean_folder(tmp_path: Path, write_picture: WritePicture) -> None:
    for index in range(12):
        write_picture(tmp_path / "set" / f"{index:02d}.png", pixels(index))
    write_picture(tmp_path / "set" / "deeper" / "x.PNG", pixels(50))
    (tmp_path / "set" / "README.md").write_text("not a picture")
    (tmp_path / "set" / ".hidden.png").write_text("not a picture either")
    images = load_data(str(tmp_path / "set"))
    assert (len(images.train), len(images.valid)) == (9, 4)
    found = everything(images)
    np.testing.assert_array_equal(found["set/03.png"].clean, pixels(3))
    np.testing.assert_array_equal(found["set/deeper/x.PNG"].clean, pixels(50))
    assert all(sample.degraded is None for sample in found.values())


@pytest.mark.parametrize(
    ("degraded", "clean"),
    [("input", "target"), ("rainy", "clean"), ("rain", "norain"), ("noisy", "clean"), ("LR", "HR"), ("lq", "gt")],
)
def test_pairs_are_detected(tmp_path: Path, write_picture: WritePicture, degraded: str, clean: str) -> None:
    for index in range(4):
        write_picture(tmp_path / degraded / f"{index}.png", pixels(100 + index))
        write_picture(tmp_path / clean / f"{index}.bmp", pixels(index))
    found = everything(load_data(str(tmp_path)))
    assert len(found) == 4
    sample = found[f"{tmp_path.name}/2"]
    np.testing.assert_array_equal(sample.clean, pixels(2))
    assert sample.degraded is not None
    np.testing.assert_array_equal(sample.degraded, pixels(102))


def test_pairs_can_be_read_as_clean_pictures(tmp_path: Path, write_picture: WritePicture) -> None:
    for index in range(4):
        write_picture(tmp_path / "input" / f"{index}.png", pixels(100 + index))
        write_picture(tmp_path / "target" / f"{index}.png", pixels(index))
    assert len(everything(load_data(f"{tmp_path}:clean"))) == 8


@pytest.mark.parametrize("first", ["clean", "degraded"])
def test_side_by_side(tmp_path: Path, write_picture: WritePicture, first: str) -> None:
    for index in range(4):
        write_picture(tmp_path / f"{index}.png", np.concatenate([pixels(index), pixels(100 + index)], axis=1))
    sample = everything(load_data(f"{tmp_path}:side-by-side-{first}-first"))[f"{tmp_path.name}/1.png"]
    assert sample.degraded is not None
    left, right = (sample.clean, sample.degraded) if first == "clean" else (sample.degraded, sample.clean)
    np.testing.assert_array_equal(left, pixels(1))
    np.testing.assert_array_equal(right, pixels(101))


def test_several_folders_of_one_name(tmp_path: Path, write_picture: WritePicture) -> None:
    for parent in ("a", "b"):
        for index in range(3):
            write_picture(tmp_path / parent / "set" / f"{index}.png", pixels(index + 10 * (parent == "b")))
    found = everything(load_data(f"{tmp_path}/a/set , {tmp_path}/b/set,"))
    assert len(found) == 6
    np.testing.assert_array_equal(found["set/1.png#2"].clean, pixels(11))


def test_modes_and_orientation(tmp_path: Path) -> None:
    Image.fromarray(pixels(0)[..., 0]).save(tmp_path / "grey.png")
    Image.fromarray(pixels(1)).convert("RGBA").save(tmp_path / "alpha.png")
    turned = Image.fromarray(pixels(2))
    exif = turned.getexif()
    exif[0x0112] = 6  # shown turned by a quarter
    turned.save(tmp_path / "turned.png", exif=exif)
    found = everything(load_data(str(tmp_path)))
    assert all(sample.clean.shape[2] == 3 for sample in found.values())
    np.testing.assert_array_equal(found[f"{tmp_path.name}/turned.png"].clean, np.rot90(pixels(2), -1))


def make_unreadable(folder: Path, write: WritePicture) -> str:
    write(folder / "good.png", pixels(0))
    (folder / "bad.png").write_bytes((folder / "good.png").read_bytes()[:200])
    return str(folder)


def make_deep(folder: Path, write: WritePicture) -> str:  # noqa: ARG001
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(folder / "deep.png")
    return str(folder)


def make_half_pair(folder: Path, write: WritePicture) -> str:
    for index in range(3):
        write(folder / "input" / f"{index}.png", pixels(index))
    write(folder / "target" / "0.png", pixels(9))
    return str(folder)


def make_odd_halves(folder: Path, write: WritePicture) -> str:
    write(folder / "0.png", pixels(0, width=25))
    return f"{folder}:side-by-side-clean-first"


def make_single(folder: Path, write: WritePicture) -> str:
    write(folder / "0.png", pixels(0))
    write(folder / "copy.png", pixels(0))
    return str(folder)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_unreadable, r"bad\.png"),
        (make_deep, "8 bits"),
        (make_half_pair, "2 pictures are in only one"),
        (make_odd_halves, "halves of equal width"),
        (make_single, "two different"),
        (lambda folder, write: str(folder / "nowhere"), "is not a folder"),  # noqa: ARG005
        (lambda folder, write: str(folder), "holds no pictures"),  # noqa: ARG005
        (lambda folder, write: f"{folder}:sideways", "unknown layout 'sideways'.*clean, pairs"),  # noqa: ARG005
        (lambda folder, write: f"{folder}:pairs", "no pair of subfolders"),  # noqa: ARG005
        (lambda folder, write: ",", "two different"),  # noqa: ARG005
    ],
)
def test_what_cannot_be_loaded_is_named(
    tmp_path: Path, write_picture: WritePicture, make: Callable[[Path, WritePicture], str], message: str
) -> None:
    spec = make(tmp_path, write_picture)
    with pytest.raises(TaskError, match=message):
        load_data(spec)


def tiny(names: list[str]) -> list[Sample]:
    return [Sample(name, np.array([[[index, 0, 0]]], np.uint8)) for index, name in enumerate(names)]


@settings(deadline=None, max_examples=40)
@given(names=st.lists(st.from_regex(r"(a|b)/[a-z]{1,4}", fullmatch=True), min_size=2, max_size=80, unique=True))
def test_split_is_disjoint_complete_and_by_name(names: list[str]) -> None:
    images = split_samples(tiny(names))
    train, valid = {s.name for s in images.train}, {s.name for s in images.valid}
    assert train | valid == set(names)
    assert not train & valid
    assert train
    assert valid
    assert len(valid) <= max(1, len(names) // 2)
    # The order of the files does not matter.
    again = split_samples(tiny(names)[::-1])
    assert {s.name for s in again.valid} == valid


def test_split_sizes() -> None:
    for count, expected in ((2, 1), (6, 3), (8, 4), (40, 4), (100, 10), (230, 23)):
        assert len(split_samples(tiny([f"x/{index}" for index in range(count)])).valid) == expected
    both = split_samples(tiny([f"{folder}/{index}" for folder in "ab" for index in range(60)]))
    assert sorted(s.name[0] for s in both.valid) == ["a"] * 6 + ["b"] * 6


def test_versions_of_one_background_stay_together() -> None:
    rows = [
        Sample(f"x/{background}-{version}", pixels(background), pixels(1000 * version + background))
        for background in range(12)
        for version in range(3)
    ]
    images = split_samples(rows)
    train, valid = ({s.name.partition("-")[0] for s in part} for part in (images.train, images.valid))
    assert len(images.valid) == 12
    assert not train & valid
    # Planted fault: without the common background the same names are torn apart.
    torn = split_samples([Sample(row.name, pixels(i)) for i, row in enumerate(rows)])
    train, valid = ({s.name.partition("-")[0] for s in part} for part in (torn.train, torn.valid))
    assert train & valid


def test_samples_cannot_be_written_through_and_are_checked() -> None:
    mine = pixels(0)
    sample = Sample("x", mine)
    with pytest.raises(ValueError, match="read-only"):
        sample.clean[0, 0, 0] = 1
    mine[0, 0, 0] = 1  # the caller's own array stays writable
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(TaskError, match=r"uint8 \(H, W, 3\)"):
            Sample("x", wrong)
    with pytest.raises(TaskError, match="float32"):
        Sample("x", np.zeros((4, 4, 3), np.float32))


def test_embedded_pictures() -> None:
    images = load_data(None)
    assert len(images.valid) >= 4
    assert all(sample.name.startswith("photo/") for sample in images.valid)
    assert {sample.name.partition("/")[0] for sample in images.train} == {"photo", "leaves"}
    contents = [sample.clean.tobytes() for sample in (*images.train, *images.valid)]
    assert len(set(contents)) == len(contents)
    # Patches of 64 at scale 4 fit everywhere.
    assert min(min(sample.clean.shape[:2]) for sample in (*images.train, *images.valid)) >= 256


def test_embedded_pictures_without_scikit_image(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "skimage" else find_spec(name, *rest)
    )
    with pytest.raises(TaskError, match=r"pip install '\.\[search\]'"):
        load_data("")
